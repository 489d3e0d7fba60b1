"""Acceptance rules of chapter 01: what must hold of raw draws, and how good the open task's counts are.

The probes return what the answer drew and the inputs it drew for. A rule turns them into rates and yes/no facts, and
adds a checksum of the inputs, which must be those of the seed: draws for other inputs prove nothing. What a rule
allocates by are the probes' constants, never numbers from the data.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from autograder.chapters.c01_pretraining.causal import IGNORE
from autograder.chapters.c01_pretraining.counting import ASKED, BARS, SUMS_TO_ONE, small_text
from autograder.chapters.c01_pretraining.masking import FEW_IDS, FOUR, LENGTHS, MANY, MASK_ID, SAME, SHORT, maskable
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, facts, rates, reaches, rule

# --- masking: data holds a seed, corrupted and labels, each (rows, length), and hold_integers


class Masked(NamedTuple):
    """What went in and what came back, each (rows, length); seed: an entry that tells whose inputs they are."""

    ids: np.ndarray
    special: np.ndarray
    corrupted: np.ndarray
    labels: np.ndarray
    seed: Summary


def _masked(data: dict, case: str) -> Masked:
    """Raises ValueError where what came back is not of the shape of what went in: it would be spread to it, at any cost."""
    seed = bounded(data["seed"], 2**62)
    ids, special = (x.numpy() for x in maskable(case, seed))
    came = [np.asarray(data[name]) for name in ("corrupted", "labels")]
    if any(values.shape != ids.shape for values in came):
        raise ValueError(f"masked tokens of the shapes {[values.shape for values in came]}")
    corrupted, labels = (np.where(values == SAME, ids, values) for values in came)
    return Masked(ids, special, corrupted, labels, checksum(np.array([seed])))


def _chosen_share(masked: Masked, chosen: np.ndarray) -> Summary:
    alike = (chosen == chosen[0]).all()
    draws = chosen[:1][~masked.special[:1]] if alike else chosen[~masked.special]  # the same in all rows: one draw a column
    return rates({"chosen_draws": draws}) | facts(every_row_chose_the_same_places=alike) | masked.seed


@rule
def masking_rate(data: dict) -> Summary:
    """The share of ordinary tokens that have a label or were changed."""
    masked = _masked(data, "another_rate")
    return _chosen_share(masked, (masked.labels != IGNORE) | (masked.corrupted != masked.ids))


@rule
def masking_choice(data: dict) -> Summary:
    """That share, and what a choice means: a label that is the original id, and no change elsewhere."""
    masked = _masked(data, "how_many_are_chosen")
    ids, _, corrupted, labels, _ = masked
    chosen = labels != IGNORE
    return _chosen_share(masked, chosen) | facts(
        some_token_is_chosen=chosen.any(),
        some_label_is_not_the_original_id=(labels[chosen] != ids[chosen]).any(),
        some_token_changed_without_being_chosen=(corrupted[~chosen] != ids[~chosen]).any(),
        both_tensors_hold_integers=data["hold_integers"],
    )


@rule
def masking_fates(data: dict) -> Summary:
    """What became of the chosen ordinary tokens."""
    ids, special, corrupted, labels, seed = _masked(data, "eighty_ten_ten")
    chosen = (labels != IGNORE) & ~special
    now, was = corrupted[chosen], ids[chosen]
    draws = {
        "became_mask_draws": now == MASK_ID,
        "became_another_token_draws": (now != MASK_ID) & (now != was),
        "stayed_draws": now == was,
    }
    return rates(draws) | seed


@rule
def masking_specials(data: dict) -> Summary:
    """Whether special tokens were left alone, and ordinary ones were not."""
    ids, special, corrupted, labels, seed = _masked(data, "special_tokens")
    chosen, small = labels != IGNORE, ids <= MASK_ID
    return seed | facts(
        some_special_token_chosen=chosen[special & small].any(),
        some_special_token_with_the_id_of_a_word_chosen=chosen[special & ~small].any(),
        some_word_with_a_small_id_chosen=chosen[~special & small].any(),
        some_special_token_changed=(corrupted[special] != ids[special]).any(),
        some_ordinary_token_chosen=chosen[~special].any(),
    )


@rule
def masking_replacements(data: dict) -> Summary:
    """Which ids random replacements have, and how often."""
    ids, special, corrupted, labels, seed = _masked(data, "random_tokens_cover_the_vocabulary")
    changed = (labels != IGNORE) & ~special & (corrupted != MASK_ID) & (corrupted != ids)
    replaced = corrupted[changed]
    alike = len(replaced) > 0 and (replaced == replaced[0]).all()
    drawn = replaced[:0] if alike else replaced
    return rates({"became_each_id_draws": drawn[:, None] == np.arange(FEW_IDS)}) | seed | facts(
        every_replacement_is_the_same_token=alike,
        some_outside_the_vocabulary=((replaced < 0) | (replaced >= FEW_IDS)).any(),
    )


@rule
def repeatable_masks(data: dict) -> Summary:
    """Three runs: twice the same seed, then another. Each is (2, rows, length): corrupted ids and labels."""
    first, again, other = (data[name] for name in ("first", "again", "with_another_seed"))
    return checksum(data["input_ids"]) | facts(
        a_token_is_chosen=(first[1] != IGNORE).any(),
        repeated_with_the_same_seed=np.array_equal(first, again),
        repeated_with_another_seed=np.array_equal(first, other),
    )


# --- sentence pairs: (pairs, 5), document and sentence of the first, of the second, and is_next


def _places(pairs: np.ndarray, real: bool) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [((a, s), (b, t)) for a, s, b, t, is_next in pairs.reshape(-1, 5).tolist() if bool(is_next) == real]


@rule
def pairs_firsts(data: dict) -> Summary:
    """Which sentences come first in a pair."""
    firsts = Counter((a, s) for a, s, *_ in data["pairs"].tolist())
    rightful = [(d, s) for d, n in enumerate(LENGTHS) for s in range(n - 1)]
    inner = [(d, s) for d, n in enumerate(LENGTHS) for s in range(1, n - 1, 2)]
    missing = sum(not firsts[place] for place in rightful)
    return facts(
        some_sentence_is_never_first=missing,
        many_are_never_first=missing > 5,
        some_sentence_is_first_twice=any(times > 1 for times in firsts.values()),
        some_last_sentence_is_first=any(firsts[d, n - 1] for d, n in enumerate(LENGTHS)),
        every_other_sentence_is_skipped=not any(firsts[place] for place in inner),
    )


@rule
def pairs_share(data: dict) -> Summary:
    """The share of real pairs over several runs, and whether each document has one kind alone; data has `run` too."""
    pairs, run = data["pairs"], data["run"]
    kinds = {(r, a, is_next) for r, (a, *_, is_next) in zip(run.tolist(), pairs.tolist(), strict=True)}
    documents = {(r, a) for r, a, _ in kinds}
    alike = 0 < len(documents) == len(kinds) and len({is_next for *_, is_next in kinds}) > 1
    # Of one kind in each document: the draws are the documents', too few to tell a share by.
    draws = pairs[:0, 4] if alike else pairs[:, 4]
    return rates({"real_draws": draws}) | facts(
        every_document_has_pairs_of_one_kind=alike, enough_pairs=len({tuple(pair[:2]) for pair in pairs.tolist()}) > 100
    )


@rule
def pairs_real(data: dict) -> Summary:
    """Whether real pairs are."""
    real = _places(data["pairs"], real=True)
    return facts(some_second_does_not_follow=any(b != (a[0], a[1] + 1) for a, b in real), there_are_some=real)


@rule
def pairs_other(data: dict) -> Summary:
    """Whether the others come from elsewhere."""
    others = _places(data["pairs"], real=False)
    return facts(some_second_from_the_same_document=any(a[0] == b[0] for a, b in others), there_are_some=others)


@rule
def pairs_shared_sentence(data: dict) -> Summary:
    """Whether a sentence that does follow is ever called one that does not."""
    is_next = data["is_next"]
    successors = data["second_is_the_end"] & data["the_end_follows"]
    return facts(
        some_true_successor_labelled_not_next=(successors & ~is_next).any(),
        there_are_real_pairs=is_next.any(),
        there_are_others=(~is_next).any(),
    )


@rule
def pairs_varied(data: dict) -> Summary:
    """Whether the others come from everywhere: from many documents, and from each of four."""
    others = _places(data["pairs"], real=False)
    four = data["pairs_of_four_documents"]
    firsts = Counter(four[:, 0].tolist())
    met = {(a[0], b[0]) for a, b in _places(four, real=False) if firsts[a[0]] > 1}
    unmet = {(a, b) for a, _ in met for b in range(FOUR) if a != b} - met
    return facts(
        from_many_documents=len({b[0] for _, b in others}) > 5,
        from_one_document_for_each=len({(a[0], b[0]) for a, b in others}) == len({a[0] for a, _ in others}),
        near_and_far=len({(b[0] - a[0]) % MANY for a, b in others}) > 5,
        from_every_place=len({b[1] for _, b in others}) == SHORT,
        some_of_four_documents_is_never_drawn=unmet,
    )


@rule
def repeatable_pairs(data: dict) -> Summary:
    """Three runs: twice the same seed, then another."""
    first, again, other = (data[name] for name in ("first", "again", "with_another_seed"))
    return facts(
        there_are_some=len(first),
        repeated_with_the_same_seed=np.array_equal(first, again),
        labels_repeated_with_another_seed=np.array_equal(first[:, 4], other[:, 4]),
    )


# --- the open task: data holds costs, (contexts, vocab) of -log p, for the contexts of `small_text` in their order


def _heldout_loss(costs: np.ndarray) -> float:
    """The mean cost of what came next; not a number where the rows are no distributions."""
    text = small_text()
    if costs.shape != (ASKED, text.vocab):
        raise ValueError(f"rows of the shape {costs.shape}")
    costs = costs.astype(float)
    if not (np.abs(np.exp(-costs).sum(-1) - 1) < SUMS_TO_ONE).all():
        return np.nan
    return float(costs[np.arange(ASKED), text.following].mean())


def _counted(data: dict, bar: float) -> Summary:
    """Whether the loss of what came next is at most the bar."""
    return reaches("held-out loss", _heldout_loss(data["costs"]), bar, lower_is_better=True)


bars(_counted, {name: bar for name, (bar, _) in BARS.items()})
