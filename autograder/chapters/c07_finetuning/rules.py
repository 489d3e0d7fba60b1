"""Acceptance rules of chapter 07's open task: what of the updates is left, on inputs that the answer has not seen."""

from functools import lru_cache

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
    for pairs, layers in zip(found, _layers_of(seed), strict=True):
        if sum(B.numel() + A.numel() for B, A in pairs) > BUDGET:
            return float("nan")
        for (B, A), (update, products) in zip(pairs, layers, strict=True):
            error += _squared_outputs(update - B.double() @ A.double(), products)
            whole += _squared_outputs(update, products)
    return 1 - error / whole


@lru_cache(maxsize=32)  # the same for a whole class
def _layers_of(seed: int) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """World by world, of each layer the update and xᵀx of the fresh inputs x, which is all of them that an error depends on."""
    return [
        [(update.double(), x.double().T @ x.double()) for update, x in zip(one.updates, one.fresh, strict=True)]
        for one in worlds(seed)
    ]


def _squared_outputs(weight: torch.Tensor, products: torch.Tensor) -> float:
    """The sum of (x weightᵀ)² over all inputs."""
    return ((weight @ products) * weight).sum().item()


SHARES = {
    "keeps_a_first_share": 0.54,  # the nearest matrices of equal ranks
    "keeps_a_second_share": 0.63,  # ranks where they are worth most, or an eye on the inputs
    "keeps_a_third_share": 0.76,  # both
}
bars(_kept, SHARES)
