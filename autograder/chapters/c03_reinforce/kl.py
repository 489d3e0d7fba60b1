"""Probes of chapter 03's middle: the KL term, the estimate of it, the closed-form optimum, the loss put together, the loop."""

import torch
from torch import nn

from autograder.chapters.probing import as_number, as_pair, as_tensor, gradient_at, noting_sgd, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "03_reinforce"


def _samples(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of sampled answers under policy and reference, of the shape given."""
    g = seeded(seed)
    logps = -0.5 - 6 * torch.rand(*shape, generator=g)
    return logps, logps - 0.3 - 0.9 * torch.randn(*shape, generator=g)


# ---------------------------------------------------------------------------------------------------------------------
kl_estimate = Exercise(
    "kl_estimate", TOPIC, "Exercise 6: a KL that is never negative", gradients={"logps": 0, "ref_logps": 1}
)


@kl_estimate.case
def samples_near_the_reference(answer, seed):
    """Policy and reference differ a little: an estimate for each of eleven samples."""
    logps, ref_logps = _samples(seed, 11)
    return {"estimates": answer(logps, logps + 0.3 * (ref_logps - logps))}


@kl_estimate.case
def samples_far_from_the_reference(answer, seed):
    """They differ much, in both directions."""
    logps, ref_logps = _samples(seed, 7)
    return {"estimates": answer(logps, logps + 2 * (ref_logps - logps))}


@kl_estimate.case
def samples_of_several_prompts(answer, seed):
    """(prompts, k): an estimate for each sample, of the same shape."""
    return {"estimates": answer(*_samples(seed, 3, 5))}


@kl_estimate.case
def some_samples_equally_likely(answer, seed):
    """Where policy and reference agree on a sample, its estimate is 0."""
    logps, ref_logps = _samples(seed, 5)
    ref_logps[1], ref_logps[3] = logps[1], logps[3]
    return {"estimates": answer(logps, ref_logps)}


@kl_estimate.case
def expectation_over_all_answers(answer, seed):
    """Weighted by the policy's probabilities of all answers, the estimates add up to the KL."""
    g = seeded(seed)
    logps, ref_logps = (s * torch.randn(6, generator=g) for s in (1.4, 1.1))
    logps, ref_logps = logps.log_softmax(-1), ref_logps.log_softmax(-1)
    estimates = as_tensor(answer(logps.clone(), ref_logps), "The estimates")
    if estimates.shape != logps.shape:
        raise Unexpected(f"The estimates should have the shape {tuple(logps.shape)}; they have {tuple(estimates.shape)}.")
    return {"expected_estimate": (logps.exp() * estimates.float()).sum()}


# ---------------------------------------------------------------------------------------------------------------------
optimal_policy = Exercise("optimal_policy", TOPIC, "Exercise 7: the optimum")


def _table(seed: int, prompts: int, answers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the reference and rewards, (prompts, answers); no two rewards of a row are near each other."""
    g = seeded(seed)
    ref_logps = (1.3 * torch.randn(prompts, answers, generator=g)).log_softmax(-1)
    order = torch.stack([torch.randperm(answers, generator=g) for _ in range(prompts)])
    return ref_logps, 0.6 * order + 0.2 * torch.rand(prompts, answers, generator=g) - 0.7


def _optimum(value) -> dict:
    probs, log_z = as_pair(value, "the probabilities and log Z")
    return {"probs": as_tensor(probs, "The probabilities"), "log_z": as_tensor(log_z, "log Z")}


@optimal_policy.case
def an_ordinary_optimum(answer, seed):
    """p*, proportional to p_0 exp(reward / beta), and log Z for each prompt."""
    return _optimum(answer(*_table(seed, 3, 7), 0.8))


@optimal_policy.case
def a_high_price(answer, seed):
    """beta = 30: leaving the reference is expensive, so the optimum stays close to it."""
    return _optimum(answer(*_table(seed, 5, 3), 30.0))


@optimal_policy.case
def a_tiny_price(answer, seed):
    """beta = 0.001: nearly all probability goes to the best answer, and exp(reward / beta) does not overflow."""
    return _optimum(answer(*_table(seed, 3, 5), 1e-3))


@optimal_policy.case
def rewards_moved_by_a_constant(answer, seed):
    """Rewards of -360 and so: a constant changes log Z and nothing else, and nothing underflows."""
    ref_logps, rewards = _table(seed, 3, 5)
    return _optimum(answer(ref_logps, rewards - torch.tensor([[360.0], [240.0], [0.0]]), 1.5))


@optimal_policy.case
def answers_that_the_reference_excludes(answer, seed):
    """An answer with p_0 = 0, log p_0 minus infinity: no reward makes it possible, not even one of 50."""
    ref_logps, rewards = _table(seed, 3, 7)
    ref_logps[0, 2] = ref_logps[2, 5] = -torch.inf
    rewards[0, 2] = 50.0
    return _optimum(answer(ref_logps.log_softmax(-1), rewards, 0.7))


# ---------------------------------------------------------------------------------------------------------------------
policy_loss = Exercise(
    "policy_loss",
    TOPIC,
    "Exercise 8: all of it in one loss",
    gradients={"logps": 0, "ref_logps": 1, "rewards": 2},
)


def _batch(seed: int, prompts: int, k: int, length: int) -> tuple[torch.Tensor, ...]:
    """logps, ref_logps, rewards and mask of sampled answers of different lengths."""
    g = seeded(seed)
    logps = -0.2 - 1.5 * torch.rand(prompts, k, length, generator=g)
    ref_logps = logps + 0.1 + 0.5 * torch.randn(prompts, k, length, generator=g)
    rewards = 2 * torch.randn(prompts, k, generator=g) + 0.8
    ends = 2 + (3 * torch.arange(prompts * k) + seed).view(prompts, k) % (length - 1)
    return logps, ref_logps, rewards, (torch.arange(length) < ends[..., None]).long()


def _loss_sizes(mask: torch.Tensor) -> dict[str, int]:
    prompts, k, length = mask.shape
    return {
        "the number of prompts": prompts,
        "k": k,
        "the length of a row": length,
        "the number of answers": prompts * k,
        "the number of answer tokens": int(mask.sum()),
    }


def _policy_gradient(answer, logps, ref_logps, rewards, mask, beta: float) -> dict:
    gradient = gradient_at(lambda x, r: answer(x, ref_logps, r, mask, beta), logps, rewards)
    return {"gradient": gradient, "_sizes": _loss_sizes(mask)}


@policy_loss.case
def value_of_the_loss(answer, seed):
    """The loss itself: minus the mean over all answers of advantage times log p(answer)."""
    batch = _batch(seed, 3, 5, 7)
    return {"loss": answer(*batch, 0.9), "_sizes": _loss_sizes(batch[3])}


@policy_loss.case
def gradient_of_the_loss(answer, seed):
    """Its gradient at the log-probabilities: advantages are constants, and tokens behind the end get nothing."""
    return _policy_gradient(answer, *_batch(seed, 3, 5, 7), 0.9)


@policy_loss.case
def two_answers_without_a_penalty(answer, seed):
    """beta = 0 and two answers to each of five prompts: plain REINFORCE with a leave-one-out baseline."""
    return _policy_gradient(answer, *_batch(seed, 5, 2, 4), 0.0)


@policy_loss.case
def a_penalty_without_rewards(answer, seed):
    """All rewards 0: what is left drives the policy back to the reference."""
    logps, ref_logps, rewards, mask = _batch(seed, 3, 4, 6)
    return _policy_gradient(answer, logps, ref_logps, torch.zeros_like(rewards), mask, 1.6)


@policy_loss.case
def prompts_far_apart(answer, seed):
    """Rewards of the prompts lie far apart: only answers to the same prompt are compared."""
    logps, ref_logps, rewards, mask = _batch(seed, 3, 5, 4)
    return _policy_gradient(answer, logps, ref_logps, rewards + torch.tensor([[0.0], [30.0], [-20.0]]), mask, 0.5)


@policy_loss.case
def anything_behind_the_end(answer, seed):
    """Behind the ends stand large numbers, different ones for policy and reference, and the mask is boolean."""
    logps, ref_logps, rewards, mask = _batch(seed, 3, 4, 5)
    logps, ref_logps = torch.where(mask == 1, logps, -300.0), torch.where(mask == 1, ref_logps, -70.0)
    return _policy_gradient(answer, logps, ref_logps, rewards, mask.bool(), 0.7)


@policy_loss.case
def answers_of_one_token(answer, seed):
    """Every answer is one token, as in the small world."""
    logps, ref_logps, rewards, mask = _batch(seed, 3, 6, 3)
    one = (logps[..., :1], ref_logps[..., :1], rewards, mask[..., :1])
    return {"loss": answer(*one, 1.2), "_sizes": {"the number of prompts": 3, "k": 6, "the number of answers": 18}}


# ---------------------------------------------------------------------------------------------------------------------
train_on_reward = Exercise("train_on_reward", TOPIC, "Exercise 9: the training loop", trains=True)


class _Table(nn.Module):
    """A policy over answers of two tokens, with two parameters: logits of the first token, and of the second."""

    def __init__(self, seed: int, prompts: int, words: int):
        super().__init__()
        g = seeded(seed)
        self.first = nn.Parameter(torch.randn(prompts, words, generator=g))
        self.second = nn.Parameter(torch.randn(words, generator=g))


class _World:
    """A policy with what its training needs; it counts how often the policy answered.

    Which answers are drawn does not hang on the policy here, so that no rounding error can change them.
    """

    def __init__(self, seed: int, steepness: float = 1.0, prompts: int = 3, words: int = 5, k: int = 4):
        self.policy, self.drawing, self.steepness = _Table(seed, prompts, words), seeded(seed + 1), steepness
        groups = [{"params": [self.policy.first]}, {"params": [self.policy.second]}]
        self.optimizer = noting_sgd(groups, lr=0.7)
        self.shape, self.words, self.answered = (prompts, k), words, 0

    def sample(self) -> tuple[torch.Tensor, ...]:
        self.answered += 1
        g = self.drawing
        first, second = (torch.randint(self.words, self.shape, generator=g) for _ in range(2))
        first_logps = self.policy.first.log_softmax(-1).gather(1, first)
        logps = torch.stack([first_logps, self.policy.second.log_softmax(-1)[second]], dim=-1)  # (prompts, k, 2)
        ref_logps = logps.detach() - torch.randn(logps.shape, generator=g)
        rewards = torch.randn(self.shape, generator=g) + 0.6 * self.answered
        return logps, ref_logps, rewards, (torch.rand(logps.shape, generator=g) > 0.2).long()

    def loss_of(self, logps, ref_logps, rewards, mask) -> torch.Tensor:
        weights = rewards - rewards.mean() - 0.3 * ((logps - ref_logps) * mask).sum(-1).detach()
        return -self.steepness * (weights * (logps * mask).sum(-1)).mean()

    def trained_by(self, answer, rates: list[float]) -> dict:
        earned = answer(self.policy, self.optimizer, self.sample, self.loss_of, rates)
        return {
            "first_parameter": self.policy.first.detach().clone(),
            "second_parameter": self.policy.second.detach().clone(),
            "mean_rewards": _plain_rewards(earned),
            "learning_rates_at_the_steps": torch.tensor(self.optimizer.rates),
            "gradient_norms_at_the_steps": torch.tensor(self.optimizer.norms),
            "how_often_the_policy_answered": self.answered,
            "_sizes": {"the number of prompts": self.shape[0], "k": self.shape[1], "the number of updates": len(rates)},
        }


def _plain_rewards(earned) -> torch.Tensor:
    if not isinstance(earned, (list, tuple)):
        raise Unexpected(f"The function should return a list of mean rewards; it returned {type(earned).__name__}.")
    if any(isinstance(x, torch.Tensor) for x in earned):
        raise Unexpected("The mean rewards in your list are tensors; plain numbers are asked for. Keep .item().")
    return torch.tensor([as_number(x, "Each mean reward in the list") for x in earned])


@train_on_reward.case
def several_updates(answer, seed):
    """Five updates with gradients shorter than 1: the parameters afterwards, and the mean rewards on the way."""
    return _World(seed, steepness=0.2).trained_by(answer, [0.5] * 5)


@train_on_reward.case
def a_rate_for_each_update(answer, seed):
    """Rates that rise and fall, for both groups of the optimizer."""
    return _World(seed, steepness=0.3).trained_by(answer, [0.1, 0.4, 0.2, 0.0, 0.3])


@train_on_reward.case
def long_gradients(answer, seed):
    """Gradients that are longer than 1 are scaled to length 1, all parameters together."""
    return _World(seed, steepness=40.0).trained_by(answer, [0.3, 0.2, 0.3])


@train_on_reward.case
def gradients_left_over_from_before(answer, seed):
    """The parameters still hold gradients of something else when the training begins: they count for nothing."""
    world = _World(seed, steepness=0.2)
    for parameter in world.policy.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    return world.trained_by(answer, [0.4, 0.4])


@train_on_reward.case
def a_single_update(answer, seed):
    """One rate: one update."""
    return _World(seed, steepness=0.5, prompts=2, k=3).trained_by(answer, [0.6])
