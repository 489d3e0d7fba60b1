"""Batches of rows of similar length, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def choose_batches(lengths: "torch.Tensor", size: int, steps: int, seed: int) -> "Iterator[tuple[torch.Tensor, int]]":
    """Yield `steps` times (which rows, the longest of their lengths): rows of similar length together, in random order."""
    import torch

    generator, batches = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        if not batches:  # a new epoch
            pools = torch.randperm(len(lengths), generator=generator).split(32 * size)
            batches = [b for pool in pools for b in pool[lengths[pool].argsort()].split(size)]
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
        chosen = batches.pop()
        yield chosen, int(lengths[chosen].max())


def batches_of(
    tensors: "Sequence[torch.Tensor]", lengths: "torch.Tensor", size: int, steps: int, seed: int, device=None
) -> "Iterator[list[torch.Tensor]]":
    """Yield `steps` batches of `size` rows of each tensor, moved to `device`. lengths: (rows,), without padding.

    What has an axis for positions, (rows, seq), is cut to the longest row of the batch.
    """
    for chosen, longest in choose_batches(lengths, size, steps, seed):
        yield [(tensor[chosen, :longest] if tensor.dim() > 1 else tensor[chosen]).to(device) for tensor in tensors]
