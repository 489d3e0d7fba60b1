"""Probes of chapter 00: one trivial exercise, so that the reader has met a check before anything is hard."""

import torch

from autograder.exercise import Exercise

mean_loss = Exercise("mean_loss", topic="00_start_here", section="Your first exercise")


def _losses(seed: int, *shape: int) -> torch.Tensor:
    losses = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    losses[(0,) * len(shape)] = 0.25  # the smallest comes first, so that no other statistic happens to be the first
    return losses


@mean_loss.case
def three_losses(answer, seed):
    """The mean of a handful of losses."""
    n = 3 + seed % 5
    return {"mean": answer(_losses(seed, n)), "_sizes": {"the number of losses": n}}


@mean_loss.case
def one_loss(answer, seed):
    """A single loss is its own mean."""
    return {"mean": answer(torch.tensor([1.5 + seed % 7]))}


@mean_loss.case
def a_table_of_losses(answer, seed):
    """A table of losses has one mean too, over all its elements; so has a block with three axes."""
    sizes = {"the number of rows": 3, "the number of losses": 15}
    return {
        "mean": answer(_losses(seed, 3, 5)),
        "mean_of_a_block": answer(_losses(seed, 2, 3, 5)),
        "_sizes": sizes,
    }
