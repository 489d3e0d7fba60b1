"""Acceptance rules of chapter 04: how far an answer's scores of held-out answers are from the best there could be."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.chapters.c04_reward_model.few import HELDOUT, WORLDS, worlds
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, checksum, facts, reaches


def nats_above_the_truth(scores: np.ndarray, seed: int) -> float:
    """By how much these scores, (WORLDS, HELDOUT), predict the choices of careful annotators worse than the true utilities.

    The mean over all pairs of held-out answers and all worlds of KL(true preference || predicted preference), in nats.
    """
    excess = []
    for row, world in zip(torch.as_tensor(scores).double(), worlds(seed), strict=True):
        i, j = torch.triu_indices(HELDOUT, HELDOUT, 1)
        true, said = (x[i] - x[j] for x in (world.utilities, row))  # (pairs,)
        p = torch.sigmoid(true)
        loss, best = (-(p * F.logsigmoid(d) + (1 - p) * F.logsigmoid(-d)) for d in (said, true))
        excess.append((loss - best).mean())
    return float(torch.stack(excess).mean())


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
