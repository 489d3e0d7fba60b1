"""Acceptance rules of chapter 04: how far an answer's scores of held-out answers are from the best there could be."""

from functools import lru_cache

import numpy as np
import torch

from autograder.chapters.c04_reward_model.few import HELDOUT, WORLDS, worlds
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, checksum, facts, reaches


def nats_above_the_truth(scores: np.ndarray, seed: int) -> float:
    """By how much these scores, (WORLDS, HELDOUT), predict the choices of careful annotators worse than the true utilities.

    The mean over all pairs of held-out answers and all worlds of KL(true preference || predicted preference), in nats.
    """
    p, best = _true_preferences(seed)
    return _mean_loss(_differences(torch.as_tensor(scores).double()), p) - best


@lru_cache(maxsize=32)  # the same for a whole class
def _true_preferences(seed: int) -> tuple[torch.Tensor, float]:
    """Of all pairs of held-out answers the probability that the first is preferred, (WORLDS, pairs); the least mean loss."""
    true = _differences(torch.stack([world.utilities for world in worlds(seed)]))
    p = torch.sigmoid(true)
    return p, _mean_loss(true, p)


def _differences(values: torch.Tensor) -> torch.Tensor:
    i, j = torch.triu_indices(HELDOUT, HELDOUT, 1)
    return values[:, i] - values[:, j]  # (WORLDS, pairs)


def _mean_loss(differences: torch.Tensor, p: torch.Tensor) -> float:
    # -log sigmoid(-d) is -log sigmoid(d) + d
    return (torch.nn.functional.softplus(-differences) + (1 - p) * differences).mean().item()


def _bar(data: dict, bar: float) -> Summary:
    scores, seed = np.asarray(data["scores"], dtype=float), np.asarray(data["seed"])
    if scores.shape != (WORLDS, HELDOUT) or seed.size != 1 or not 0 <= int(seed) < 2**32:
        return facts(**{f"one_score_for_each_of_{HELDOUT}_heldout_answers": False})
    measured = nats_above_the_truth(scores, int(seed)) if np.isfinite(scores).all() else np.nan
    return checksum(seed) | reaches("nats above the truth", measured, bar, lower_is_better=True)


FEW = {
    "few_bar_1": 0.25,  # something was learned from the choices
    "few_bar_2": 0.185,  # the annotators are not all taken for careful
    "few_bar_3": 0.172,  # prices and annotators were found together
}
bars(_bar, FEW)
