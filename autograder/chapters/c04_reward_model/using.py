"""Probes of chapter 04's end: calibration, best of n and how far it goes, and scores from few comparisons."""

import torch

from autograder.chapters.c04_reward_model.few import HELDOUT, worlds
from autograder.chapters.probing import as_number, coarse, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "04_reward_model"

# ---------------------------------------------------------------------------------------------------------------------
calibration_bins = Exercise("calibration_bins", TOPIC, "Exercise 7: does it know how sure it may be")


def _predictions(seed: int, count: int, low: float, high: float, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities between low and high, none near the edge of a bin, and outcomes that follow something steeper."""
    g = seeded(seed)
    probabilities = low + (high - low) * torch.rand(count, generator=g)
    inside = (probabilities * bins).floor() + 0.1 + 0.8 * (probabilities * bins).frac()
    probabilities = inside / bins
    outcomes = (torch.rand(count, generator=g) < torch.sigmoid(7 * (probabilities - 0.6))).long()
    return probabilities, outcomes


def _read_bins(value, pairs: int, bins: int) -> dict:
    """What a reliability diagram of so many pairs shows. Raises Unexpected where an entry is missing."""
    names = ("predicted", "observed", "count", "error")
    if not isinstance(value, dict):
        raise Unexpected(f"A dict with the entries {', '.join(names)} should come back, not {type(value).__name__}.")
    missing = [name for name in names if name not in value]
    if missing:
        raise Unexpected(f"The dict should have the entries {', '.join(names)}; yours lacks {', '.join(missing)}.")
    found = {name: _array(value[name], name) for name in names[:3]}
    sizes = {"the number of predictions": pairs, "the number of bins": bins}
    return found | {"error": torch.tensor(as_number(value["error"], "The entry error")), "_sizes": sizes}


def _array(value, name: str) -> torch.Tensor:
    try:
        array = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise Unexpected(f"The entry {name} should be a tensor of one number a bin.") from None
    return array.double()


@calibration_bins.case
def five_bins(answer, seed):
    """Ninety-seven predictions in five bins: their mean, the share of wins, their number, and the mean distance."""
    return _read_bins(answer(*_predictions(seed, 97, 0.0, 1.0, 5), 5), 97, 5)


@calibration_bins.case
def bins_of_unequal_weight(answer, seed):
    """Most predictions in two of seven bins: a bin weighs as much as it holds."""
    many, few = _predictions(seed, 61, 0.15, 0.42, 7), _predictions(seed + 1, 17, 0.0, 1.0, 7)
    return _read_bins(answer(torch.cat([many[0], few[0]]), torch.cat([many[1], few[1]]), 7), 78, 7)


@calibration_bins.case
def empty_bins(answer, seed):
    """Bins into which nothing falls hold NaN and count 0; they do not spoil the error."""
    return _read_bins(answer(*_predictions(seed, 23, 0.23, 0.64, 9), 9), 23, 9)


@calibration_bins.case
def probabilities_on_the_edges(answer, seed):
    """0, 1 and the edges between four bins: an edge belongs to the bin above it, and 1 to the last."""
    probabilities = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.125, 0.375, 0.625, 0.875, 0.5, 0.25, 0.25])
    outcomes = torch.tensor([0, 1, 0, 1, 1, seed % 2, 1, 0, 1, 0, 1, 0, 0])
    return _read_bins(answer(probabilities, outcomes, 4), 13, 4)


@calibration_bins.case
def errors_that_do_not_cancel(answer, seed):
    """Too sure in one bin and not sure enough in another: the distances add up, they do not cancel."""
    probabilities = torch.tensor([0.12, 0.22, 0.17, 0.81, 0.86, 0.91, 0.88]) + (seed % 5) / 200
    return _read_bins(answer(probabilities, torch.tensor([1, 1, 0, 1, 0, 0, 0]), 3), 7, 3)


@calibration_bins.case
def a_single_bin(answer, seed):
    """One bin for all: the mean prediction, the share of wins, and how far apart they are."""
    return _read_bins(answer(*_predictions(seed, 31, 0.0, 1.0, 1), 1), 31, 1)


# ---------------------------------------------------------------------------------------------------------------------
best_of_n_utility = Exercise("best_of_n_utility", TOPIC, "Exercise 8: what best of n is worth")


def _samples(seed: int, prompts: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards, all different in a row and in no order, and utilities that go up with them, but not always."""
    g = seeded(seed)
    rewards = torch.stack([torch.randperm(samples, generator=g) for _ in range(prompts)]) / 4 - 1.3
    return rewards, 0.8 * rewards + 1.5 * torch.randn(prompts, samples, generator=g) + 2.5


_SAMPLED = {"the number of prompts": 5, "the number of samples": 7}


@best_of_n_utility.case
def best_of_two(answer, seed):
    """Five prompts with seven samples each, n = 2: the mean over all pairs of samples, each won by the larger reward."""
    return {"utility": answer(*_samples(seed, 5, 7), 2), "_sizes": _SAMPLED | {"n": 2}}


@best_of_n_utility.case
def best_of_one(answer, seed):
    """n = 1 is plain sampling: the mean utility."""
    return {"utility": answer(*_samples(seed, 3, 5), 1), "_sizes": {"the number of prompts": 3}}


@best_of_n_utility.case
def best_of_all(answer, seed):
    """n is the number of samples: there is one way to choose them all, and the largest reward wins."""
    return {"utility": answer(*_samples(seed, 4, 6), 6), "_sizes": {"the number of prompts": 4, "n": 6}}


@best_of_n_utility.case
def too_many_ways_to_count(answer, seed):
    """n = 23 of 48 samples: there are some 3e13 ways to choose, too many to try them all."""
    return {"utility": answer(*_samples(seed, 3, 48), 23), "_sizes": {"the number of prompts": 3, "n": 23}}


@best_of_n_utility.case
def equal_rewards(answer, seed):
    """Samples of the same reward and the same utility, as when a text was drawn several times."""
    rewards, utilities = _samples(seed, 3, 9)
    rewards[:, [1, 4, 7]], utilities[:, [1, 4, 7]] = rewards[:, :1], utilities[:, :1]
    return {"utility": answer(rewards, utilities, 4), "_sizes": {"the number of prompts": 3, "n": 4}}


# ---------------------------------------------------------------------------------------------------------------------
best_of_n_probs = Exercise("best_of_n_probs", TOPIC, "Exercise 9: what best of n samples from")


def _policy(seed: int, answers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of so many answers and their rewards, all different and not in order."""
    g = seeded(seed)
    probs = (0.9 * torch.randn(answers, generator=g, dtype=torch.float64)).softmax(0)
    order = torch.randperm(answers, generator=g)
    while order.diff().abs().max() == 1 or order[0] == 0 or order[-1] == answers - 1 or order[0] == answers - 1:
        order = torch.randperm(answers, generator=g)
    return probs, 0.7 * order.double() - 1.9


@best_of_n_probs.case
def different_rewards(answer, seed):
    """Seven answers, n = 3: how probable each is as the best of three draws."""
    return {"probs": answer(*_policy(seed, 7), 3), "_sizes": {"n": 3, "the number of answers": 7}}


@best_of_n_probs.case
def one_draw(answer, seed):
    """n = 1: the policy itself."""
    return {"probs": answer(*_policy(seed, 5), 1), "_sizes": {"the number of answers": 5}}


@best_of_n_probs.case
def rewards_that_tie(answer, seed):
    """Answers of equal reward share what falls to them in proportion to their own probabilities."""
    probs, rewards = _policy(seed, 9)
    order = ((rewards + 1.9) / 0.7).round().long()
    rewards = torch.tensor([0.5, 0.5, 1.5, 1.5, 1.5, 1.5, 2.5, 2.5, 2.5])[order]
    return {"probs": answer(probs, rewards, 5), "_sizes": {"n": 5, "the number of answers": 9}}


@best_of_n_probs.case
def very_many_draws(answer, seed):
    """n = 400: nearly all of it is on the best answer."""
    return {"probs": answer(*_policy(seed, 5), 400), "_sizes": {"n": 400, "the number of answers": 5}}


@best_of_n_probs.case
def an_impossible_answer(answer, seed):
    """The best answer has probability 0, and keeps it."""
    probs, rewards = _policy(seed, 5)
    probs[rewards.argmax()] = 0
    return {"probs": answer(probs / probs.sum(), rewards, 4), "_sizes": {"n": 4, "the number of answers": 5}}


# ---------------------------------------------------------------------------------------------------------------------
scores_from_few = Exercise("scores_from_few", TOPIC, "Exercise 10: few comparisons, careless annotators", open=True)


def _scores_of_heldout(answer, seed: int) -> dict:
    """The scores of the held-out answers in each world. Raises Unexpected where they are not one number for each."""
    rows = []
    for world in worlds(seed):
        scores = answer(world.features, world.pairs, world.annotators, world.heldout)
        try:
            scores = torch.as_tensor(scores).detach().double().reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            raise Unexpected(f"A tensor of scores should come back, not {type(scores).__name__}.") from None
        if len(scores) != HELDOUT:
            raise Unexpected(f"One score for each of the {HELDOUT} held-out answers should come back; {len(scores)} came.")
        rows.append(scores)
    # Only differences of scores are judged: without their mean, which may be large, few digits say them.
    centred = [scores - scores.mean() for scores in rows]
    return {"scores": coarse(torch.stack(centred)), "seed": torch.tensor(seed)}


@scores_from_few.case(rule="few_bar_1")
def bar_1(answer, seed):
    """At most 0.25 nats above the truth, in the mean of 40 worlds. (Scores that are all equal have about 0.34.)"""
    return _scores_of_heldout(answer, seed)


@scores_from_few.case(rule="few_bar_2")
def bar_2(answer, seed):
    """At most 0.185 nats above the truth, in 40 other worlds."""
    return _scores_of_heldout(answer, seed + 1)


@scores_from_few.case(rule="few_bar_3")
def bar_3(answer, seed):
    """At most 0.172 nats above the truth, in 40 worlds more."""
    return _scores_of_heldout(answer, seed + 2)
