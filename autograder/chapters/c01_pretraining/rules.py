"""Acceptance rules of chapter 01's random exercises: what must hold of raw draws, found out on the judge's side.

The probes return what the answer drew and the inputs it drew for. A rule turns them into rates and yes/no facts, and
adds a checksum of the inputs, which must be those of the seed: draws for other inputs prove nothing.
"""

import re
from collections import Counter

import numpy as np

from autograder.judging.compare import Summary
from autograder.judging.rules import bounded, checksum, facts, rates, rule

IGNORE, MASK_ID = -100, 4


# --- masking: data holds input_ids, is_special, corrupted and labels, each (rows, length)


def _chosen_share(data: dict) -> Summary:
    ids, special, chosen = data["input_ids"], data["is_special"], data["labels"] != IGNORE
    alike = (chosen == chosen[0]).all()
    draws = chosen[:1][~special[:1]] if alike else chosen[~special]  # the same in all rows: one draw a column
    return rates({"chosen_draws": draws}) | facts(every_row_chose_the_same_places=alike) | checksum(ids, special)


@rule
def masking_rate(data: dict) -> Summary:
    """The share of ordinary tokens that were chosen."""
    return _chosen_share(data)


@rule
def masking_choice(data: dict) -> Summary:
    """That share, and what a choice means: a label that is the original id, and no change elsewhere."""
    ids, corrupted, labels = data["input_ids"], data["corrupted"], data["labels"]
    chosen = labels != IGNORE
    return _chosen_share(data) | facts(
        some_label_is_not_the_original_id=(labels[chosen] != ids[chosen]).any(),
        some_token_changed_without_being_chosen=(corrupted[~chosen] != ids[~chosen]).any(),
    )


@rule
def masking_fates(data: dict) -> Summary:
    """What became of the chosen ordinary tokens."""
    ids, special = data["input_ids"], data["is_special"]
    chosen = (data["labels"] != IGNORE) & ~special
    now, was = data["corrupted"][chosen], ids[chosen]
    draws = {
        "became_mask_draws": now == MASK_ID,
        "became_another_token_draws": (now != MASK_ID) & (now != was),
        "stayed_draws": now == was,
    }
    return rates(draws) | checksum(ids, special)


@rule
def masking_specials(data: dict) -> Summary:
    """Whether special tokens were left alone, and ordinary ones were not."""
    ids, special, chosen = data["input_ids"], data["is_special"], data["labels"] != IGNORE
    return checksum(ids, special) | facts(
        some_special_token_chosen=chosen[special].any(),
        some_special_token_changed=(data["corrupted"][special] != ids[special]).any(),
        some_ordinary_token_chosen=chosen[~special].any(),
    )


@rule
def masking_replacements(data: dict) -> Summary:
    """Where random replacements come from; data has vocab too."""
    ids, special, corrupted, vocab = data["input_ids"], data["is_special"], data["corrupted"], data["vocab"]
    changed = (data["labels"] != IGNORE) & ~special & (corrupted != MASK_ID) & (corrupted != ids)
    replaced = corrupted[changed]
    alike = len(replaced) > 0 and (replaced == replaced[0]).all()
    draws = {"in_the_lower_half_draws": replaced[:0] if alike else replaced < vocab // 2}
    return rates(draws) | checksum(ids, special, np.asarray(vocab)) | facts(
        every_replacement_is_the_same_token=alike,
        some_outside_the_vocabulary=((replaced < 0) | (replaced >= vocab)).any(),
    )


@rule
def input_survives(data: dict) -> Summary:
    """Whether the ids were changed in place (input_ids_after), and whether anything was changed in what came back."""
    ids = data["input_ids"]
    return checksum(ids) | facts(
        input_ids_changed_in_place=(ids != data["input_ids_after"]).any(),
        returned_ids_differ_from_the_input=(ids != data["corrupted"]).any(),
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


# --- sentence pairs: data holds pairs, a text with one line "first<tab>second<tab>1 or 0" each


def _pairs(text: str) -> list[tuple[str, str, bool]]:
    lines = [line.split("\t") for line in text.splitlines()]
    return [(first, second, is_next == "1") for first, second, is_next in lines]


def _place(sentence: str) -> tuple[int, int]:
    document, number = re.fullmatch(r"document (\d+) sentence (\d+) \.", sentence).groups()
    return int(document), int(number)


def _places(data: dict, real: bool) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [(_place(a), _place(b)) for a, b, is_next in _pairs(data["pairs"]) if is_next == real]


@rule
def pairs_firsts(data: dict) -> Summary:
    """Which sentences come first in a pair; data has the lengths of the documents."""
    lengths = np.atleast_1d(data["lengths"])
    bounded(np.abs(lengths).sum())
    firsts = Counter(_place(a) for a, _, _ in _pairs(data["pairs"]))
    rightful = [(d, s) for d, n in enumerate(lengths) for s in range(n - 1)]
    inner = [(d, s) for d, n in enumerate(lengths) for s in range(1, n - 1, 2)]
    return checksum(lengths) | facts(
        some_sentence_is_never_first=any(not firsts[place] for place in rightful),
        some_sentence_is_first_twice=any(times > 1 for times in firsts.values()),
        some_last_sentence_is_first=any(firsts[d, n - 1] for d, n in enumerate(lengths)),
        every_other_sentence_is_skipped=not any(firsts[place] for place in inner),
    )


@rule
def pairs_share(data: dict) -> Summary:
    """The share of real pairs, and that those called real are."""
    pairs = _pairs(data["pairs"])
    return rates({"real_draws": np.array([is_next for _, _, is_next in pairs])}) | facts(
        enough_pairs=len({a for a, _, _ in pairs}) > 100
    )


@rule
def pairs_real(data: dict) -> Summary:
    """Whether real pairs are."""
    real = _places(data, real=True)
    return facts(some_second_does_not_follow=any(b != (a[0], a[1] + 1) for a, b in real), there_are_some=real)


@rule
def pairs_other(data: dict) -> Summary:
    """Whether the others come from elsewhere."""
    others = _places(data, real=False)
    return facts(some_second_from_the_same_document=any(a[0] == b[0] for a, b in others), there_are_some=others)


@rule
def pairs_shared_sentence(data: dict) -> Summary:
    """Whether a sentence that does follow is ever called one that does not."""
    pairs = _pairs(data["pairs"])
    ends = [is_next for a, b, is_next in pairs if b == "the end ." and a != data["other_first"]]
    return facts(
        some_true_successor_labelled_not_next=not all(ends),
        there_are_real_pairs=any(is_next for _, _, is_next in pairs),
        there_are_others=any(not is_next for _, _, is_next in pairs),
    )


@rule
def pairs_varied(data: dict) -> Summary:
    """Whether the others come from everywhere; data has the number of documents and of sentences in each."""
    places, documents, sentences = _places(data, real=False), data["documents"], data["sentences"]
    return checksum(np.asarray([documents, sentences])) | facts(
        from_many_documents=len({b[0] for _, b in places}) > 5,
        near_and_far=len({(b[0] - a[0]) % documents for a, b in places}) > 5,
        from_every_place=len({b[1] for _, b in places}) == sentences,
    )


@rule
def repeatable_pairs(data: dict) -> Summary:
    """Three runs: twice the same seed, then another."""
    first, again, other = (_pairs(data[name]) for name in ("first", "again", "with_another_seed"))
    return facts(
        there_are_some=first,
        repeated_with_the_same_seed=first == again,
        labels_repeated_with_another_seed=[p[2] for p in first] == [p[2] for p in other],
    )

