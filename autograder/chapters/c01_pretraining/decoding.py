"""Probes of chapter 01, exercise 7: the distribution from which the next token is drawn."""

import torch

from autograder.chapters.c01_pretraining.causal import TOPIC
from autograder.chapters.probing import as_tensor, seeded
from autograder.exercise import Exercise

next_token_probs = Exercise("next_token_probs", TOPIC, "Exercise 7: choosing the next token")


def _next_logits(
    seed: int, rows: int, vocab: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """Logits (rows, vocab) on which rounding decides nothing: no near ties, no sum of probabilities close to top_p."""
    candidates = 2 * torch.randn(3 * rows + 3, vocab, generator=seeded(seed))
    ordered = candidates.sort(descending=True).values
    clear = (ordered[:, :-1] - ordered[:, 1:]).amin(-1) > 1e-3
    if top_p is not None:
        sums = (ordered[:, :top_k] / temperature).softmax(-1).cumsum(-1)
        clear &= (sums - top_p).abs().amin(-1) > 1e-3
    return candidates[clear][:rows]


def _equal_tokens(seed: int) -> torch.Tensor:
    """Logits (2, 8): in row 0 all alike, in row 1 four of them, and nothing is left for the others.

    Their probabilities, 1/8 and 1/4, and the sums of these are exact in every arithmetic.
    """
    logits = torch.full((2, 8), float(seed % 5))
    logits[1, torch.randperm(8, generator=seeded(seed))[:4]] -= 1000.0
    return logits


@next_token_probs.case
def plain_softmax(answer, seed):
    """Nothing asked for: the softmax of the logits."""
    return {"probs": answer(_next_logits(seed, 3, 7))}


@next_token_probs.case
def temperatures(answer, seed):
    """Temperature 0.5 sharpens the distribution, 2 flattens it."""
    logits = _next_logits(seed, 3, 7)
    return {"probs_at_half": answer(logits, temperature=0.5), "probs_at_two": answer(logits, temperature=2.0)}


@next_token_probs.case
def temperature_zero(answer, seed):
    """Temperature 0 means greedy: all probability, 1.0, on the largest logit, however close the second is."""
    logits = _next_logits(seed, 5, 7)
    logits[:, -1] -= 20.0  # the last token is nowhere the largest: the result has its column all the same
    largest, second = logits.topk(2).indices.T  # (5,) each
    rows = torch.arange(1, 5)
    logits[rows, second[1:]] = logits[rows, largest[1:]] - 0.002
    return {"probs": answer(logits, temperature=0.0)}


@next_token_probs.case
def top_k_alone(answer, seed):
    """top_k = 3 keeps the three most likely tokens of each row and renormalises."""
    return {"probs": answer(_next_logits(seed, 2, 11), top_k=3)}


@next_token_probs.case
def top_k_beyond_the_vocabulary(answer, seed):
    """A top_k larger than the vocabulary keeps everything."""
    return {"probs": answer(_next_logits(seed, 3, 5), top_k=50)}


@next_token_probs.case
def top_p_alone(answer, seed):
    """top_p = 0.8 keeps the fewest most likely tokens whose probabilities sum to 0.8 or more, in each row."""
    return {"probs": answer(_next_logits(seed, 7, 13, top_p=0.8), top_p=0.8)}


@next_token_probs.case
def a_tiny_top_p(answer, seed):
    """However small top_p is, the most likely token stays (here in a batch of one)."""
    return {"probs": answer(_next_logits(seed, 1, 7), top_p=1e-4)}


@next_token_probs.case
def top_p_of_one(answer, seed):
    """top_p = 1 keeps everything."""
    return {"probs": answer(_equal_tokens(seed), top_p=1.0)}


@next_token_probs.case
def top_p_reached_exactly(answer, seed):
    """Of equally likely tokens, those that sum to top_p exactly are enough: the next one goes."""
    probs = as_tensor(answer(_equal_tokens(seed), top_p=0.5), "The distribution")
    # Whether equally likely tokens stand or fall together is not said: all of them may stay.
    kept, equal = (probs > 1e-6).sum(-1), torch.tensor([8, 4])
    return {
        "too_few_are_kept": kept < equal // 2,
        "one_more_is_kept_than_needed": kept == equal // 2 + 1,
        "sums": probs.double().sum(-1),
    }


@next_token_probs.case
def all_three(answer, seed):
    """Temperature first, then top-k, then top-p on what top-k left, renormalised."""
    asked = {"temperature": 1.7, "top_k": 7, "top_p": 0.75}
    return {"probs": answer(_next_logits(seed, 21, 15, **asked), **asked)}


@next_token_probs.case
def large_logits(answer, seed):
    """Logits of size 10 000 still give probabilities."""
    # Doubling the temperature is exact in binary: at this size another factor's rounding would show in the result.
    return {"probs": answer(1e4 * _next_logits(seed, 3, 7), temperature=2.0)}
