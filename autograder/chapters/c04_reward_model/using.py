"""Probes of chapter 04's second half: reading the head, accuracy and calibration, best of n and what it costs."""

import torch

from autograder.chapters.probing import as_number, gradients_of, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "04_reward_model"

# ---------------------------------------------------------------------------------------------------------------------
last_token_rewards = Exercise(
    "last_token_rewards", TOPIC, "Exercise 6: one number for an answer", gradients={"token_rewards": 0}
)


def _padded(seed: int, length: int, begins: list[int], ends: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A head's outputs at every position, and a mask that is 1 from begins[row] up to but without ends[row]."""
    token_rewards = 0.3 + 2 * torch.randn(len(begins), length, generator=seeded(seed))
    mask = torch.zeros(len(begins), length, dtype=torch.long)
    for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        mask[row, begin:end] = 1
    return token_rewards, mask


_SIZES = {"the batch size": 5, "the length of a row": 11}


@last_token_rewards.case
def padded_on_the_right(answer, seed):
    """Rows of different lengths, padded on the right: the output at each row's last real token."""
    return {"rewards": answer(*_padded(seed, 11, [0] * 5, [7, 11, 3, 9, 5])), "_sizes": _SIZES}


@last_token_rewards.case
def padded_on_the_left(answer, seed):
    """Padded on the left: the last real token stands in the last column of every row."""
    return {"rewards": answer(*_padded(seed, 11, [4, 0, 8, 2, 6], [11] * 5)), "_sizes": _SIZES}


@last_token_rewards.case
def padded_on_both_sides(answer, seed):
    """Padding on both sides, as after sampling: prompts were padded on the left, answers on the right."""
    return {"rewards": answer(*_padded(seed, 13, [3, 0, 5, 1, 2], [8, 12, 9, 11, 4])), "_sizes": {"the batch size": 5}}


@last_token_rewards.case
def a_single_token(answer, seed):
    """A row of one token, beside a row without any padding."""
    return {"rewards": answer(*_padded(seed, 7, [0, 0, 6], [1, 7, 7])), "_sizes": {"the batch size": 3}}


@last_token_rewards.case
def a_mask_of_booleans(answer, seed):
    """The mask may hold True and False instead of 1 and 0."""
    token_rewards, mask = _padded(seed, 9, [0, 2, 0], [4, 9, 7])
    return {"rewards": answer(token_rewards, mask.bool()), "_sizes": {"the batch size": 3}}


@last_token_rewards.case
def gradient_to_the_last_token(answer, seed):
    """The gradient reaches the last real token of each row, and no other."""
    token_rewards, mask = _padded(seed, 7, [0, 2, 1], [4, 7, 6])
    rewards = answer(token_rewards.requires_grad_(), mask)
    return {"gradient": gradients_of(rewards, token_rewards, what="The rewards", to="head's outputs")[0]}


# ---------------------------------------------------------------------------------------------------------------------
pair_accuracy = Exercise("pair_accuracy", TOPIC, "Exercise 7: how often is it right")


def _pairs(seed: int, pairs: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards around 1 of the chosen and the rejected answers of so many pairs, so many of them in the right order.

    Those in the wrong order are so by much, so that the means say the opposite of the pairs.
    """
    g = seeded(seed)
    rejected = 1 + 1.5 * torch.randn(pairs, generator=g)
    apart = 0.3 + torch.rand(pairs, generator=g)
    sign = torch.where(torch.randperm(pairs, generator=g) < right, 1.0, -9.0)
    return rejected + sign * apart, rejected


@pair_accuracy.case
def eleven_pairs(answer, seed):
    """Eleven pairs, eight of them in the right order."""
    return {"accuracy": answer(*_pairs(seed, 11, 8)), "_sizes": {"the number of pairs": 11}}


@pair_accuracy.case
def pairs_that_tie(answer, seed):
    """Two equal rewards are a coin toss: such a pair counts half."""
    chosen, rejected = _pairs(seed, 9, 5)
    chosen[[2, 4, 7]] = rejected[[2, 4, 7]]
    return {"accuracy": answer(chosen, rejected), "_sizes": {"the number of pairs": 9}}


@pair_accuracy.case
def a_reward_without_opinion(answer, seed):
    """A reward model that says the same of everything is right half of the time."""
    same = torch.full((7,), 0.7)
    return {"accuracy": answer(same, same.clone()), "_sizes": {"the number of pairs": 7}}


@pair_accuracy.case
def rewards_far_from_zero(answer, seed):
    """All rewards are far below zero, or far above: only their order counts."""
    chosen, rejected = _pairs(seed, 7, 5)
    sizes = {"the number of pairs": 7}
    return {"below": answer(chosen - 40, rejected - 40), "above": answer(chosen + 40, rejected + 40), "_sizes": sizes}


@pair_accuracy.case
def nearly_equal(answer, seed):
    """Rewards that differ in the seventh digit alone are not equal: the larger one is ahead."""
    chosen, rejected = torch.full((7,), 0.75), torch.full((7,), 0.75)
    chosen[seed % 2 : 5] += 2**-22
    rejected[5:] += 2**-22
    return {"accuracy": answer(chosen, rejected), "_sizes": {"the number of pairs": 7}}


# ---------------------------------------------------------------------------------------------------------------------
calibration_bins = Exercise("calibration_bins", TOPIC, "Exercise 8: does it know how sure it may be")


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
best_of_n = Exercise("best_of_n", TOPIC, "Exercise 9: best of n")


def _samples(seed: int, prompts: int, samples: int, n: int) -> torch.Tensor:
    """Rewards (prompts, samples). The best of the first n is never the first, nor the best of all where n is smaller."""
    rewards = 0.4 + torch.randn(prompts, samples, generator=seeded(seed))
    for row in range(prompts):
        if n > 1:
            rewards[row, 1 + (row + seed) % (n - 1)] = 5 + row % 3
        rewards[row, n:] = rewards[row, n:].clone() + 9
    return rewards


@best_of_n.case
def all_samples(answer, seed):
    """Seven samples for each of five prompts, n = 7: the place of the largest reward in each row."""
    return {"index": answer(_samples(seed, 5, 7, 7), 7), "_sizes": {"the number of prompts": 5, "n": 7}}


@best_of_n.case
def fewer_than_there_are(answer, seed):
    """n = 3 of eleven samples: only the first three are looked at."""
    return {"index": answer(_samples(seed, 7, 11, 3), 3), "_sizes": {"the number of prompts": 7, "n": 3}}


@best_of_n.case
def best_of_one(answer, seed):
    """n = 1 is plain sampling: the first sample of every prompt."""
    return {"index": answer(_samples(seed, 3, 5, 1), 1), "_sizes": {"the number of prompts": 3}}


@best_of_n.case
def equal_rewards(answer, seed):
    """Two samples of a row are equally good: the earlier one."""
    rewards = _samples(seed, 3, 9, 7)
    for row in range(3):
        rewards[row, [1 + (row + seed) % 2, 5]] = 20.0
    return {"index": answer(rewards, 7), "_sizes": {"the number of prompts": 3, "n": 7}}


@best_of_n.case
def all_below_zero(answer, seed):
    """All rewards are negative: the largest is the one nearest to zero."""
    return {"index": answer(_samples(seed, 7, 9, 5) - 50, 5), "_sizes": {"the number of prompts": 7, "n": 5}}


# ---------------------------------------------------------------------------------------------------------------------
best_of_n_probs = Exercise("best_of_n_probs", TOPIC, "Exercise 10: what best of n samples from")


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
best_of_n_kl = Exercise("best_of_n_kl", TOPIC, "Exercise 11: how far it goes", plain=True)


@best_of_n_kl.case
def small_n(answer, seed):
    """n = 2 to 13."""
    return {"kl": torch.tensor([as_number(answer(n), "The bound") for n in (2, 3, 5, 8 + seed % 5)])}


@best_of_n_kl.case
def plain_sampling(answer, seed):
    """n = 1 changes nothing: 0."""
    return {"kl": as_number(answer(1), "The bound")}


@best_of_n_kl.case
def a_million(answer, seed):
    """A million draws cost little more than a dozen nats."""
    return {"kl": as_number(answer(10**6 + seed % 7), "The bound")}
