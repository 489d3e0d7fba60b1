"""Probes of chapter 05's first half: which token of an answer gets which credit."""

import torch

from autograder.chapters.probing import as_pair, as_tensor, mask_of, seeded
from autograder.exercise import Exercise

TOPIC = "05_ppo"


# ---------------------------------------------------------------------------------------------------------------------
token_rewards = Exercise(
    "token_rewards", TOPIC, "Exercise 1: a reward for every token", gradients={"scores": 0, "logps": 1, "ref_logps": 2}
)


def _lengths(seed: int, rows: int, seq: int) -> list[int]:
    """Different lengths, from 2 to seq - 1, in an order that depends on the seed."""
    order = torch.randperm(rows, generator=seeded(seed + 77)).tolist()
    return [2 + (seq - 3) * place // max(1, rows - 1) for place in order]


def _logps(seed: int, rows: int, seq: int, apart: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the same tokens under two policies that differ clearly at each of them."""
    g = seeded(seed)
    ref_logps = -0.3 - 3 * torch.rand(rows, seq, generator=g)
    sign = torch.where(torch.rand(rows, seq, generator=g) < 0.5, -1.0, 1.0)
    return (ref_logps + sign * apart * (0.3 + torch.rand(rows, seq, generator=g))).clamp(max=-0.01), ref_logps


def _scores(seed: int, rows: int) -> torch.Tensor:
    """One score a row, none near zero."""
    g = seeded(seed + 5)
    sign = torch.where(torch.arange(rows) % 2 == seed % 2, 1.0, -1.0)
    return sign * (0.8 + torch.rand(rows, generator=g))


@token_rewards.case
def answers_of_different_lengths(answer, seed):
    """Answers of different lengths: -beta (logps - ref_logps) on each token, the score added on the last real one."""
    logps, ref_logps = _logps(seed, 5, 9)
    mask = mask_of(_lengths(seed, 5, 9), 9)
    rewards = answer(_scores(seed, 5), logps, ref_logps, mask, 0.3)
    return {"rewards": as_tensor(rewards, "The rewards")}


@token_rewards.case
def answers_without_padding(answer, seed):
    """Answers that fill their rows: the last place of the row is the last token."""
    logps, ref_logps = _logps(seed, 3, 7)
    rewards = answer(_scores(seed, 3), logps, ref_logps, torch.ones(3, 7, dtype=torch.long), 0.17)
    return {"rewards": as_tensor(rewards, "The rewards")}


@token_rewards.case
def answers_of_one_token(answer, seed):
    """Answers of a single token, which is the first and the last."""
    logps, ref_logps = _logps(seed, 3, 5)
    rewards = answer(_scores(seed, 3), logps, ref_logps, mask_of([1, 1, 1], 5), 0.4)
    return {"rewards": as_tensor(rewards, "The rewards")}


@token_rewards.case
def anything_on_padding(answer, seed):
    """On padding the log-probabilities are -inf or NaN: the reward there is 0, and nothing else is touched."""
    logps, ref_logps = _logps(seed, 3, 7)
    mask = mask_of([3, 7, 4], 7)
    logps[0, 4:], ref_logps[0, 3:] = -float("inf"), -float("inf")
    logps[2, 4:], ref_logps[2, 5:] = float("nan"), float("nan")
    return {"rewards": as_tensor(answer(_scores(seed, 3), logps, ref_logps, mask, 0.2), "The rewards")}


@token_rewards.case
def a_policy_far_away(answer, seed):
    """A policy far from the reference, a large beta and large scores: they count as they are, whatever their size."""
    logps, ref_logps = _logps(seed, 3, 11)
    ref_logps = ref_logps - 40 * torch.rand(3, 11, generator=seeded(seed + 1))
    rewards = answer(25 * _scores(seed, 3), logps, ref_logps, mask_of([11, 5, 8], 11), 1.7)
    return {"rewards": as_tensor(rewards, "The rewards")}


@token_rewards.case
def constants_for_the_gradient(answer, seed):
    """A reward is a constant for the gradient, also where the log-probabilities come with one."""
    logps, ref_logps = _logps(seed, 3, 5)
    rewards = answer(_scores(seed, 3), logps.requires_grad_(), ref_logps, mask_of([2, 5, 3], 5), 0.3)
    rewards = as_tensor(rewards, "The rewards")
    return {"rewards": rewards, "a_gradient_flows": rewards.requires_grad}


# ---------------------------------------------------------------------------------------------------------------------
gae = Exercise("gae", TOPIC, "Exercise 2: generalised advantage estimation")


def _episodes(seed: int, lengths: list[int], seq: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, values and mask; on padding there are numbers as large as anywhere."""
    g = seeded(seed)
    rewards, values = (torch.randn(len(lengths), seq, generator=g) for _ in range(2))
    return rewards + 0.3, 1.5 * values - 0.4, mask_of(lengths, seq)


def _advantages(answer, episodes, gamma: float, lam: float) -> dict:
    return {"advantages": as_tensor(answer(*episodes, gamma, lam), "The advantages")}


@gae.case
def episodes_of_different_lengths(answer, seed):
    """Answers of different lengths: each is an episode of its own, and after its last token the value is 0."""
    return _advantages(answer, _episodes(seed, _lengths(seed, 5, 9), 9), 0.9, 0.8)


@gae.case
def episodes_without_padding(answer, seed):
    """Answers that fill their rows: the value after the last place is 0 there too."""
    return _advantages(answer, _episodes(seed, [7, 7, 7], 7), 0.93, 0.6)


@gae.case
def lam_zero(answer, seed):
    """lam = 0: only the next value counts, A = r + gamma V' - V."""
    return _advantages(answer, _episodes(seed, _lengths(seed, 4, 7), 7), 0.85, 0.0)


@gae.case
def lam_one_without_discount(answer, seed):
    """gamma = lam = 1: everything that is still to come, minus the value."""
    return _advantages(answer, _episodes(seed, _lengths(seed, 3, 11), 11), 1.0, 1.0)


@gae.case
def no_future(answer, seed):
    """gamma = 0: nothing but the token's own reward, minus the value."""
    return _advantages(answer, _episodes(seed, _lengths(seed, 3, 5), 5), 0.0, 0.7)


@gae.case
def episodes_of_one_token(answer, seed):
    """Answers of a single token: A = r - V."""
    return _advantages(answer, _episodes(seed, [1, 1, 1], 5), 0.9, 0.8)


@gae.case
def nothing_known_of_padding(answer, seed):
    """On padding the rewards and values are NaN: nothing of it may reach the answer, and the result there is 0."""
    rewards, values, mask = _episodes(seed, [4, 7, 2], 7)
    rewards[mask == 0], values[mask == 0] = float("nan"), float("nan")
    return _advantages(answer, (rewards, values, mask), 0.95, 0.9)


# ---------------------------------------------------------------------------------------------------------------------
masked_whiten = Exercise("masked_whiten", TOPIC, "Exercise 3: whitening under a mask")


def _numbers(seed: int, rows: int, seq: int, scale: float = 1.0, mean: float = 0.0) -> torch.Tensor:
    """Numbers whose rows and columns differ in mean and spread."""
    g = seeded(seed)
    x = torch.randn(rows, seq, generator=g) * (0.5 + torch.arange(rows)[:, None]) + 0.3 * torch.arange(seq)
    return scale * x + mean


@masked_whiten.case
def entries_of_a_batch(answer, seed):
    """Mean and spread of all entries under the mask together; 0 where the mask is 0."""
    mask, x = mask_of(_lengths(seed, 4, 9), 9), _numbers(seed, 4, 9, mean=1.7)
    x[seed % 4, 1] = 0.0  # a number like any other
    return {"whitened": as_tensor(answer(x, mask), "The result")}


@masked_whiten.case
def the_mean_stays(answer, seed):
    """shift_mean=False: divided by the spread about the mean, but the mean is where it was; padding is 0 all the same."""
    mask = mask_of(_lengths(seed, 3, 7), 7)
    return {"whitened": as_tensor(answer(_numbers(seed, 3, 7, mean=-2.3), mask, shift_mean=False), "The result")}


@masked_whiten.case
def no_padding(answer, seed):
    """A mask of ones, and shift_mean=True said aloud."""
    ones = torch.ones(3, 5, dtype=torch.long)
    return {"whitened": as_tensor(answer(_numbers(seed, 3, 5, 3.0, 0.9), ones, shift_mean=True), "The result")}


@masked_whiten.case
def tiny_numbers(answer, seed):
    """Numbers of size 0.0001 and smaller: here the 1e-8 beside the variance shows."""
    mask = mask_of([5, 3, 4], 5)
    sizes = {"of_size_0.0001": 1e-4, "of_size_0.00001": 1e-5}
    return {name: as_tensor(answer(_numbers(seed, 3, 5, size), mask), "The result") for name, size in sizes.items()}


_CONSTANTS = [0.1 + 0.0837 * i for i in range(29)]


@masked_whiten.case
def all_the_same(answer, seed):
    """Entries that are all the same become 0, not NaN."""
    x = torch.full((3, 5), 2.5 + seed % 4)
    x[:, 4] = 77.0
    whitened = as_tensor(answer(x, mask_of([4, 2, 1], 5)), "The result")
    alone = as_tensor(answer(x, mask_of([1, 0, 0], 5)), "The result")
    # Constants that no binary fraction is: their mean is rounded, so all that is asked is to stay near 0.
    others = (as_tensor(answer(torch.full((3, 7), c), mask_of([7, 3, 5], 7)), "The result") for c in _CONSTANTS)
    return {"whitened": whitened, "a_single_entry": alone, "others_near_0": all(bool((w.abs() < 0.05).all()) for w in others)}


@masked_whiten.case
def anything_outside_the_mask(answer, seed):
    """Outside the mask there is NaN or infinity: the result is 0 there and not touched elsewhere."""
    mask, x = mask_of([2, 5, 4], 7), _numbers(seed, 3, 7, mean=0.4)
    x[0, 2:], x[1, 5:], x[2, 4:] = float("nan"), float("inf"), -float("inf")
    return {"whitened": as_tensor(answer(x, mask), "The result")}


# ---------------------------------------------------------------------------------------------------------------------
advantages_and_returns = Exercise("advantages_and_returns", TOPIC, "Exercise 4: what each model learns from")


def _targets(answer, episodes, gamma: float, lam: float) -> dict:
    advantages, returns = as_pair(answer(*episodes, gamma, lam), "advantages and returns")
    return {"advantages": as_tensor(advantages, "The advantages"), "returns": as_tensor(returns, "The returns")}


@advantages_and_returns.case
def answers_and_padding(answer, seed):
    """Whitened advantages for the policy; returns, from the advantages *before* whitening, for the value model."""
    return _targets(answer, _episodes(seed, _lengths(seed, 5, 9), 9), 0.9, 0.8)


@advantages_and_returns.case
def full_rows(answer, seed):
    """Answers that fill their rows."""
    return _targets(answer, _episodes(seed, [7, 7, 7], 7), 0.8, 0.7)


@advantages_and_returns.case
def all_that_is_to_come(answer, seed):
    """gamma = lam = 1: the return of a token is the sum of the rewards from it on, whatever the values said."""
    return _targets(answer, _episodes(seed, _lengths(seed, 3, 11), 11), 1.0, 1.0)


@advantages_and_returns.case
def tiny_errors(answer, seed):
    """Rewards and values of size 0.0001: what is whitened is divided by a little more than its spread."""
    rewards, values, mask = _episodes(seed, _lengths(seed, 3, 7), 7)
    return _targets(answer, (1e-4 * rewards, 1e-4 * values, mask), 0.9, 0.7)


@advantages_and_returns.case
def padding_unknown(answer, seed):
    """On padding the rewards and values are NaN: both results are 0 there, and whole elsewhere."""
    rewards, values, mask = _episodes(seed, [4, 7, 2], 7)
    rewards[mask == 0], values[mask == 0] = float("nan"), float("nan")
    return _targets(answer, (rewards, values, mask), 0.95, 0.9)
