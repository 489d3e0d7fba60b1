"""Probes of chapter 05's open task: a policy made from scores that are noisy, and noisier for rare answers."""

import torch

from autograder.chapters.probing import as_tensor, asked_once, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "05_ppo"

careful_policy = Exercise("careful_policy", TOPIC, "Exercise 9: a reward one cannot trust", open=True)

QUESTIONS, ANSWERS, MODELS = 256, 32, 4
MAX_KL = 1.0


def world(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ref_logps and true utilities (questions, answers), and scores (models, questions, answers)."""
    g = seeded(seed)
    ref_logps = (1.6 * torch.randn(QUESTIONS, ANSWERS, generator=g)).log_softmax(-1)
    utilities = torch.randn(QUESTIONS, ANSWERS, generator=g) + torch.randn(QUESTIONS, 1, generator=g)
    spread = 2 * (ref_logps / 3.5).square()  # of the noise: 2 for an answer of 3 %
    return ref_logps, utilities, utilities + spread * torch.randn(MODELS, QUESTIONS, ANSWERS, generator=g)


@asked_once
def _tried(answer, seed: int) -> dict:
    ref_logps, _, scores = world(seed)
    logits = as_tensor(answer(ref_logps, scores, MAX_KL), "The logits")
    if logits.shape != ref_logps.shape:
        raise Unexpected(f"Logits of shape {tuple(ref_logps.shape)} should come back; yours have {tuple(logits.shape)}.")
    return {"logits": logits.detach(), "seed": seed}


@careful_policy.case(rule="gains_two_fifths")
def two_fifths(answer, seed):
    """KL within max_kl, and at least 0.40 of what could be gained in true utility."""
    return _tried(answer, seed, first=True)


@careful_policy.case(rule="gains_a_half")
def a_half(answer, seed):
    """The same with a bar of 0.54."""
    return _tried(answer, seed)


@careful_policy.case(rule="gains_two_thirds")
def two_thirds(answer, seed):
    """The same with a bar of 0.64."""
    return _tried(answer, seed)


@careful_policy.case(rule="gains_three_quarters")
def three_quarters(answer, seed):
    """The same with a bar of 0.75."""
    return _tried(answer, seed)
