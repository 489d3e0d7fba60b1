"""Probes of chapter 00: one trivial exercise, so that the reader has met a check before anything is hard."""

import torch

from autograder.exercise import Exercise

mean_loss = Exercise("mean_loss", topic="00_start_here", section="Your first exercise")


@mean_loss.case
def three_losses(answer, seed):
    """The mean of a handful of losses."""
    n = 3 + seed % 5
    losses = torch.rand(n, generator=torch.Generator().manual_seed(seed)) + 0.5
    losses[0] = 0.25  # the smallest comes first, so that no other statistic happens to be the first
    return {"mean": answer(losses), "_sizes": {"the number of losses": n}}


@mean_loss.case
def one_loss(answer, seed):
    """A single loss is its own mean."""
    return {"mean": answer(torch.tensor([1.5 + seed % 7]))}


@mean_loss.case
def a_table_of_losses(answer, seed):
    """A table of losses has one mean too, over all its elements."""
    table = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed)) + 0.5
    table[0, 0] = 0.25
    return {"mean": answer(table), "_sizes": {"the number of rows": 3, "the number of losses": 15}}
