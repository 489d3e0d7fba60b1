"""Wrong answers to chapter 00: a table of changes in a right answer. Each hint says what was done, why it is wrong, and where
to look."""

from autograder.judging.catalogue import changes


def mean_loss(losses):
    return losses.sum() / losses.numel()


changes("mean_loss", mean_loss, [
    ("sum_for_mean", "You returned the sum. The mean divides it by the number of losses, so that it does not grow "
     "with the batch.",
     " / losses.numel()", ""),
    ("divided_by_rows", "You divided by the length of the first axis, `len(losses)`. A table has more elements than "
     "rows: use `losses.numel()`.",
     "losses.numel()", "len(losses)"),
    ("mean_of_each_column", "You averaged along the first axis only, so a table gives a row of means. Average over "
     "all elements.",
     "losses.sum() / losses.numel()", "losses.mean(dim=0)"),
    ("median_for_mean", "You returned the median. It ignores how large the large losses are; the mean counts them.",
     "losses.sum() / losses.numel()", "losses.median()"),
    ("off_by_one", "You divided by one less than the number of losses. That belongs to the variance, not to the "
     "mean.",
     "losses.numel()", "(losses.numel() - 1)"),
    ("first_loss_only", "You returned one of the losses, not their mean.",
     "losses.sum() / losses.numel()", "losses.flatten()[0]"),
    ("mean_of_each_row", "You averaged along the last axis only, so a table gives a column of means. Average over "
     "all elements.",
     "losses.sum() / losses.numel()", "losses.mean(dim=-1)"),
    ("mean_along_two_axes", "You averaged along two axes, so a block with three axes leaves a row of means. Without "
     "an axis, `mean` takes all elements, whatever the shape.",
     "losses.sum() / losses.numel()", "losses.mean(0).mean(0) if losses.dim() > 1 else losses.mean(0)"),
    ("largest_loss", "You returned the largest loss, not the mean.",
     "losses.sum() / losses.numel()", "losses.max()"),
])
