"""Probe of chapter 03's open task: the quietest unbiased estimate of the policy gradient from four rewards a prompt.

Each prompt has rewards of its own, so that nothing can be learned from one for another. The estimate must not know more than
was asked for: it is made twice with the same random numbers, the second time with other rewards wherever it did not ask.
"""

import random

import numpy
import torch

from autograder.chapters.probing import as_tensor, asked_once, coarse, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "03_reinforce"
PROMPTS, ANSWERS, K = 1600, 10, 4

quiet_gradient = Exercise("quiet_gradient", TOPIC, "Open task: the quietest gradient", open=True)


def unseen_world(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and rewards, (PROMPTS, ANSWERS)."""
    g = seeded(seed)
    logits = 1.3 * torch.randn(PROMPTS, ANSWERS, generator=g)
    return logits, 4.0 + 2.0 * torch.randn(PROMPTS, ANSWERS, generator=g)


class _Till:
    """Gives rewards for answers that are asked for, and counts them."""

    def __init__(self, rewards: torch.Tensor):
        self._rewards, self.asked, self._given = rewards, torch.zeros_like(rewards, dtype=torch.bool), 0

    def __call__(self, drawn) -> torch.Tensor:
        drawn = as_tensor(drawn, "What reward_of is asked for")
        if drawn.ndim != 2 or len(drawn) != PROMPTS or drawn.is_floating_point() or drawn.dtype == torch.bool:
            raise Unexpected(
                f"reward_of takes numbers of answers, whole numbers of shape (prompts, m), here ({PROMPTS}, m); it was given "
                f"{drawn.dtype} of shape {tuple(drawn.shape)}."
            )
        if drawn.numel() and not 0 <= int(drawn.min()) <= int(drawn.max()) < ANSWERS:
            raise Unexpected(f"reward_of takes numbers of answers from 0 to {ANSWERS - 1}.")
        self._given += drawn.shape[1]
        if self._given > K:
            raise Unexpected(f"You asked for {self._given} rewards of each prompt; k = {K} are allowed in all.")
        self.asked.scatter_(1, drawn.long(), True)
        return self._rewards.gather(1, drawn.long())


def _estimate(answer, seed: int, logits: torch.Tensor, rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The estimate, and for which answers rewards were asked."""
    torch.default_generator.manual_seed(seed)  # so that whoever draws elsewhere draws the same twice
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    till = _Till(rewards)
    estimate = as_tensor(answer(logits, till, K, seeded(seed + 1)), "The estimate").detach().float()
    if estimate.shape != logits.shape:
        raise Unexpected(f"The estimate should have the shape {tuple(logits.shape)}; it has {tuple(estimate.shape)}.")
    return estimate, till.asked


@asked_once
def _estimates(answer, seed: int) -> dict:
    """One estimate for each of many prompts, and one more that must be the same."""
    logits, rewards = unseen_world(seed)
    estimates, asked = _estimate(answer, seed, logits.clone(), rewards)
    others = torch.where(asked, rewards, 9.0 - rewards)
    again, _ = _estimate(answer, seed, logits.clone(), others)
    same = torch.isclose(estimates, again, rtol=1e-4, atol=1e-4).all()
    return {"estimates": coarse(estimates), "knows_only_what_it_asked_for": bool(same), "seed": seed}


@quiet_gradient.case(rule="quiet_below_2")
def quieter_than_plain_samples(answer, seed):
    """No bias, and a mean squared error of at most 2 times that of leave-one-out. (Plain samples have about 4.7.)"""
    return _estimates(answer, seed, first=True)


@quiet_gradient.case(rule="quiet_below_125")
def as_quiet_as_leave_one_out(answer, seed):
    """No bias, and an error of at most 1.25 times that of leave-one-out."""
    return _estimates(answer, seed)


@quiet_gradient.case(rule="quiet_below_75")
def quieter_than_leave_one_out(answer, seed):
    """No bias, and an error of at most 0.75 times that of leave-one-out."""
    return _estimates(answer, seed)


@quiet_gradient.case(rule="quiet_below_50")
def half_of_leave_one_out(answer, seed):
    """No bias, and an error of at most 0.5 times that of leave-one-out."""
    return _estimates(answer, seed)
