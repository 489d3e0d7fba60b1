"""Acceptance rules of chapter 07's open task: what of the updates is left, on inputs that the answer has not seen."""

import numpy as np
import torch

from autograder.chapters.c07_finetuning.budget import BUDGET, SHAPES, WORLDS, worlds
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches

Pairs = list[tuple[torch.Tensor, torch.Tensor]]  # the factors B and A of each update


def _kept(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    found = [[_pair(data, number, i) for i in range(len(SHAPES))] for number in range(WORLDS)]
    return checksum(np.asarray([seed])) | reaches("share that is kept", share_kept(found, seed), bar)


def _pair(data: dict, number: int, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    B, A = (torch.as_tensor(np.asarray(data[f"{name}_{number}_{i}"], dtype=np.float64)) for name in ("B", "A"))
    return B.reshape(SHAPES[i][0], -1), A.reshape(-1, SHAPES[i][1])


def share_kept(found: list[Pairs], seed: int) -> float:
    """1 minus the squared error of the outputs, as a share of the squared outputs of the updates; NaN beyond the budget.

    Errors are added up over the worlds first.
    """
    error = whole = 0.0
    for pairs, one in zip(found, worlds(seed), strict=True):
        if sum(B.numel() + A.numel() for B, A in pairs) > BUDGET:
            return float("nan")
        for (B, A), update, x in zip(pairs, one.updates, one.fresh, strict=True):
            update, x = update.double(), x.double()
            error += (x @ (update - B.double() @ A.double()).T).square().sum().item()
            whole += (x @ update.T).square().sum().item()
    return 1 - error / whole


SHARES = {
    "keeps_a_first_share": 0.54,  # the nearest matrices of equal ranks
    "keeps_a_second_share": 0.63,  # ranks where they are worth most, or an eye on the inputs
    "keeps_a_third_share": 0.76,  # both
}
bars(_kept, SHARES)
