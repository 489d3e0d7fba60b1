"""Acceptance rules of chapter 03's estimator: its mean and its spread over many draws, found on the judge's side."""

import numpy as np

from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import checksum, facts, means, rule


@rule
def gradient_estimates(data: dict) -> Summary:
    """estimates: (draws, prompts, answers). Their mean, and the mean of their squared length, with standard errors.

    The mean tells a biased estimator from an unbiased one; the squared length tells how many independent samples were
    averaged, and whether a baseline was subtracted.
    """
    estimates = np.asarray(data["estimates"], dtype=float)
    flat = estimates.reshape(len(estimates), -1)
    return _moments(data, mean_of_the_estimates=flat, mean_squared_length=np.square(flat).sum(axis=1))


@rule
def independent_estimates(data: dict) -> Summary:
    """estimates: (draws, prompts, answers) of prompts that are all alike. The squared length of the sum over the prompts: it
    is far too large where the same samples serve several prompts."""
    summed = np.asarray(data["estimates"], dtype=float).sum(axis=1)
    return _moments(data, mean_squared_length_of_the_sum_over_prompts=np.square(summed).sum(axis=1))


def _moments(data: dict, **moments: np.ndarray) -> Summary:
    """The means of the moments, each with one row a draw; where all estimates are the same, that."""
    estimates = np.asarray(data["estimates"], dtype=float)
    if len(estimates) > 1 and bool((estimates == estimates[0]).all()):  # no spread, and no standard error
        # Samples that are drawn and come again tell by their numbers only of a seed; what is not drawn tells what it is.
        alike = bool((estimates[0] == estimates[0][0]).all())
        return facts(every_estimate_is_the_same=True) | ({"the_only_estimate": Entry(estimates[0])} if alike else {})
    found = means({f"{name}_draws": rows for name, rows in moments.items()})
    found = {name.removesuffix("_draws"): entry for name, entry in found.items()}  # read in the report
    return facts(every_estimate_is_the_same=False) | found | checksum(data["inputs"])


@rule
def repeatable_estimates(data: dict) -> Summary:
    """Runs with the same seed twice, with a generator that had been drawn from, and with three other seeds; one of those
    may come to the same by chance, not all."""
    first, others = data["first"], data["with_other_seeds"]
    return checksum(data["inputs"]) | facts(
        repeated_with_the_same_seed=np.array_equal(first, data["again"]),
        repeated_with_other_seeds=all(np.array_equal(first, other) for other in others),
        repeated_with_a_generator_that_was_drawn_from=np.array_equal(first, data["next"]),
    )
