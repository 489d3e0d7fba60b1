"""Acceptance rules of chapter 10's open task: how often a policy is right on prompts that its answer never saw."""

import numpy as np
import torch

from autograder.chapters.c10_grpo.learning import TRAIN, D, world
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _is_right(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    weights = torch.as_tensor(np.asarray(data["weights"], dtype=np.float64)).reshape(D)
    return checksum(np.asarray([seed])) | reaches("chance to be right", measured(weights, seed), bar)


def measured(weights: torch.Tensor, seed: int) -> float:
    """The chance of the right answer, averaged over the held-out prompts."""
    features, right, _ = world(seed)
    probs = (features[TRAIN:].double() @ weights.double()).softmax(-1)
    return probs.gather(1, right[TRAIN:, None]).mean().item()


BARS = {
    "right_more_often": 0.25,  # a plain policy gradient
    "right_half_the_time": 0.45,  # the right answers kept and learned from again
    "right_mostly": 0.65,  # the wrong ones too
    "right_nearly_always": 0.82,  # all that was checked, with a likelihood
}
bars(_is_right, BARS)
