"""Probes of chapter 01, exercises 10 and 11: BERT's masking, and sentence pairs."""

import torch

from autograder.chapters.c01_pretraining.causal import TOPIC
from autograder.chapters.probing import as_pair, as_tensor, seeded
from autograder.exercise import Exercise, Unexpected

# ---------------------------------------------------------------------------------------------------------------------
mask_tokens = Exercise("mask_tokens", TOPIC, "Exercise 10: BERT's masking")

MASK_ID = 4
FEW_IDS = 11  # the vocabulary of the case that counts who is drawn
SAME = -(2**15)  # in what travels to the judge: the id that went in

# Rows, length and vocabulary of the cases whose inputs the judge makes again from the seed.
# So many draws that, of 0.15 and 0.35, of shares of 2 % and 10 %, and of 72 % and 80 %, each two lie more than 10 standard
# errors apart, and 0.9 x 0.35 and 0.35 fewer than 2.
SIZES = {
    "how_many_are_chosen": (97, 101, 61),
    "another_rate": (1001, 5, 61),
    "eighty_ten_ten": (103, 113, 61),
    "special_tokens": (31, 97, 61),
    "random_tokens_cover_the_vocabulary": (97, 101, FEW_IDS),
}


def maskable(case: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A case's ids, (rows, length) of numbers from 5 on, and which of them are special: first, last, some padding at the end."""
    ids, special = _maskable(seed, *SIZES[case])
    if case == "special_tokens":
        special[:, 5:35] = True  # with the ids of ordinary words
        ids[:, 40:70] = 2  # an ordinary word with a small id
    return ids, special


def _maskable(seed: int, rows: int, length: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = seeded(seed)
    ids = torch.randint(5, vocab, (rows, length), generator=g)
    special = torch.zeros(rows, length, dtype=torch.bool)
    special[:, 0], special[:, -3:] = True, True
    ids[:, 0], ids[:, -3:] = 1, 0
    return ids, special


def _masked(answer, case: str, seed: int, **options) -> dict:
    """What came back, raw: the rules say what must hold of it."""
    ids, special = maskable(case, seed)
    given = ids.clone()
    corrupted, labels = _two_tensors(answer(ids, special, MASK_ID, SIZES[case][2], seeded(seed), **options), ids)
    return {
        "seed": seed,
        "corrupted": _beside(given, corrupted),
        "labels": _beside(given, labels),
        "hold_integers": not any(x.is_floating_point() or x.dtype == torch.bool for x in (corrupted, labels)),
    }


def _beside(ids: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """As 16-bit integers, with SAME for the id that went in: few different numbers are left, and pack well."""
    small = _small(tensor)
    return torch.where(small == ids, SAME, small).to(torch.int16)


def _small(ids: torch.Tensor) -> torch.Tensor:
    """As 16-bit integers: no id here is larger, and much of it travels to the judge."""
    return ids.clamp(SAME + 1, -SAME - 1).to(torch.int16)


def _two_tensors(returned, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    corrupted, labels = as_pair(returned, "corrupted ids and labels")
    corrupted, labels = as_tensor(corrupted, "The corrupted ids"), as_tensor(labels, "The labels")
    if corrupted.shape != ids.shape or labels.shape != ids.shape:
        raise Unexpected(
            f"Both tensors should have the shape of input_ids, {tuple(ids.shape)}; yours have "
            f"{tuple(corrupted.shape)} and {tuple(labels.shape)}."
        )
    return corrupted, labels


@mask_tokens.case(rule="masking_choice")
def how_many_are_chosen(answer, seed):
    """Each ordinary token is chosen with probability 0.15; a chosen token's label is its id, all others have -100."""
    return _masked(answer, "how_many_are_chosen", seed)


@mask_tokens.case(rule="masking_rate")
def another_rate(answer, seed):
    """The rate is an argument: with rate = 0.35, 35 tokens in 100 are chosen, in rows of a single word too."""
    return _masked(answer, "another_rate", seed, rate=0.35)


@mask_tokens.case(rule="masking_fates")
def eighty_ten_ten(answer, seed):
    """Of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay as they are."""
    return _masked(answer, "eighty_ten_ten", seed, rate=0.6)


@mask_tokens.case(rule="masking_specials")
def special_tokens(answer, seed):
    """Special tokens are never chosen and never changed. is_special says which they are, not their ids."""
    return _masked(answer, "special_tokens", seed, rate=0.5)


@mask_tokens.case(rule="masking_replacements")
def random_tokens_cover_the_vocabulary(answer, seed):
    """Random replacements come from the whole vocabulary, first id to last, all equally likely."""
    return _masked(answer, "random_tokens_cover_the_vocabulary", seed, rate=0.9)


@mask_tokens.case(rule="repeatable_masks")
def same_generator_same_mask(answer, seed):
    """All randomness comes from the generator: the same generator seed gives the same masks."""
    ids, special = _maskable(seed, 7, 97, 61)

    def run(generator_seed: int) -> torch.Tensor:
        drawn = _two_tensors(answer(ids, special, MASK_ID, 61, seeded(generator_seed)), ids)
        return torch.stack([_small(tensor) for tensor in drawn])  # (2, rows, length)

    runs = {"first": run(seed), "again": run(seed), "with_another_seed": run(seed + 1)}
    return runs | {"input_ids": _small(ids)}


# ---------------------------------------------------------------------------------------------------------------------
nsp_pairs = Exercise("nsp_pairs", TOPIC, "Exercise 11: pairs for next-sentence prediction")

LENGTHS = (47, 1, 2, 55)  # in sentences, of the documents of one_pair_a_sentence
MANY, SHORT = 61, 5  # documents, and sentences in each, of varied_others
FOUR, LONG = 4, 121


def _stories(lengths) -> list[list[str]]:
    return [[f"document {d} sentence {s} ." for s in range(n)] for d, n in enumerate(lengths)]


def _checked(pairs, documents: list[list[str]]) -> list[tuple[str, str, bool]]:
    """The pairs, if they are. Raises Unexpected."""
    if not isinstance(pairs, (list, tuple)):
        raise Unexpected(f"A list of (first, second, is_next) should come back; it was {type(pairs).__name__}.")
    known, found = {sentence for document in documents for sentence in document}, []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 3:
            raise Unexpected(f"Each item should be (first, second, is_next); one of yours is {str(pair)[:80]!r}.")
        first, second, is_next = pair
        if not isinstance(first, str) or not isinstance(second, str):
            raise Unexpected(
                f"first and second should be sentences (str); yours are {type(first).__name__} and "
                f"{type(second).__name__}."
            )
        for sentence in (first, second):
            if sentence not in known:
                raise Unexpected(f"One of your sentences, {sentence[:80]!r}, stands in no document.")
        found.append((first, second, bool(is_next)))
    return found


def _pairs(answer, lengths, seed: int) -> torch.Tensor:
    """Of each pair that stories of these lengths give: document and sentence of the first, of the second, and is_next.

    Shape (pairs, 5), 16-bit integers.
    """
    stories = _stories(lengths)
    places = {sentence: (d, s) for d, story in enumerate(stories) for s, sentence in enumerate(story)}
    pairs = _checked(answer(stories, seeded(seed)), stories)
    rows = [(*places[first], *places[second], int(is_next)) for first, second, is_next in pairs]
    return torch.tensor(rows, dtype=torch.int16).reshape(-1, 5)


@nsp_pairs.case(rule="pairs_firsts")
def one_pair_a_sentence(answer, seed):
    """Every sentence that has a successor is the first of exactly one pair; documents of one sentence give none."""
    return {"pairs": _pairs(answer, LENGTHS, seed)}


@nsp_pairs.case(rule="pairs_share")
def half_of_them_real(answer, seed):
    """Half of the pairs are real, as a coin says that is tossed for each."""
    # So many draws that 0.4 and 0.5 lie nearly 10 standard errors apart.
    drawn = [_pairs(answer, [31] * 15, seed + run) for run in range(11)]
    return {"pairs": torch.cat(drawn), "run": torch.cat([torch.full((len(d),), run) for run, d in enumerate(drawn)])}


@nsp_pairs.case(rule="pairs_real")
def real_pairs(answer, seed):
    """In a real pair the second sentence is the one that follows the first in its document."""
    return {"pairs": _pairs(answer, [3 + i % 2 for i in range(41)], seed)}


@nsp_pairs.case(rule="pairs_other")
def other_pairs(answer, seed):
    """In the other pairs the second sentence comes from another document."""
    return {"pairs": _pairs(answer, [29 + i % 3 for i in range(17)], seed)}


@nsp_pairs.case(rule="pairs_shared_sentence")
def never_the_true_successor(answer, seed):
    """Different documents may share a sentence: a pair labelled "not next" never holds the true successor's words."""
    documents = [[f"document {i} sentence 0 .", "the end ."] for i in range(61)]
    before_the_end = {document[0] for document in documents}
    documents += [["document 61 sentence 0 .", "nobody came ."]]
    pairs = _checked(answer(documents, seeded(seed)), documents)
    return {
        "second_is_the_end": torch.tensor([second == "the end ." for _, second, _ in pairs], dtype=torch.bool),
        "the_end_follows": torch.tensor([first in before_the_end for first, _, _ in pairs], dtype=torch.bool),
        "is_next": torch.tensor([is_next for _, _, is_next in pairs], dtype=torch.bool),
    }


@nsp_pairs.case(rule="pairs_varied")
def varied_others(answer, seed):
    """The other sentences vary: they come from every other document and from every place in it, the last ones too."""
    return {
        "pairs": _pairs(answer, [SHORT] * MANY, seed),
        "pairs_of_four_documents": _pairs(answer, [LONG] * FOUR, seed),
    }


@nsp_pairs.case(rule="repeatable_pairs")
def same_generator_same_pairs(answer, seed):
    """All randomness comes from the generator: the same seed gives the same pairs, another seed gives others."""
    seeds = {"first": seed, "again": seed, "with_another_seed": seed + 1}
    return {name: _pairs(answer, [5] * 11, s) for name, s in seeds.items()}
