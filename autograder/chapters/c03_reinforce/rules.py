"""Acceptance rules of chapter 03's estimator: its mean and its spread over many draws, found on the judge's side."""

import numpy as np

from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import checksum, facts, means, rule


@rule
def gradient_estimates(data: dict) -> Summary:
    """estimates: (draws, prompts, answers). Their mean and two means of squares, each with its standard error.

    The mean tells a biased estimator from an unbiased one. The squared length tells how many independent samples were
    averaged, and whether a baseline was subtracted; the squared length of the sum over the prompts, whether the samples
    of different prompts are independent.
    """
    estimates = np.asarray(data["estimates"], dtype=float)
    if len(estimates) > 1 and bool((estimates == estimates[0]).all()):  # no spread, and no standard error
        # Samples that are drawn and come again tell by their numbers only of a seed; what is not drawn tells what it is.
        alike = bool((estimates[0] == estimates[0][0]).all())
        return facts(every_estimate_is_the_same=True) | ({"the_only_estimate": Entry(estimates[0])} if alike else {})
    moments = {
        "mean_of_the_estimates_draws": estimates.reshape(len(estimates), -1),
        "mean_squared_length_draws": np.square(estimates).sum(axis=(1, 2)),
        "mean_squared_length_of_the_sum_over_prompts_draws": np.square(estimates.sum(axis=1)).sum(axis=1),
    }
    return facts(every_estimate_is_the_same=False) | means(moments) | checksum(data["inputs"])


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
