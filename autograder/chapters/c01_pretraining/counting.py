"""Probes of chapter 01, exercises 3 to 6: n-gram models, the best counts (open), perplexity, bits per byte."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from autograder.chapters.c01_pretraining.causal import TOPIC
from autograder.chapters.probing import asked_once, seeded
from autograder.exercise import Exercise, Unexpected
from course.data import load_corpus, load_heldout

# ---------------------------------------------------------------------------------------------------------------------
count_ngrams = Exercise("count_ngrams", TOPIC, "Exercise 3: counting n-grams")


def _documents(seed: int, count: int, vocab: int) -> list[list[int]]:
    """Documents of different lengths; each begins with 0 (<bos>) and ends with 1 (<eos>)."""
    g = seeded(seed)
    lengths = [3 + (5 * i + seed) % 7 for i in range(count)]
    return [[0, *torch.randint(2, vocab, (n,), generator=g).tolist(), 1] for n in lengths]


def _table(counts) -> dict:
    """Counts of any mapping type in one canonical form."""
    if not isinstance(counts, Mapping):
        raise Unexpected(f"A dict of context -> Counter should come back; it was {type(counts).__name__}.")
    lines, total = [], 0
    for context, followers in counts.items():
        if not isinstance(context, tuple):
            raise Unexpected(f"A context should be a tuple of token ids; one of your keys is {context!r}.")
        if not isinstance(followers, Mapping):
            raise Unexpected(f"The value of a context should be a Counter; yours is {type(followers).__name__}.")
        for token, count in followers.items():
            if count:
                lines.append(f"{_context(context)} -> {int(token)}: {int(count)}")
                total += int(count)
    return {"total_count": total, "counts": "\n".join(sorted(lines))}


def _context(context: tuple) -> tuple:
    try:
        return tuple(int(token) for token in context)
    except (TypeError, ValueError):
        raise Unexpected(f"A context should hold token ids and nothing else; one of yours is {context!r}.") from None


@count_ngrams.case
def bigrams(answer, seed):
    """n = 2: the context is the one token before."""
    return _table(answer(_documents(seed, 5, 6), 2))


@count_ngrams.case
def trigrams(answer, seed):
    """n = 3: the context is the two tokens before, or the one there is at the beginning of a document."""
    return _table(answer(_documents(seed, 7, 5), 3))


@count_ngrams.case
def unigrams(answer, seed):
    """n = 1: every token is counted under the empty context ()."""
    return _table(answer(_documents(seed, 3, 5), 1))


@count_ngrams.case
def fourgrams_of_repetition(answer, seed):
    """Repeated text: the same 4-gram counts every time it occurs."""
    word = 2 + seed % 3
    return _table(answer([[0] + [word, 5] * 4 + [1], [0] + [word, 5] * 2 + [1]], 4))


# ---------------------------------------------------------------------------------------------------------------------
ngram_loss = Exercise("ngram_loss", TOPIC, "Exercise 4: the loss of an n-gram model")


def _random_counts(seed: int, n: int, vocab: int, hole: bool) -> dict[tuple, Counter]:
    """Counts for every context of up to n - 1 tokens; with a hole, some tokens and contexts were never seen."""
    g = seeded(seed)
    counts = {}
    for size in range(n):
        for context in itertools.product(range(vocab), repeat=size):
            numbers = torch.randint(1, 9, (vocab,), generator=g).tolist()
            if hole:
                numbers[2 + seed % 2] = 0
            counts[context] = Counter({token: c for token, c in enumerate(numbers) if c})
    return counts


def _loss_sizes(documents: list[list[int]]) -> dict[str, int]:
    return {
        "the number of predicted tokens": sum(len(d) - 1 for d in documents),
        "the number of all tokens": sum(map(len, documents)),
        "the number of documents": len(documents),
    }


def _ngram_data(answer, seed: int, n: int, vocab: int, alpha: float, hole: bool, count: int = 5) -> dict:
    documents = _documents(seed, count, vocab)
    loss = answer(_random_counts(seed, n, vocab, hole), documents, n, vocab, alpha)
    return {"loss": loss, "_sizes": _loss_sizes(documents)}


@ngram_loss.case
def add_one(answer, seed):
    """A bigram model with alpha = 1: the mean of -log p over every token after <bos>, in nats."""
    return _ngram_data(answer, seed, 2, 6, 1.0, hole=True)


@ngram_loss.case
def a_small_alpha(answer, seed):
    """A trigram model with alpha = 0.01: unseen tokens are costly, not impossible."""
    return _ngram_data(answer, seed, 3, 5, 0.01, hole=True)


@ngram_loss.case
def a_unigram_model(answer, seed):
    """n = 1: the context is empty, whatever came before."""
    return _ngram_data(answer, seed, 1, 8, 0.3, hole=False)


@ngram_loss.case
def maximum_likelihood(answer, seed):
    """alpha = 0 and nothing unseen: plain relative frequencies."""
    return _ngram_data(answer, seed, 2, 7, 0.0, hole=False)


@ngram_loss.case
def an_unseen_context(answer, seed):
    """A context that was never counted: with alpha > 0 every token has probability 1 / vocab_size."""
    documents = _documents(seed, 3, 7)
    counts = {context: c for context, c in _random_counts(seed, 2, 7, False).items() if context != (documents[0][1],)}
    return {"loss": answer(counts, documents, 2, 7, 0.5), "_sizes": _loss_sizes(documents)}


@ngram_loss.case
def impossible_text(answer, seed):
    """alpha = 0 and an unseen token or an unseen context: the loss is infinite, and nothing is raised."""
    documents = [*_documents(seed, 3, 6), [0, 2, 3, 2, 3, 1]]
    unseen_token = _random_counts(seed, 2, 6, True)
    unseen_context = {context: c for context, c in _random_counts(seed, 2, 6, False).items() if context != (2,)}
    return {
        "with_an_unseen_token": answer(unseen_token, documents, 2, 6, 0.0),
        "with_an_unseen_context": answer(unseen_context, documents, 2, 6, 0.0),
    }


@ngram_loss.case
def a_long_text(answer, seed):
    """A thousand tokens: the product of their probabilities is too small for a float, the sum of logarithms is not."""
    return _ngram_data(answer, seed, 2, 9, 0.5, hole=False, count=131)


# ---------------------------------------------------------------------------------------------------------------------
counting_model = Exercise("counting_model", TOPIC, "Exercise 5 (open): the best counts", open=True)

SMALL, ASKED = 300, 240  # training documents, and contexts
BARS = {  # the rule's name: what its bar asks for, and of whom
    "counting_bar_1": (2.15, "a model that counts and never says never"),
    "counting_bar_2": (1.95, "a model that asks a shorter context where it does not know the longer one"),
    "counting_bar_3": (1.75, "a model that asks after how many different words a token was seen"),
    "counting_bar_4": (1.50, "a model that looks into the beginning of the document as well"),
}
SUMS_TO_ONE = 0.01  # how far a row's sum may be off: rows travel in half precision


class SmallText(NamedTuple):
    """A small training text, beginnings of other documents, and what came next there."""

    documents: list[list[int]]
    contexts: list[list[int]]
    following: list[int]
    vocab: int


@lru_cache
def small_text() -> SmallText:
    """The same in every check, so that its bars can be compared. The held-out documents are among those of the course."""
    rng = random.Random(7)
    training, heldout = rng.sample(load_corpus("train"), SMALL), rng.sample(load_heldout(), ASKED)
    words = sorted({word for text in load_corpus("train") for word in text.split()})
    ids = {word: i for i, word in enumerate(words, start=2)}
    encoded = [[0, *(ids[word] for word in document.text.split()), 1] for document in heldout]
    places = [rng.randrange(1, len(document)) for document in encoded]
    return SmallText(
        documents=[[0, *(ids[word] for word in text.split()), 1] for text in training],
        contexts=[document[:place] for document, place in zip(encoded, places)],
        following=[document[place] for document, place in zip(encoded, places)],
        vocab=len(ids) + 2,
    )


@asked_once
def _distributions(answer, seed: int) -> dict:
    """What the answer gives, in the order and with the ids of `small_text`; it is asked in another order, with other ids."""
    text, rng = small_text(), random.Random(seed)
    new_ids = rng.sample(range(text.vocab), text.vocab)
    order = rng.sample(range(ASKED), ASKED)
    documents = [[new_ids[token] for token in document] for document in rng.sample(text.documents, SMALL)]
    contexts = [[new_ids[token] for token in text.contexts[i]] for i in order]
    rows = _rows(answer(documents, contexts, text.vocab), text.vocab)
    back = np.empty_like(rows)
    back[order] = rows[:, new_ids]
    with np.errstate(divide="ignore"):
        return {"costs": (-np.log(back)).astype(np.float16)}  # half precision: it travels to the judge


def _rows(returned, vocab: int) -> np.ndarray:
    """The distributions as an array (ASKED, vocab). Raises Unexpected where they are none."""
    if returned is None:
        raise Unexpected("Your function returned None: a tensor of probabilities should come back.")
    try:
        rows = np.asarray(returned.detach() if isinstance(returned, torch.Tensor) else returned, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Unexpected(f"A tensor of probabilities should come back; it was {type(returned).__name__}.") from None
    if rows.shape != (ASKED, vocab):
        raise Unexpected(f"The result should have the shape {(ASKED, vocab)}, a row a context; yours has {rows.shape}.")
    if np.isnan(rows).any() or (rows < 0).any():
        raise Unexpected("Some of your probabilities are negative, or not a number.")
    sums = rows.sum(-1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUMS_TO_ONE / 10:
        raise Unexpected(f"Each row should sum to 1; your row {worst} sums to {sums[worst]:.4f}.")
    return rows


def _add_bars() -> None:
    for number, (name, (bar, whose)) in enumerate(BARS.items()):

        def probe(answer, seed, first: bool = number == 0):
            return _distributions(answer, seed, first)

        probe.__name__ = f"loss_below_{bar:.2f}".replace(".", "_")
        probe.__doc__ = f"Held-out loss at most {bar:.2f} nats: {whose}."
        counting_model.case(probe, rule=name)


_add_bars()


# ---------------------------------------------------------------------------------------------------------------------
perplexity = Exercise("perplexity", TOPIC, "Exercise 6: perplexity and bits per byte")


def _token_losses(seed: int, n: int) -> torch.Tensor:
    return 0.2 + 3 * torch.rand(n, generator=seeded(seed))


def _perplexity(answer, losses: torch.Tensor) -> dict:
    return {"perplexity": answer(losses), "_sizes": {"the number of tokens": len(losses)}}


@perplexity.case
def some_tokens(answer, seed):
    """The perplexity of a text is exp of its mean loss per token."""
    return _perplexity(answer, _token_losses(seed, 13 + seed % 4))


@perplexity.case
def a_uniform_guess(answer, seed):
    """Guessing uniformly among V tokens has perplexity V."""
    return _perplexity(answer, torch.full((7,), math.log(11 + seed % 90)))


@perplexity.case
def one_expensive_token(answer, seed):
    """A single very unlikely token does not blow it up: the mean comes first, exp second."""
    return _perplexity(answer, torch.cat([_token_losses(seed, 29), torch.tensor([80.0])]))


@perplexity.case
def tokens_that_cost_nothing(answer, seed):
    """A token that the model was sure of has loss 0, and counts like any other."""
    losses = _token_losses(seed, 11)
    losses[1::3] = 0.0
    return _perplexity(answer, losses)


# ---------------------------------------------------------------------------------------------------------------------
bits_per_byte = Exercise("bits_per_byte", TOPIC, "Exercise 6: perplexity and bits per byte")


def _bits(answer, losses: torch.Tensor, text: str) -> dict:
    sizes = {
        "the number of tokens": len(losses),
        "the number of bytes": len(text.encode("utf-8")),
        "the number of characters": len(text),
        "the number of words": len(text.split()),
    }
    return {"bits_per_byte": answer(losses, text), "_sizes": sizes}


@bits_per_byte.case
def plain_text(answer, seed):
    """All the loss of a text, in bits, divided by its length in bytes."""
    text = "the red ball is here ." + " mia has it ." * (seed % 5 + 1)
    return _bits(answer, _token_losses(seed, len(text.split())), text)


@bits_per_byte.case
def text_beyond_ascii(answer, seed):
    """A letter outside ASCII takes two bytes or more in UTF-8: bytes count, not characters."""
    return _bits(answer, _token_losses(seed, 9), "Привет, мир ! " * (seed % 3 + 1) + "καλημέρα, 世界 🙂")


@bits_per_byte.case
def spaces_and_line_breaks(answer, seed):
    """Spaces and line breaks are bytes of the text, at its ends too."""
    return _bits(answer, _token_losses(seed, 7), "   one day\n\nmia ran ." + " and then ran ." * (seed % 4) + "\n")
