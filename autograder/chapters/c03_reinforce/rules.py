"""Acceptance rules of chapter 03's estimator: its mean and its spread over many draws, found on the judge's side."""

import numpy as np

from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import checksum, facts, means, rule


@rule
def gradient_estimates(data: dict) -> Summary:
    """estimates: (draws, parameters). Their mean, and the mean of their squared length, each with its standard error.

    The mean tells a biased estimator from an unbiased one; the squared length tells how many independent samples were
    averaged, and whether a baseline was subtracted.
    """
    estimates = np.asarray(data["estimates"], dtype=float)
    alike = len(estimates) > 1 and bool((estimates == estimates[0]).all())
    if alike:  # the same every time: no spread, and no standard error
        return {"the_only_estimate": Entry(estimates[0])} | facts(every_estimate_is_the_same=True)
    moments = {"mean_of_the_estimates_draws": estimates, "mean_squared_length_draws": np.square(estimates).sum(axis=1)}
    return means(moments) | facts(every_estimate_is_the_same=False) | checksum(data["inputs"])


@rule
def repeatable_estimates(data: dict) -> Summary:
    """Runs with the same seed twice, then with three others; one of those may come to the same by chance, not all."""
    first, again, others = (data[name] for name in ("first", "again", "with_other_seeds"))
    return checksum(data["inputs"]) | facts(
        of_the_shape_of_the_logits=first.shape == (len(data["inputs"]) // 2, data["inputs"].shape[1]),
        repeated_with_the_same_seed=np.array_equal(first, again),
        repeated_with_other_seeds=all(np.array_equal(first, other) for other in others),
    )
