"""Probes of chapter 03's first half: the objective and its gradient by enumeration, the estimate, the loss, baselines.

A policy over answers that can be listed is a table of logits (prompts, answers). Sizes in a case are distinct.
"""

import torch

from autograder.chapters.probing import as_tensor, gradient_at, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "03_reinforce"


def _world(seed: int, prompts: int, answers: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of a policy and of its reference, and rewards, each (prompts, answers)."""
    g = seeded(seed)
    logits, ref_logits, rewards = (s * torch.randn(prompts, answers, generator=g) for s in (1.5, 1.0, 2.0))
    return logits, ref_logits, rewards + 0.7


def _sizes(prompts: int, answers: int) -> dict[str, int]:
    return {"the number of prompts": prompts, "the number of answers": answers}


# ---------------------------------------------------------------------------------------------------------------------
exact_objective = Exercise("exact_objective", TOPIC, "Exercise 1: the objective", gradients={"logits": 0})


@exact_objective.case
def an_ordinary_world(answer, seed):
    """A few prompts: the expected reward minus beta times the KL divergence, averaged over the prompts."""
    return {"objective": answer(*_world(seed, 3, 7), 0.7), "_sizes": _sizes(3, 7)}


@exact_objective.case
def without_a_penalty(answer, seed):
    """beta = 0: the expected reward alone."""
    return {"objective": answer(*_world(seed, 5, 3), 0.0), "_sizes": _sizes(5, 3)}


@exact_objective.case
def penalty_alone(answer, seed):
    """All rewards 0: what is left is -beta KL(policy || reference). It is never positive."""
    logits, ref_logits, rewards = _world(seed, 3, 5)
    return {"objective": answer(logits, ref_logits, torch.zeros_like(rewards), 1.7), "_sizes": _sizes(3, 5)}


@exact_objective.case
def logits_moved_by_a_constant(answer, seed):
    """Logits of the reference plus a constant for each prompt are the same policy: no penalty, only the reward."""
    _, ref_logits, rewards = _world(seed, 3, 7)
    moved = ref_logits + torch.tensor([[3.0], [-2.0], [5.0]])
    return {"objective": answer(moved, ref_logits, rewards, 2.3), "_sizes": _sizes(3, 7)}


@exact_objective.case
def huge_logits(answer, seed):
    """Logits of size 1000: probabilities of exactly 0 occur, and the objective stays finite."""
    logits, ref_logits, rewards = _world(seed, 3, 7)
    return {"objective": answer(1e3 * logits.round(decimals=2), ref_logits, rewards, 0.7), "_sizes": _sizes(3, 7)}


@exact_objective.case
def answers_unlikely_under_the_reference(answer, seed):
    """The reference gives one answer a probability of 1e-20, the policy does not: that costs much, and exactly so much."""
    logits, ref_logits, rewards = _world(seed, 3, 5)
    ref_logits[:, seed % 5] -= 45.0
    return {"objective": answer(logits, ref_logits, rewards, 0.4), "_sizes": _sizes(3, 5)}


@exact_objective.case
def gradient_of_the_objective(answer, seed):
    """The gradient flows to the policy's logits, through the probabilities and through the penalty."""
    logits, ref_logits, rewards = _world(seed, 3, 5)
    return {
        "gradient": gradient_at(lambda x, r: answer(x, ref_logits, r, 0.7), logits, rewards, what="The objective"),
        "_sizes": _sizes(3, 5),
    }


# ---------------------------------------------------------------------------------------------------------------------
score_function_gradient = Exercise("score_function_gradient", TOPIC, "Exercise 2: the gradient")


@score_function_gradient.case
def an_ordinary_gradient(answer, seed):
    """E[f(a) grad log p(a)], averaged over the prompts, for ordinary logits and values."""
    logits, _, values = _world(seed, 3, 7)
    return {"gradient": answer(logits, values), "_sizes": _sizes(3, 7)}


@score_function_gradient.case
def a_single_prompt(answer, seed):
    """A single prompt with five answers."""
    logits, _, values = _world(seed, 1, 5)
    return {"gradient": answer(logits, values), "_sizes": _sizes(1, 5)}


@score_function_gradient.case
def equal_values(answer, seed):
    """Where all answers to a prompt are worth the same, the gradient is zero; other prompts are as ever."""
    logits, _, values = _world(seed, 5, 3)
    values[1], values[4] = 6.0, -2.0
    return {"gradient": answer(logits, values), "_sizes": _sizes(5, 3)}


@score_function_gradient.case
def a_nearly_sure_policy(answer, seed):
    """Logits of size 100: nearly all probability lies on one answer, and nothing overflows."""
    logits, _, values = _world(seed, 3, 7)
    tempting = torch.zeros(3, 7)
    tempting[:, 2] = 100.0
    tempting[:, 5] = 98.5
    return {"gradient": answer(logits + tempting, values), "_sizes": _sizes(3, 7)}


@score_function_gradient.case
def values_that_depend_on_the_policy(answer, seed):
    """Values computed from the logits themselves, as the KL-shaped reward is: they are constants all the same."""
    logits, ref_logits, rewards = _world(seed, 3, 5)
    logits.requires_grad_()
    log_ratio = logits.log_softmax(-1) - ref_logits.log_softmax(-1)
    return {"gradient": answer(logits, rewards - 0.9 * log_ratio**2), "_sizes": _sizes(3, 5)}


# ---------------------------------------------------------------------------------------------------------------------
policy_gradient_estimate = Exercise("policy_gradient_estimate", TOPIC, "Exercise 3: the gradient from samples")


def _small_world(seed: int, prompts: int, answers: int, level: float, spread: float = 1.1) -> tuple[torch.Tensor, ...]:
    """Logits and rewards (prompts, answers), the same for every seed but for the order of all answers except the last.

    How far a wrong estimate is off, in standard errors, must not hang on the seed: here it is either below 5 or above 7.
    level: of the rewards; spread: of the logits.
    """
    i = torch.arange(answers) + 3.0 * torch.arange(prompts)[:, None]
    order = torch.cat([torch.randperm(answers - 1, generator=seeded(seed)), torch.tensor([answers - 1])])
    logits, rewards = spread * torch.sin(1.0 + 2.3 * i), level + 2.4 * torch.sin(0.5 + 1.7 * i)
    return logits.round(decimals=2)[:, order], rewards.round(decimals=2)[:, order]  # every processor's sine will do


def _estimate(answer, logits: torch.Tensor, rewards: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    estimate = as_tensor(answer(logits, rewards, k, generator), "The estimate").detach().float()
    if estimate.shape != logits.shape:
        raise Unexpected(
            f"The estimate should have the shape of the logits, {tuple(logits.shape)}; yours has {tuple(estimate.shape)}."
        )
    return estimate


def _inputs(logits: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    return (1e4 * torch.cat([logits, rewards])).round().int()


def _estimates(answer, seed: int, logits: torch.Tensor, rewards: torch.Tensor, k: int, draws: int = 144) -> dict:
    """Many estimates for one world, each with a generator of its own; and the inputs they were made for."""
    estimates = [_estimate(answer, logits, rewards, k, seeded(draws * seed + i)) for i in range(draws)]
    return {"estimates": torch.stack(estimates), "inputs": _inputs(logits, rewards)}  # (draws, prompts, answers)


@policy_gradient_estimate.case(rule="gradient_estimates")
def one_sample_a_prompt(answer, seed):
    """One sample a prompt, many estimates: their mean is the exact gradient, and they spread as the formula says."""
    return _estimates(answer, seed, *_small_world(seed, 3, 7, level=2.5, spread=2.0), 1, draws=288)


@policy_gradient_estimate.case(rule="gradient_estimates")
def more_samples_than_answers(answer, seed):
    """Sixty-one samples of five answers: they are independent, so the same answer comes several times."""
    return _estimates(answer, seed, *_small_world(seed, 3, 5, level=0.7), 61)


@policy_gradient_estimate.case(rule="gradient_estimates")
def rewards_far_from_zero(answer, seed):
    """All rewards near 200: the mean does not change, the spread grows. Nothing is subtracted from the rewards yet."""
    return _estimates(answer, seed, *_small_world(seed, 3, 5, level=200.7), 4)


@policy_gradient_estimate.case(rule="independent_estimates")
def prompts_that_are_alike(answer, seed):
    """Fifteen prompts with the same logits and rewards: the answers to each are drawn independently of the others'."""
    logits, rewards = _small_world(seed, 1, 5, level=80.7)
    return _estimates(answer, seed, logits.repeat(15, 1), rewards.repeat(15, 1), 1)


@policy_gradient_estimate.case(rule="repeatable_estimates")
def same_generator_same_samples(answer, seed):
    """All draws come from the generator: the same seed gives the same estimate, another seed another, and so does a
    generator that has been drawn from."""
    logits, rewards = _small_world(seed, 7, 5, level=0.7)

    def estimate(generator: torch.Generator) -> torch.Tensor:
        return _estimate(answer, logits, rewards, 9, generator)

    generator = seeded(seed)
    return {
        "first": estimate(generator),
        "next": estimate(generator),
        "again": estimate(seeded(seed)),
        "with_other_seeds": torch.stack([estimate(seeded(seed + i)) for i in (1, 2, 3)]),
        "inputs": _inputs(logits, rewards),
    }


# ---------------------------------------------------------------------------------------------------------------------
reinforce_loss = Exercise(
    "reinforce_loss", TOPIC, "Exercise 4: a loss with that gradient", gradients={"logps": 0, "advantages": 1}
)


def _answers(seed: int, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token log-probabilities (batch, length), advantages (batch,), and a mask of answers of different lengths."""
    g = seeded(seed)
    logps = -0.1 - 2 * torch.rand(batch, length, generator=g)
    advantages = 2 * torch.randn(batch, generator=g) + 0.4
    ends = torch.tensor([2 + (3 * row + seed) % (length - 2) for row in range(batch)])
    return logps, advantages, (torch.arange(length) < ends[:, None]).long()


def _loss_sizes(mask: torch.Tensor) -> dict[str, int]:
    return {
        "the batch size": mask.shape[0],
        "the length of a row": mask.shape[1],
        "the number of answer tokens": int(mask.sum()),
    }


@reinforce_loss.case
def answers_of_different_lengths(answer, seed):
    """Each answer's log-probability is the sum over its tokens; the loss is the mean over the answers of the batch."""
    logps, advantages, mask = _answers(seed, 5, 11)
    return {"loss": answer(logps, advantages, mask), "_sizes": _loss_sizes(mask)}


@reinforce_loss.case
def answers_of_one_token(answer, seed):
    """Every answer is one token, as in the world of this chapter's first part."""
    logps, advantages, mask = _answers(seed, 7, 5)
    return {"loss": answer(logps[:, :1], advantages, mask[:, :1]), "_sizes": {"the batch size": 7}}


@reinforce_loss.case
def padding_of_any_kind(answer, seed):
    """Log-probabilities of padding tokens are large numbers here, and the mask is boolean: they do not count."""
    logps, advantages, mask = _answers(seed, 3, 7)
    return {"loss": answer(torch.where(mask == 1, logps, -300.0), advantages, mask.bool()), "_sizes": _loss_sizes(mask)}


@reinforce_loss.case
def gradient_at_the_log_probabilities(answer, seed):
    """The gradient at each answer token is minus the advantage over the batch size; at padding it is 0."""
    logps, advantages, mask = _answers(seed, 5, 9)
    return {"gradient": gradient_at(lambda x, m: answer(x, advantages, m), logps, mask), "_sizes": _loss_sizes(mask)}


@reinforce_loss.case
def advantages_made_from_the_policy(answer, seed):
    """Advantages computed from the log-probabilities themselves: no gradient flows through them."""
    logps, rewards, mask = _answers(seed, 3, 5)
    return {
        "gradient": gradient_at(lambda x, m: answer(x, rewards - 0.8 * (x * m).sum(-1), m), logps, mask),
        "_sizes": _loss_sizes(mask),
    }


# ---------------------------------------------------------------------------------------------------------------------
leave_one_out_advantages = Exercise("leave_one_out_advantages", TOPIC, "Exercise 5: a baseline")


def _rewards(seed: int, prompts: int, k: int) -> torch.Tensor:
    return 2 * torch.randn(prompts, k, generator=seeded(seed)) + 1.3


@leave_one_out_advantages.case
def several_answers_each(answer, seed):
    """Three prompts with five answers each: every reward minus the mean of the four others."""
    return {"advantages": answer(_rewards(seed, 3, 5)), "_sizes": {"the number of prompts": 3, "k": 5}}


@leave_one_out_advantages.case
def two_answers_each(answer, seed):
    """Two answers a prompt: each is compared with the other one."""
    return {"advantages": answer(_rewards(seed, 7, 2)), "_sizes": {"the number of prompts": 7, "k": 2}}


@leave_one_out_advantages.case
def prompts_of_different_levels(answer, seed):
    """Easy and hard prompts, whose rewards lie far apart: only answers to the same prompt are compared."""
    rewards = _rewards(seed, 3, 4) + torch.tensor([[0.0], [40.0], [-25.0]])
    return {"advantages": answer(rewards), "_sizes": {"the number of prompts": 3, "k": 4}}


@leave_one_out_advantages.case
def equal_rewards(answer, seed):
    """A prompt whose answers all got the same reward: advantages 0, nothing else."""
    rewards = _rewards(seed, 5, 3)
    rewards[2] = 1.25
    return {"advantages": answer(rewards), "_sizes": {"the number of prompts": 5, "k": 3}}


@leave_one_out_advantages.case
def a_prompt_alone(answer, seed):
    """One prompt with seven answers."""
    return {"advantages": answer(_rewards(seed, 1, 7)), "_sizes": {"k": 7}}
