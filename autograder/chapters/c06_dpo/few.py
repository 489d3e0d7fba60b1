"""The worlds of chapter 06's open task, and its probes: a policy from few pairs, each labelled once.

The probe and the judge both build the worlds from their seed. An answer is given the reference and the pairs, never the utility.
"""

from typing import NamedTuple

import torch

from autograder.chapters.probing import as_tensor, asked_once, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "06_dpo"

policy_from_pairs = Exercise("policy_from_pairs", TOPIC, "Exercise 9: few pairs", open=True)

PROMPTS, MANNERS, PAIRS = 96, 12, 10  # PAIRS: of each prompt
BETA = 0.5
WORLDS = 6  # one bar is measured on so many


class World(NamedTuple):
    """ref_logps, utilities: (PROMPTS, MANNERS); pairs: (PROMPTS * PAIRS, 3): the prompt, the chosen answer, the rejected one."""

    ref_logps: torch.Tensor
    utilities: torch.Tensor
    pairs: torch.Tensor


def world(seed: int) -> World:
    """A world of this seed."""
    g = seeded(seed)
    ref_logps = torch.randn(PROMPTS, MANNERS, generator=g).log_softmax(-1)
    utilities = torch.randn(MANNERS, generator=g) + torch.randn(PROMPTS, MANNERS, generator=g)
    utilities = utilities + torch.randn(PROMPTS, 1, generator=g)
    rows = torch.arange(PROMPTS).repeat_interleave(PAIRS)
    both = torch.multinomial(ref_logps.exp()[rows], 2, generator=g)  # two different answers
    first, second = (utilities[rows, both[:, i]] for i in range(2))
    turned = torch.rand(len(rows), generator=g) > torch.sigmoid(first - second)
    both = torch.where(turned[:, None], both.flip(1), both)
    pairs = torch.cat([rows[:, None], both], dim=1)
    return World(ref_logps, utilities, pairs[torch.randperm(len(pairs), generator=g)])


def worlds(seed: int) -> list[World]:
    """The worlds on which a bar is measured."""
    return [world(1000 * seed + i) for i in range(WORLDS)]


@asked_once
def _tried(answer, seed: int) -> dict:
    found = []
    for one in worlds(seed):
        logits = as_tensor(answer(one.ref_logps, one.pairs, BETA), "The logits")
        if logits.shape != one.ref_logps.shape:
            raise Unexpected(f"Logits of shape {tuple(one.ref_logps.shape)} should come back; yours have {tuple(logits.shape)}.")
        found.append(logits.detach())
    return {"logits": torch.stack(found), "seed": seed}


@policy_from_pairs.case(rule="gains_a_quarter_from_pairs")
def a_quarter_of_the_gain(answer, seed):
    """At least 0.25 of what could be gained."""
    return _tried(answer, seed, first=True)


@policy_from_pairs.case(rule="gains_more_than_a_third")
def more_than_a_third(answer, seed):
    """The same with a bar of 0.36."""
    return _tried(answer, seed)


@policy_from_pairs.case(rule="gains_nearly_a_half")
def nearly_a_half(answer, seed):
    """The same with a bar of 0.46."""
    return _tried(answer, seed)


@policy_from_pairs.case(rule="gains_more_than_a_half")
def more_than_a_half(answer, seed):
    """The same with a bar of 0.5."""
    return _tried(answer, seed)
