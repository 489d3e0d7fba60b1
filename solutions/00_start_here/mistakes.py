"""Wrong answers to chapter 00. Each docstring is the hint the student reads."""

import torch

from autograder.judging.catalogue import mistake


@mistake("mean_loss")
def sum_for_mean(losses):
    """You returned the sum. The mean divides it by the number of losses, so that it does not grow with the batch."""
    return losses.sum()


@mistake("mean_loss")
def divided_by_rows(losses):
    """You divided by the length of the first axis, `len(losses)`. A table has more elements than rows: use `losses.numel()`."""
    return losses.sum() / len(losses)


@mistake("mean_loss")
def mean_of_each_column(losses):
    """You averaged along the first axis only, so a table gives a row of means. Average over all elements."""
    return losses.mean(dim=0)


@mistake("mean_loss")
def median_for_mean(losses):
    """You returned the median. It ignores how large the large losses are; the mean counts them."""
    return losses.median()


@mistake("mean_loss")
def off_by_one(losses):
    """You divided by one less than the number of losses. That belongs to the variance, not to the mean."""
    return losses.sum() / (losses.numel() - 1)


@mistake("mean_loss")
def first_loss_only(losses):
    """You returned one of the losses, not their mean."""
    return torch.as_tensor(losses).reshape(-1)[0]
