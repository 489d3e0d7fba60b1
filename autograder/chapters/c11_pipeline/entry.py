"""Probes of chapter 11's open task: an entry, handed in as a checkpoint, with a budget of comparisons and of KL."""

from typing import NamedTuple

import numpy as np
import torch

from autograder.chapters.probing import asked_once, seeded
from autograder.exercise import Exercise, Unexpected
from autograder.tensors import Refused, read_tensors

TOPIC = "11_pipeline"

# The first optimizer in a process imports torch's compiler, which takes seconds.
best_entry = Exercise(
    "best_entry", TOPIC, "Exercise 8: the entry", open=True, needs=("torch._dynamo", "safetensors.torch", "numpy")
)

PROMPTS, FEATURES, ANSWERS, RANK = 500, 8, 12, 3
COMPARISONS, MAX_KL, WORLDS = 240, 1.0, 4
SHAPES = {"lora_A": (RANK, FEATURES), "lora_B": (ANSWERS, RANK)}


class World(NamedTuple):
    """The reference's weights and those of the true utility, each (answers, features): logits and utilities of a prompt
    are these times its features."""

    reference: torch.Tensor
    utility: torch.Tensor


def world(seed: int) -> World:
    """A reference that prefers some answers to others, and a utility of rank 3 that prefers others."""
    g = seeded(seed)
    reference = 0.7 * torch.randn(ANSWERS, FEATURES, generator=g)
    directions = torch.randn(RANK - 1, FEATURES, generator=g) / FEATURES**0.5
    utility = 1.2 * torch.randn(ANSWERS, RANK - 1, generator=g) @ directions  # what suits which prompt
    utility[:, 0] += 0.8 * torch.randn(ANSWERS, generator=g)  # what is good everywhere
    return World(reference, utility)


def prompts(seed: int, count: int) -> torch.Tensor:
    """(count, features): the first of them is 1 for every prompt."""
    features = torch.randn(count, FEATURES, generator=seeded(seed))
    features[:, 0] = 1.0
    return features


class Annotator:
    """Says which of two answers it prefers, by Bradley and Terry, and counts how often it was asked."""

    def __init__(self, features: torch.Tensor, utility: torch.Tensor, seed: int):
        self._utilities, self._draws, self.left = features @ utility.T, seeded(seed), COMPARISONS

    def __call__(self, asked, first, second) -> torch.Tensor:
        asked, first, second = (torch.as_tensor(x) for x in (asked, first, second))
        if asked.dim() != 1 or not asked.shape == first.shape == second.shape:
            raise Unexpected("compare takes three tensors of numbers of the same length: prompts, first answers, second ones.")
        if (first == second).any():
            raise Unexpected("compare was asked about two equal answers. It takes two different ones.")
        self.left -= len(asked)
        if self.left < 0:
            raise Unexpected(f"More than {COMPARISONS} comparisons were asked for.")
        margin = self._utilities[asked, first] - self._utilities[asked, second]
        return torch.rand(len(asked), generator=self._draws) < torch.sigmoid(margin)


def _entered(answer, seed: int) -> dict:
    one, features = world(seed), prompts(seed + 1, PROMPTS)
    compare = Annotator(features, one.utility, seed + 2)
    found = answer(features.clone(), one.reference.clone(), compare, COMPARISONS, MAX_KL, seeded(seed + 3))
    try:  # here only to say it at once: the judge reads the bytes again
        read_tensors(found, SHAPES)
    except Refused as error:
        raise Unexpected(str(error)) from None
    return {"checkpoint": np.frombuffer(bytes(found), dtype=np.uint8), "seed": seed}


@asked_once
def _all_entered(answer, seed: int) -> dict:
    found = [_entered(answer, seed + 10 * i) for i in range(WORLDS)]
    return {"checkpoints": [one["checkpoint"] for one in found], "seed": seed}


@best_entry.case(rule="entry_gains_two_fifths")
def two_fifths_of_the_gain(answer, seed):
    """The checkpoint can be read, its KL on new prompts is within the budget, and it gains at least 0.40 of what is possible."""
    return _all_entered(answer, seed, first=True)


@best_entry.case(rule="entry_gains_half")
def half_of_the_gain(answer, seed):
    """The same with a bar of 0.55."""
    return _all_entered(answer, seed)


@best_entry.case(rule="entry_gains_two_thirds")
def two_thirds_of_the_gain(answer, seed):
    """The same with a bar of 0.65."""
    return _all_entered(answer, seed)


@best_entry.case(rule="entry_gains_nearly_three_quarters")
def nearly_three_quarters_of_the_gain(answer, seed):
    """The same with a bar of 0.72."""
    return _all_entered(answer, seed)
