"""Probes of chapter 03's middle: the KL term, its estimators, the closed-form optimum, and the loss put together."""

import torch

from autograder.chapters.probing import as_pair, as_tensor, gradient_at, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "03_reinforce"


def _samples(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards of sampled answers, and their log-probabilities under policy and reference, of the shape given."""
    g = seeded(seed)
    logps = -0.5 - 6 * torch.rand(*shape, generator=g)
    ref_logps = logps - 0.3 - 0.9 * torch.randn(*shape, generator=g)
    return 2 * torch.randn(*shape, generator=g) + 1.1, logps, ref_logps


# ---------------------------------------------------------------------------------------------------------------------
kl_shaped_rewards = Exercise(
    "kl_shaped_rewards",
    TOPIC,
    "Exercise 6: the KL term becomes a reward",
    fresh=True,
    gradients={"rewards": 0, "logps": 1, "ref_logps": 2},
)


@kl_shaped_rewards.case
def a_batch_of_answers(answer, seed):
    """Seven answers: each reward minus beta times the log-ratio of its probabilities."""
    return {"shaped": answer(*_samples(seed, 7), 0.3)}


@kl_shaped_rewards.case
def prompts_with_several_answers(answer, seed):
    """Any shape will do, (prompts, k) as well."""
    return {"shaped": answer(*_samples(seed, 3, 5), 1.7)}


@kl_shaped_rewards.case
def no_price(answer, seed):
    """beta = 0: the rewards as they are."""
    return {"shaped": answer(*_samples(seed, 5), 0.0)}


@kl_shaped_rewards.case
def answers_that_the_reference_would_never_give(answer, seed):
    """Log-probabilities of -2000: the penalty is large and finite, and no exponential of it is needed."""
    rewards, logps, ref_logps = _samples(seed, 5)
    return {"shaped": answer(rewards, logps, 100 * ref_logps - 1500.0, 0.6)}


@kl_shaped_rewards.case
def a_constant_for_the_gradient(answer, seed):
    """The log-probabilities carry a graph, the shaped reward carries none."""
    rewards, logps, ref_logps = _samples(seed, 7)
    logps.requires_grad_()
    shaped = as_tensor(answer(rewards, 1.0 * logps, ref_logps, 0.8), "The shaped reward")
    return {"shaped": shaped, "carries_a_graph": shaped.requires_grad}


# ---------------------------------------------------------------------------------------------------------------------
kl_estimates = Exercise("kl_estimates", TOPIC, "Exercise 7: three estimators of the KL")


def _three(value) -> dict:
    found = list(value) if isinstance(value, (tuple, list)) or (isinstance(value, torch.Tensor) and value.ndim) else []
    if len(found) != 3:
        came = f"{len(found)} of them" if found else type(value).__name__
        raise Unexpected(f"The function should return three tensors, k1, k2 and k3; it returned {came}.")
    return {name: as_tensor(k, name) for name, k in zip(("k1", "k2", "k3"), found)}


@kl_estimates.case
def samples_near_the_reference(answer, seed):
    """Policy and reference differ a little: k1, k2 and k3 of each of eleven samples."""
    _, logps, ref_logps = _samples(seed, 11)
    return _three(answer(logps, logps + 0.3 * (ref_logps - logps)))


@kl_estimates.case
def samples_far_from_the_reference(answer, seed):
    """They differ much, in both directions."""
    _, logps, ref_logps = _samples(seed, 7)
    return _three(answer(logps, logps + 2 * (ref_logps - logps)))


@kl_estimates.case
def samples_of_several_prompts(answer, seed):
    """(prompts, k): an estimate for each sample, of the same shape."""
    _, logps, ref_logps = _samples(seed, 3, 5)
    return _three(answer(logps, ref_logps))


@kl_estimates.case
def some_samples_equally_likely(answer, seed):
    """Where policy and reference agree on a sample, all three are 0."""
    _, logps, ref_logps = _samples(seed, 5)
    ref_logps[1], ref_logps[3] = logps[1], logps[3]
    return _three(answer(logps, ref_logps))


# ---------------------------------------------------------------------------------------------------------------------
optimal_policy = Exercise("optimal_policy", TOPIC, "Exercise 8: the optimum")


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
    "Exercise 9: all of it together",
    gradients={"logits": 0, "ref_logits": 1, "rewards": 2},
)


def _step(seed: int, prompts: int, answers: int, k: int) -> tuple[torch.Tensor, ...]:
    """Logits, reference logits, rewards (prompts, answers) and sampled answers (prompts, k), of which one comes twice."""
    g = seeded(seed)
    logits, ref_logits, rewards = (s * torch.randn(prompts, answers, generator=g) for s in (1.3, 1.1, 2.0))
    actions = torch.stack([torch.randperm(answers, generator=g)[:k] for _ in range(prompts)])
    if k > 2:
        actions[:, -1] = actions[:, 0]
    return logits + 0.8, ref_logits, rewards, actions


def _loss_sizes(prompts: int, answers: int, k: int) -> dict[str, int]:
    return {
        "the number of prompts": prompts,
        "the number of answers": answers,
        "k": k,
        "the number of samples": prompts * k,
    }


def _policy_gradient(answer, logits, ref_logits, rewards, actions, beta: float) -> dict:
    gradient = gradient_at(lambda x, r: answer(x, ref_logits, r, actions, beta), logits, rewards)
    return {"gradient": gradient, "_sizes": _loss_sizes(*logits.shape, actions.shape[1])}


@policy_loss.case
def value_of_the_loss(answer, seed):
    """The loss itself: minus the mean over all samples of advantage times log p."""
    logits, ref_logits, rewards, actions = _step(seed, 3, 7, 5)
    return {"loss": answer(logits, ref_logits, rewards, actions, 0.9), "_sizes": _loss_sizes(3, 7, 5)}


@policy_loss.case
def gradient_of_the_loss(answer, seed):
    """Its gradient at the logits: advantages are constants, and only log p of the samples is differentiated."""
    return _policy_gradient(answer, *_step(seed, 3, 7, 5), 0.9)


@policy_loss.case
def two_samples_without_a_penalty(answer, seed):
    """beta = 0 and two samples of each of five prompts: plain REINFORCE with a leave-one-out baseline."""
    return _policy_gradient(answer, *_step(seed, 5, 11, 2), 0.0)


@policy_loss.case
def a_penalty_without_rewards(answer, seed):
    """All rewards 0: what is left drives the policy back to the reference."""
    logits, ref_logits, rewards, actions = _step(seed, 3, 5, 4)
    return _policy_gradient(answer, logits, ref_logits, torch.zeros_like(rewards), actions, 1.6)


@policy_loss.case
def prompts_far_apart(answer, seed):
    """Rewards of the prompts lie far apart, logits are moved by constants: neither matters."""
    logits, ref_logits, rewards, actions = _step(seed, 3, 7, 5)
    moved = rewards + torch.tensor([[0.0], [30.0], [-20.0]])
    return _policy_gradient(answer, logits + torch.tensor([[4.0], [0], [-3]]), ref_logits, moved, actions, 0.5)
