"""Acceptance rules of chapter 07's open task: what of the updates is left, on inputs that the answer has not seen."""

import numpy as np
import torch

from autograder.chapters.c07_finetuning.budget import BUDGET, SHAPES, world
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _kept(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    pairs = []
    for i, (d_out, d_in) in enumerate(SHAPES):
        B, A = (torch.as_tensor(np.asarray(data[f"{name}{i}"], dtype=np.float64)) for name in ("B", "A"))
        pairs.append((B.reshape(d_out, -1), A.reshape(-1, d_in)))
    return checksum(np.asarray([seed])) | reaches("share that is kept", share_kept(pairs, seed), bar)


def share_kept(pairs: list[tuple[torch.Tensor, torch.Tensor]], seed: int) -> float:
    """1 minus the squared error of the outputs, as a share of the squared outputs of the updates; NaN beyond the budget."""
    if sum(B.numel() + A.numel() for B, A in pairs) > BUDGET:
        return float("nan")
    one, error, whole = world(seed), 0.0, 0.0
    for (B, A), update, x in zip(pairs, one.updates, one.fresh, strict=True):
        update, x = update.double(), x.double()
        error += (x @ (update - B.double() @ A.double()).T).square().sum().item()
        whole += (x @ update.T).square().sum().item()
    return 1 - error / whole


SHARES = {
    "keeps_a_first_share": 0.56,  # the nearest matrices of equal ranks
    "keeps_a_second_share": 0.65,  # ranks where they are worth most, or an eye on the inputs
    "keeps_a_third_share": 0.77,  # both
}
bars(_kept, SHARES)
