"""Acceptance rules of chapter 08's open task: how far predictions are from exact inference, which only the judge can do."""

import numpy as np
import torch

from autograder.chapters.c08_icl.learning import LABELS, NOISE, TESTED, world
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _is_near(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    probs = torch.as_tensor(np.asarray(data["probabilities"], dtype=np.float64)).reshape(TESTED, LABELS)
    found = reaches("nats away from exact inference", measured(probs, seed), bar, lower_is_better=True)
    return checksum(np.asarray([seed])) | found


def measured(probs: torch.Tensor, seed: int) -> float:
    """The mean of KL(exact prediction || answer) over the tested rows; infinite where the answer gives no probabilities."""
    if not bool((probs >= 0).all()) or bool(((probs.sum(1) - 1).abs() > 1e-3).any()):
        return float("inf")
    exact = exact_predictions(seed)
    return (exact * (exact.log() - (probs / probs.sum(1, keepdim=True)).log())).sum(1).mean().item()


def exact_predictions(seed: int) -> torch.Tensor:
    """What somebody predicts who knows the tables and the noise, (TESTED, LABELS)."""
    tables, _, _, xs, ys = world(seed)
    agrees = tables[:, xs[:, :-1]] == ys  # (TABLES, TESTED, SHOTS)
    right, wrong = 1 - NOISE + NOISE / LABELS, NOISE / LABELS
    beliefs = torch.where(agrees, right, wrong).double().log().sum(-1).softmax(0)  # (TABLES, TESTED)
    said = torch.nn.functional.one_hot(tables[:, xs[:, -1]], LABELS).double()
    return torch.einsum("kr,krl->rl", beliefs, (1 - NOISE) * said + NOISE / LABELS)


BARS = {
    "within_80_of_bayes": 0.80,  # labels counted by input
    "within_40_of_bayes": 0.40,  # rows that agree with this one count more
    "within_15_of_bayes": 0.15,  # the same, well weighed
    "within_06_of_bayes": 0.06,  # the tables are found
}
bars(_is_near, BARS)
