"""Acceptance rules of chapter 03's estimator: its mean and its spread over many draws, found on the judge's side."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import bars, bounded, checksum, facts, means, reaches, rule


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


LEAST_OF_BIAS = 6.0  # standard errors; a right answer is never so far off by chance


def _quiet(data: dict, bar: float) -> Summary:
    """Of the open task: whether the estimates are right on average, and their mean squared error against leave-one-out's."""
    seed = bounded(data["seed"], 2**62)
    truth = _truth_of(seed)
    error = np.asarray(data["estimates"], dtype=float) - truth.exact
    measured = np.square(error).sum(1).mean() / truth.of_leave_one_out
    off = _standard_errors_off(error, truth.exact, truth.probs)
    told = f"Measured: on average your estimates are {off:.0f} standard errors off the exact gradient. That is no luck: a bias."
    knows = "Your estimate changes with rewards that you did not ask for."
    found = {
        "right_on_average": Entry(bool(off < LEAST_OF_BIAS), says=told),
        "knows_only_what_it_asked_for": Entry(bool(data["knows_only_what_it_asked_for"]), says=knows),
    }
    # By the seed the judge makes the prompts again: estimates for others would be right by no means.
    what = "mean squared error, in units of leave-one-out's,"
    return found | checksum(np.array([seed])) | reaches(what, float(measured), bar, lower_is_better=True, digits=2)


class _Truth(NamedTuple):
    """exact: the gradients, probs: the policies', both (prompts, answers); the mean squared error of leave-one-out."""

    exact: np.ndarray
    probs: np.ndarray
    of_leave_one_out: float


@lru_cache(maxsize=64)  # the same for a whole class
def _truth_of(seed: int) -> _Truth:
    from autograder.chapters.c03_reinforce.sampling import K, unseen_world

    logits, rewards = (x.double().numpy() for x in unseen_world(seed))
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    exact = probs * (rewards - (probs * rewards).sum(1, keepdims=True))
    return _Truth(exact, probs, float(_leave_one_out_variance(probs, rewards, K).mean()))


def _standard_errors_off(error: np.ndarray, exact: np.ndarray, probs: np.ndarray) -> float:
    """How far the mean error is from 0, in several directions: along the exact gradient, and by rank of probability."""
    order = np.argsort(-probs, axis=1)
    ranked, gradient = np.take_along_axis(error, order, 1), np.take_along_axis(exact, order, 1)
    directions = [(error * exact).sum(1), *ranked.T, *(ranked * np.sign(gradient)).T]
    rows = np.stack(directions, axis=1)  # (prompts, directions)
    spread = rows.std(0, ddof=1) / np.sqrt(len(rows))
    if not np.isfinite(rows).all():
        return float("inf")
    return float(np.max(np.abs(rows.mean(0)) / np.maximum(spread, 1e-9)))


def _leave_one_out_variance(probs: np.ndarray, rewards: np.ndarray, k: int) -> np.ndarray:
    """The expected squared error of the leave-one-out estimate for each prompt, exactly: it is a U-statistic of pairs."""
    scores = np.eye(probs.shape[1]) - probs[:, None]  # ∇ log p of each answer: (prompts, answers, answers)
    exact = np.einsum("pa,pa,pab->pb", probs, rewards, scores)
    # h(i, j) = (r_i - r_j)(s_i - s_j) / 2, of which all pairs of samples are averaged
    between = rewards[:, :, None] - rewards[:, None]
    differ = scores[:, :, None] - scores[:, None]  # (prompts, i, j, answers)
    squared = 0.25 * np.square(between) * np.square(differ).sum(-1)
    pair = np.einsum("pi,pj,pij->p", probs, probs, squared) - np.square(exact).sum(1)
    given_one = 0.5 * np.einsum("pj,pij,pijb->pib", probs, between, differ)
    single = np.einsum("pi,pib->p", probs, np.square(given_one)) - np.square(exact).sum(1)
    return 2 / (k * (k - 1)) * (2 * (k - 2) * single + pair)


QUIET = {
    "quiet_below_2": 2.0,
    "quiet_below_125": 1.25,  # of leave-one-out, with room for luck
    "quiet_below_75": 0.75,  # asks for another way of drawing
    "quiet_below_50": 0.5,
}
bars(_quiet, QUIET)
