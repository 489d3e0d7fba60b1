"""Acceptance rules of chapter 09's open task: how often the chosen answers are right."""

from functools import lru_cache

import numpy as np
import torch

from autograder.chapters.c09_cot.choosing import NEW, world
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _is_right(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    chosen = torch.as_tensor(np.asarray(data["chosen"], dtype=np.float64)).reshape(NEW)
    return checksum(np.asarray([seed])) | reaches("share of right answers", measured(chosen, seed), bar)


def measured(chosen: torch.Tensor, seed: int) -> float:
    """The share of the new questions whose chosen answer is the true one."""
    return (chosen.double() == _truths_of(seed)).double().mean().item()


@lru_cache(maxsize=256)  # the same for a whole class
def _truths_of(seed: int) -> torch.Tensor:
    return world(seed)[1].truths


BARS = {
    "chosen_as_a_vote": 0.55,  # the majority
    "chosen_better_than_a_vote": 0.65,  # votes with weights
    "chosen_with_care": 0.73,  # the best output by a learned score
    "chosen_by_all_that_is_known": 0.81,  # scores of all outputs that agree, and their number
}
bars(_is_right, BARS)
