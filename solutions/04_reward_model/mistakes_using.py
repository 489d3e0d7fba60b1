"""Wrong answers to the second half of chapter 04: reading, judging and using a reward model. A hint says what was done, why
it is wrong, where to look."""

import math

import torch
import torch.nn.functional as F  # noqa: F401 (used in a table's texts)

from autograder.judging.catalogue import changes

# --- Exercise 6: one number for an answer


def _at_the_last_token(token_rewards, attention_mask):
    mask = attention_mask.long()
    places = torch.arange(mask.shape[1])
    last = (mask * (places + 1)).amax(1) - 1
    return token_rewards.gather(1, last[:, None])[:, 0]


_LAST = "(mask * (places + 1)).amax(1) - 1"
_READ = "token_rewards.gather(1, last[:, None])[:, 0]"

changes("last_token_rewards", _at_the_last_token, [
    ("last_column", "You read the last column of the padded row. Where a row is padded on the right that is padding: "
     "what stands there was computed from nothing that anybody wrote. The mask says where the last real token is.",
     _READ, "token_rewards[:, -1]"),
    ("first_column", "You read the first position. A causal model has seen nothing of the answer there; only the last "
     "real token has all of it behind it. (BERT reads its first token, but BERT looks both ways.)", _READ,
     "token_rewards[:, 0]"),
    ("first_real_token", "You read each row at its *first* real token, where a causal model has seen nothing yet. "
     "Take the last one.", _LAST, "mask.argmax(1)"),
    ("length_less_one", "The number of real tokens less one is the last one's place only where the row begins at "
     "column 0. Padded on the left it is some place in the middle: look for the last 1 of the mask itself.", _LAST,
     "mask.sum(1) - 1"),
    ("before_the_first_zero", "You look for the first 0 of the mask and go back by one. Padding may stand on the left "
     "as well, and then the first 0 is at the very beginning: look for the last 1.", _LAST,
     "(mask.argmin(1) - 1) % mask.shape[1]"),
    ("one_too_early", "You read one token too early. The last real token, the end mark, belongs to what is judged: "
     "only there is it known that the answer is over.", "last[:, None]", "(last - 1).clamp(min=0)[:, None]"),
    ("one_too_late", "You read one place behind the last real token, on the padding. Places begin with 0.",
     "last[:, None]", "(last + 1).clamp(max=mask.shape[1] - 1)[:, None]"),
    ("the_longest_rows_place", "You read all rows at one place, that of the last real token of the row that ends "
     "last. Each row has its own.", _READ, "token_rewards[:, last.max()]"),
    ("the_first_rows_place", "You read all rows where the first one ends. Each row has its own last token.", _READ,
     "token_rewards[:, last[0]]"),
    ("mean_over_the_tokens", "You average over the real tokens. That is another way of building a reward model; here "
     "the last token speaks for the whole answer, since it alone has seen it whole.", _READ,
     "(token_rewards * mask).sum(1) / mask.sum(1)"),
    ("sum_over_the_tokens", "You sum over the real tokens, so the reward grows with the length. One number is read, "
     "at the last real token.", _READ, "(token_rewards * mask).sum(1)"),
    ("mean_over_everything", "You average over the whole row, padding included. Read the output at the last real "
     "token alone.", _READ, "token_rewards.mean(1)"),
    ("largest_of_the_row", "You take the largest output of the row. The model's opinion of the whole answer stands at "
     "its last token, large or not.", _READ, "token_rewards.masked_fill(mask == 0, -torch.inf).amax(1)"),
    ("every_row_at_every_place", "You have a square table: `token_rewards[:, places]` reads *every* row at *every* "
     "row's place. Give an index for the rows too, `token_rewards[rows, places]`, or use gather.", _READ,
     "token_rewards[:, last]"),
    ("a_column", "Right numbers, but of shape (batch, 1): later, chosen of shape (batch, 1) less rejected of shape "
     "(batch,) would quietly become a table. Take the axis away.", "[:, 0]", ""),
    ("cut_off_from_the_head", "The values are right, but no gradient flows back to the head. Look for .detach(), "
     ".item(), .tolist().", "[:, 0]", "[:, 0].detach()"),
    ("length_for_place", "You read at the place whose number is the length: one behind the last token, and outside of "
     "a row without padding. Places begin with 0, and a row may begin with padding: look for the last 1 of the mask.",
     _LAST, "mask.sum(1)"),
    ("the_first_padding", "You read at the first 0 of the mask, on the padding itself; where a row has none, at its "
     "beginning. Look for the last 1.", _LAST, "mask.argmin(1)"),
    ("the_last_rows_place", "You read all rows where the last one ends. Each row has its own last token.", _READ,
     "token_rewards[:, last[-1]]"),
    ("last_column_masked", "You multiply by the mask and read the last column: 0 for every row that ends earlier. The "
     "mask is to say *where* to read.", _READ, "(token_rewards * mask)[:, -1]"),
    ("places_themselves", "You return the places of the last tokens. Read the head's output there.", _READ, "last"),
    ("head_output_masked_in_place", "The numbers are right, but you set the padding of the caller's tensor to 0: "
     "`masked_fill_` and `*=` write into what you were given. Make a new one.", "return ",
     "token_rewards.data.mul_(mask)\n    return "),
])  # fmt: skip


# --- Exercise 7: how often is it right


def _share_right(rewards_chosen, rewards_rejected):
    chosen, rejected = rewards_chosen, rewards_rejected
    right, tied = (chosen > rejected).float(), (chosen == rejected).float()
    return (right + 0.5 * tied).mean()


_SHARE = "(right + 0.5 * tied).mean()"

changes("pair_accuracy", _share_right, [
    ("ties_are_right", "A tie counts as right here, so a model that says the same of everything is perfect. Count it "
     "half: < and <= are not the same.", "0.5 * tied", "tied"),
    ("ties_are_wrong", "A tie counts as wrong here. It is a coin toss: count it half.", " + 0.5 * tied", ""),
    ("ties_left_out", "You leave ties out of the count. Then a model may raise its accuracy by having no opinion; and "
     "if all tie, this is 0/0. A tie counts half.", _SHARE, "right.sum() / (1 - tied).sum()"),
    ("ties_leave_the_divisor", "A tie adds half to the number of right ones, but you leave it out of the divisor. "
     "Divide by all pairs.", ".mean()", ".sum() / (1 - tied).sum()"),
    ("how_often_wrong", "This is how often the *rejected* answer is ahead. Turn the comparison.", "chosen > rejected",
     "chosen < rejected"),
    ("number_of_right_ones", "You count the right pairs. Accuracy is their share: divide by the number of pairs.",
     ".mean()", ".sum()"),
    ("right_less_wrong", "You average the signs: right less wrong, from −1 to 1. A share runs from 0 to 1.", _SHARE,
     "(2 * right + tied - 1).mean()"),
    ("mean_probability", "You average the probabilities. Accuracy asks only which of the two is ahead, not by how "
     "much.", _SHARE, "torch.sigmoid(chosen - rejected).mean()"),
    ("chosen_above_zero", "You count chosen answers with a positive reward. Zero means nothing to a reward model: "
     "compare the two answers of a pair.", _SHARE, "(chosen > 0).float().mean()"),
    ("chosen_good_and_rejected_bad", "You ask for the chosen reward to be above zero and the rejected one below. Zero "
     "means nothing to a reward model: compare the two.", _SHARE, "((chosen > 0) & (rejected < 0)).float().mean()"),
    ("in_percent", "Your accuracy is in percent. A share between 0 and 1 is asked for.", ".mean()", ".mean() * 100"),
    ("all_against_all_pairs", "You compare every chosen answer with every rejected one. Rewards of different prompts "
     "are not comparable: compare pair by pair.", "= rewards_chosen, rewards_rejected",
     "= rewards_chosen[:, None], rewards_rejected"),
    ("pair_by_pair", "You return what came of each pair. One number is asked for: their mean.", ".mean()", ""),
    ("close_counts_as_a_tie", "Rewards that are nearly equal count as a tie here: torch.isclose, or a rounded "
     "difference. A tie is two equal rewards, ==.", "(chosen > rejected).float(), (chosen == rejected)",
     "((chosen > rejected) & ~chosen.isclose(rejected)).float(), chosen.isclose(rejected)"),
    ("divided_by_both_answers", "You divide by the number of answers, two a pair. Divide by the pairs.", ".mean()",
     ".mean() / 2"),
    ("mean_difference", "You average by how much the chosen answer is ahead. Accuracy asks only whether it is.", _SHARE,
     "(chosen - rejected).mean()"),
    ("one_number_for_all", "You compare one number of each column, as their means or their largest rewards. Each pair "
     "counts: compare pair by pair, then average.", "= rewards_chosen, rewards_rejected",
     "= rewards_chosen.mean(), rewards_rejected.mean()"),
    ("sigmoids_compared", "You compare the sigmoids of the rewards. Far from zero they are all 1, or all 0, in a "
     "float: compare the rewards themselves.", "= rewards_chosen, rewards_rejected",
     "= torch.sigmoid(rewards_chosen), torch.sigmoid(rewards_rejected)"),
    ("whole_rewards_alone", "You compare the rewards without their decimals. A tie is two equal rewards: leave them "
     "as they are.", "= rewards_chosen, rewards_rejected", "= rewards_chosen.long(), rewards_rejected.long()"),
    ("ties_divided_away", "You divide the number of ties by 2 with `//`, and half a pair is lost. A tie counts half: "
     "divide with /.", _SHARE, "(right.sum() + tied.sum() // 2) / len(tied)"),
])  # fmt: skip


# --- Exercise 8: does it know how sure it may be


def _bins(probabilities, outcomes, num_bins):
    p, won = probabilities.double(), outcomes.double()
    which = (p * num_bins).long().clamp(max=num_bins - 1)
    count = which.bincount(minlength=num_bins)
    predicted = which.bincount(p, num_bins) / count
    observed = which.bincount(won, num_bins) / count
    full = count > 0
    gap, held = (observed - predicted)[full], count[full]
    error = (gap.abs() * held).sum() / held.sum()
    return {"predicted": predicted, "observed": observed, "count": count, "error": error}


_ERROR = "(gap.abs() * held).sum() / held.sum()"
_WHICH = "which = (p * num_bins).long().clamp(max=num_bins - 1)"
_PAIRS = "p, won = probabilities.double(), outcomes.double()"

changes("calibration_bins", _bins, [
    ("middles_of_the_bins", 'Your "predicted" is the middle of each bin. What was predicted there is the *mean of the '
     "predictions* in it, which may lie well off the middle.", "which.bincount(p, num_bins) / count",
     "((torch.arange(num_bins) + 0.5) / num_bins).double().where(count > 0, torch.nan)"),
    ("zeros_for_empty_bins", "Your empty bins hold 0. A point at (0, 0) would then be drawn that nobody measured: "
     "nothing is known, so NaN.", "return {",
     "predicted, observed = predicted.nan_to_num(), observed.nan_to_num()\n    return {"),
    ("empty_bins_spoil_the_error", "An empty bin makes your error NaN: NaN times 0 is NaN, not 0. Sum over the bins "
     "that hold something.", "count > 0", "count >= 0"),
    ("empty_bins_left_out", "You left the empty bins out, so the entries no longer say which bin they belong to. "
     "Return num_bins numbers, NaN where a bin is empty.", "return {",
     "predicted, observed, count = predicted[full], observed[full], held\n    return {"),
    ("every_bin_weighs_the_same", "Your error is the plain mean over the bins: a bin with two predictions weighs as "
     "much as one with two hundred. Weight each by its count.", _ERROR, "gap.abs().mean()"),
    ("distances_cancel", "Your error adds signed differences: too sure here and not sure enough there cancel. Take "
     "the absolute value within each bin, before you average.", "gap.abs()", "gap"),
    ("absolute_value_last", "You take the absolute value after averaging, when errors of different bins have already "
     "cancelled. Take it within each bin.", _ERROR, "((gap * held).sum() / held.sum()).abs()"),
    ("squared_distances", "Your error averages squares. The expected calibration error averages the distances "
     "themselves.", "gap.abs()", "gap.square()"),
    ("worst_bin", "Your error is that of the worst bin (people call it the maximum calibration error). The mean over "
     "the predictions is asked for.", _ERROR, "gap.abs().max()"),
    ("error_without_a_divisor", "Your error is a sum over the predictions. Divide by their number.", " / held.sum()",
     ""),
    ("distance_of_each_prediction", "Your error compares each prediction with its own outcome, which is 0 or 1. A "
     "probability can only be judged against the *share* of wins among similar ones: within a bin.", _ERROR,
     "(p - won).abs().mean()"),
    ("bins_of_equal_number", "You made bins that hold equally many predictions. Bins of equal *width* are asked for: "
     "bin b goes from b / num_bins to (b + 1) / num_bins.", _WHICH,
     "which = p.argsort(stable=True).argsort() * num_bins // len(p)"),
    ("bins_over_the_range", "Your bins go from the smallest prediction to the largest. They should divide [0, 1], so "
     "that two models can be compared.", "(p * num_bins)", "((p - p.min()) / (p.max() - p.min()) * num_bins)"),
    ("edges_belong_below", "An edge goes to the bin below it here. It belongs to the bin above: 1/4 is the beginning "
     "of the second quarter. (Many libraries do it your way; here, one of the two had to be chosen.)", _WHICH,
     "which = ((p * num_bins).ceil().long() - 1).clamp(min=0)"),
    ("ones_fall_out", "A prediction of exactly 1 falls into no bin here. It belongs to the last one, which holds both "
     "its edges.", _PAIRS,
     "kept = probabilities < 1\n    p, won = probabilities[kept].double(), outcomes[kept].double()"),
    ("folded_at_a_half", "You count the probability of the favourite, max(p, 1 − p), and whether the favourite won. "
     "That is the usual picture for a classifier; here p is the probability that the first answer wins, from 0 to 1.",
     "which = ", "p, won = torch.maximum(p, 1 - p), ((p >= 0.5) == (won == 1)).double()\n    which = "),
    ("predicted_and_observed_swapped", '"predicted" and "observed" are swapped: predicted is the mean of the '
     "probabilities, observed the share of wins.", '"predicted": predicted, "observed": observed',
     '"predicted": observed, "observed": predicted'),
    ("shares_for_counts", 'Your "count" is the share of the predictions. The number is asked for: how far to trust a '
     "point depends on it.", '"count": count', '"count": count / len(p)'),
    ("wins_not_their_share", 'Your "observed" is the number of wins in each bin. Divide by how many predictions the '
     "bin holds.", '"observed": observed', '"observed": observed * count'),
    ("accuracy_of_the_bin", 'Your "observed" is how often the more probable side won. Below one half that is the '
     "other answer: take the share of outcomes that are 1.", "outcomes.double()",
     "((probabilities >= 0.5) == (outcomes == 1)).double()"),
    ("divided_by_the_bins_too", "You weight each bin by its share of the predictions and then take the mean over the "
     "bins: that divides twice. Sum the weighted distances.", _ERROR, "(gap.abs() * held / held.sum()).mean()"),
    ("empty_bins_in_the_divisor", "You sum the distances and divide by the number of bins. A bin should weigh as much "
     "as it holds predictions, and an empty one nothing.", _ERROR, "gap.abs().sum() / num_bins"),
    ("root_mean_square", "Your error is the root of the mean square. The expected calibration error averages the "
     "distances themselves.", _ERROR, "((gap.square() * held).sum() / held.sum()).sqrt()"),
    ("ones_in_a_bin_of_their_own", "A prediction of exactly 1 gets a bin of its own behind the last. It belongs to "
     "the last one, which holds both its edges.", ".clamp(max=num_bins - 1)", ""),
    ("to_the_nearest_edge", "You round to the nearest edge. A prediction belongs to the bin that it lies in: round "
     "*down*.", "(p * num_bins).long()", "(p * num_bins).round().long()"),
    ("one_bin_too_few", "You multiply by num_bins − 1, so the bins are too wide and the last is nearly empty. "
     "Multiply by num_bins, and let 1 itself fall into the last one.", "(p * num_bins)", "(p * (num_bins - 1))"),
    ("zeros_fall_out", "You take lower < p ≤ upper, as many libraries do: then a prediction of exactly 0 falls into "
     "no bin, and an edge into the one below. Here an edge belongs to the bin above it.", _PAIRS,
     "kept = probabilities > 0\n    p, won = probabilities[kept].double(), outcomes[kept].double()", _WHICH,
     "which = (p * num_bins).ceil().long() - 1"),
    ("losses_for_wins", 'Your "observed" is the share of outcomes that are 0. Count those that are 1.',
     "outcomes.double()", "1 - outcomes.double()"),
    ("sums_of_the_predictions", 'Your "predicted" is the sum of the predictions in each bin. Divide by how many it '
     "holds.", '"predicted": predicted', '"predicted": predicted * count'),
    ("share_of_all_wins", 'Your "observed" is what part of *all* wins each bin holds. Divide the wins in a bin by the '
     "predictions in it.", "which.bincount(won, num_bins) / count",
     "which.bincount(won, num_bins).where(count > 0, torch.nan) / won.sum()"),
])  # fmt: skip


# --- Exercise 9: best of n


def _place_of_the_best(rewards, n):
    first = rewards[:, :n]
    return first.argmax(1)


changes("best_of_n", _place_of_the_best, [
    ("worst_of_n", "You take the smallest reward. Best of n keeps the largest.", "argmax", "argmin"),
    ("the_reward_itself", "You return the largest reward. The caller needs to know *which* sample it was: its place.",
     "argmax", "amax"),
    ("all_samples_looked_at", "You look at all samples, whatever n is. Only the first n were drawn as far as best of "
     "n is concerned.", "[:, :n]", ""),
    ("last_n_looked_at", "You look at the last n samples. The first n are asked for, and places count from the first.",
     ":n]", "-n:]", "argmax(1)", "argmax(1) + rewards.shape[1] - n"),
    ("one_sample_too_many", "You look at n + 1 samples. A slice up to n ends before place n: `[:n]` already holds n.",
     ":n]", ": n + 1]"),
    ("best_prompt", "You compare the prompts with one another. Rewards of different prompts are not comparable: "
     "compare the samples within each row.", "argmax(1)", "argmax(0)"),
    ("best_of_the_table", "You take the best of the whole table, one number. Each prompt has a best sample of its "
     "own.", "argmax(1)", "argmax()"),
    ("largest_in_size", "You take the reward of greatest size, whatever its sign. −50 is worse than −1.", "argmax",
     "abs().argmax"),
    ("last_of_equals", "Of equally good samples you take the last. The earlier one is asked for.", "first.argmax(1)",
     "n - 1 - first.flip(1).argmax(1)"),
    ("counted_from_the_first", "You count places from 1. They begin with 0, so that they can be used as an index.",
     "argmax(1)", "argmax(1) + 1"),
    ("first_not_looked_at", "You leave out the first sample and count from the second. Best of 1 would then be "
     "nothing at all.", ":n]", "1 : n + 1]"),
    ("a_column_of_places", "Right places, but of shape (prompts, 1). Take the axis away: no keepdim.", "argmax(1)",
     "argmax(1, keepdim=True)"),
    ("where_the_best_is", "You return a mask of where the best sample is. One place a prompt is asked for: its index.",
     "first.argmax(1)", "F.one_hot(first.argmax(1), rewards.shape[1])"),
    ("the_n_best", "You return the places of the n largest rewards. Best of n draws n and keeps *one*.",
     "first.argmax(1)", "rewards.topk(n, dim=1).indices"),
    ("rank_of_the_first", "You return the rank of the first sample: argsort twice gives ranks. The place of the best "
     "sample is asked for, which argsort once gives, or argmax.", "first.argmax(1)",
     "first.argsort(dim=1, descending=True, stable=True).argsort(dim=1)[:, 0]"),
    ("places_as_floats", "Right places, but as floats: they cannot be used as an index. Leave them integers.",
     "argmax(1)", "argmax(1).float()"),
    ("rest_set_to_zero", "You set the rewards behind the first n to 0, and where all others are negative 0 is the "
     "largest. Cut them off, or set them to minus infinity.", "rewards[:, :n]",
     "rewards * (torch.arange(rewards.shape[1]) < n)"),
    ("second_best", "You return the second best. Sorting in ascending order, the best stands last.", "first.argmax(1)",
     "first.argsort(dim=1, stable=True)[:, -min(2, n)]"),
    ("rest_overwritten", "Right places, but you wrote minus infinity into the caller's table. Work on a copy, or cut "
     "the table off.", "first = rewards", "rewards[:, n:] = -torch.inf\n    first = rewards"),
])  # fmt: skip


# --- Exercise 10: what best of n samples from


def _best_of_draws(probs, rewards, n):
    beats = rewards[:, None] > rewards
    ties = rewards[:, None] == rewards
    below, level = beats.double() @ probs, ties.double() @ probs
    upto = below + level
    share = probs / level.clamp(min=1e-300)
    return (upto**n - below**n) * share


_KEPT = "(upto**n - below**n) * share"

changes("best_of_n_probs", _best_of_draws, [
    ("none_is_better", "You return the probability that no draw is better than the answer. The best has also to *be* "
     "the answer: subtract the probability that all draws are worse.", _KEPT, "upto**n"),
    ("worst_instead_of_best", "This is the distribution of the *worst* of n draws. Turn the comparison of the "
     "rewards.", "] > rewards", "] < rewards"),
    ("powers_of_the_probabilities", "You raise the probabilities to the power n, which makes frequent answers more "
     "frequent, good or not. The rewards have to come in.", _KEPT, "probs**n / (probs**n).sum()"),
    ("tilted_by_the_reward", "You weight the policy by exp(n · reward). That is the optimum of a KL-regularised "
     "reward; best of n depends only on the *order* of the rewards.", _KEPT, "(probs.log() + n * rewards).softmax(0)"),
    ("drawn_at_least_once", "You compute how probable it is that an answer is among the draws at all. It has also to "
     "be the best of them; and these do not sum to 1.", _KEPT, "1 - (1 - probs) ** n"),
    ("in_the_order_given", "You cumulate the probabilities in the order of the list. Sort the answers by their "
     "rewards first, and bring the result back.", _KEPT, "probs.cumsum(0) ** n - (probs.cumsum(0) - probs) ** n"),
    ("left_in_sorted_order", "Your probabilities come back sorted by reward. The caller expects them in the order of "
     "its answers.", _KEPT, "((upto**n - below**n) * share)[rewards.argsort(stable=True)]"),
    ("density_for_probability", "You use n · p · F^(n − 1), the formula for continuous distributions. Here answers "
     "have probabilities of their own: take the difference of two powers.", _KEPT, "n * probs * upto ** (n - 1)"),
    ("density_normalised", "You use p · F^(n − 1) and normalise. That is close, but the probability that the best is "
     "this answer is a difference of two powers, and sums to 1 by itself.", _KEPT,
     "probs * upto ** (n - 1) / (probs * upto ** (n - 1)).sum()"),
    ("exactly_one_draw", "You count the ways in which *one* draw is this answer and all others are worse. It may be "
     'drawn several times: take "none is better" less "all are worse".', _KEPT, "n * probs * below ** (n - 1)"),
    ("one_draw_too_few", "You have the distribution for n − 1 draws. With n = 1 it should be the policy itself.",
     "upto**n - below**n", "upto ** (n - 1) - below ** (n - 1)"),
    ("one_draw_too_many", "You have the distribution for n + 1 draws. With n = 1 it should be the policy itself.",
     "upto**n - below**n", "upto ** (n + 1) - below ** (n + 1)"),
    ("each_tie_takes_all", "Each of several answers with the same reward gets what falls to all of them together: the "
     "sum exceeds 1. They share it in proportion to their probabilities.", "* share", "* (probs > 0)"),
    ("ties_share_equally", "Answers with the same reward share equally here. A frequent one is drawn more often, and "
     "so kept more often: in proportion to the probabilities.", "* share", "/ ties.sum(1)"),
    ("ties_by_their_place", "Of answers with the same reward you treat the later one in the list as better. None of "
     "them is: they share what falls to them in proportion to their probabilities.",
     "beats = rewards[:, None] > rewards",
     "later = torch.ones(len(probs), len(probs)).tril(-1) > 0\n    beats = (rewards[:, None] > rewards) | (later & (rewards[:, None] == rewards))",
     "ties = rewards[:, None] == rewards", "ties = torch.eye(len(probs))"),
    ("all_on_the_best", "You put everything on the best answer. With a few draws it may not have come up: how "
     "probable that is, is the question.", _KEPT, "(rewards == rewards.max()).to(probs.dtype)"),
    ("order_for_ranks_of_answers", "You sorted by reward and then indexed with the same order again. That does not "
     "undo it: write `result[order] = sorted`, or index with order.argsort().", _KEPT,
     "((upto**n - below**n) * share)[rewards.argsort(stable=True)][rewards.argsort(stable=True)]"),
    ("ties_take_all_and_normalised", "Each of several answers with the same reward gets what falls to all of them, "
     "and then you normalise: that takes from the others. They share it in proportion to their probabilities, and "
     "nothing has to be normalised.", _KEPT,
     "(upto**n - below**n) * (probs > 0) / ((upto**n - below**n) * (probs > 0)).sum()"),
    ("each_tie_beats_the_others", "Each of several equally good answers is treated as if it beat the others, so it "
     "wins whenever it is drawn and nothing is better: the sum exceeds 1. They share what falls to them in proportion "
     "to their probabilities.", "below, level = beats.double() @ probs, ties.double() @ probs",
     "below, level = (beats | ties).double() @ probs - probs, probs"),
    ("ties_fall_to_nobody", "Where equally good answers are both drawn, none of them wins in your formula: the sum is "
     "below 1. The first of them is kept: they share what falls to all of them in proportion to their probabilities.",
     "ties.double() @ probs", "probs"),
    ("nothing_over_nothing", "An answer that is never drawn gives 0/0 here, which is NaN. Its probability is 0: ask "
     "for that before you divide.", ".clamp(min=1e-300)", ""),
    ("only_the_first_draw_counts", "You compute how probable it is that the *first* draw is this answer and all "
     'others are worse. Any of the n draws may be the best, and several may be the same: take "none is better" less '
     '"all are worse".', _KEPT, "probs * below ** (n - 1)"),
    ("cumulated_at_the_end", "You return the cumulated probabilities. One probability for each answer is asked for: "
     "that it is the best.", _KEPT, "((upto**n - below**n) * share).cumsum(0)"),
    ("weighted_by_the_probability", "You multiply what falls to a reward by the answer's probability, and forget to "
     "divide by that of all answers of this reward: the sum is below 1.", "* share", "* probs"),
])  # fmt: skip


# --- Exercise 11: how far it goes


def _bound(n):
    return math.log(n) - (n - 1) / n


changes("best_of_n_kl", _bound, [
    ("logarithm_alone", "You return log n. That is the most it could be; (n − 1)/n comes off, because the best sample "
     "need not be from the very top. (With `//` for `/`, (n − 1)//n is 0.)", " - (n - 1) / n", ""),
    ("added_instead_of_subtracted", "You add (n − 1)/n. It is subtracted.", " - (n", " + (n"),
    ("without_dividing", "You subtract n − 1. It is (n − 1)/n: a KL divergence is never negative.", " / n", ""),
    ("one_over_n", "You subtract 1/n. It is (n − 1)/n, that is 1 − 1/n: for n = 1 nothing has changed, and the KL is "
     "0.", "(n - 1) / n", "1 / n"),
    ("one_instead", "You subtract 1. That is nearly right for large n, but for n = 1 nothing has changed, and the KL "
     "has to be 0: subtract (n − 1)/n.", "(n - 1) / n", "1"),
    ("kl_in_bits", "Your logarithm is to base 2. The KL is in nats here: the natural logarithm.", "math.log(",
     "math.log2("),
    ("logarithm_to_base_ten", "Your logarithm is to base 10. `math.log` is the natural one.", "math.log(",
     "math.log10("),
    ("upside_down", "The sign is turned: a KL divergence is never negative.", "math.log(n) - (n - 1) / n",
     "(n - 1) / n - math.log(n)"),
    ("n_over_n_less_one", "You subtract n/(n − 1). It is (n − 1)/n.", "(n - 1) / n", "n / max(n - 1, 1e-9)"),
    ("everything_over_n", "You divide the logarithm by n too. Only n − 1 is divided: look at the brackets.",
     "math.log(n) - (n - 1) / n", "(math.log(n) - (n - 1)) / n"),
    ("brackets_missing", "You subtract n, and 1/n again: the brackets around n − 1 are missing.", "(n - 1) / n",
     "n - 1 / n"),
    ("logarithm_of_one_less", "You take the logarithm of n − 1. It is log n, less (n − 1)/n.", "math.log(n)",
     "math.log(max(n - 1, 1))"),
    ("logarithm_of_one_more", "You take the logarithm of n + 1, as log1p does. It is log n, less (n − 1)/n.",
     "math.log(n)", "math.log1p(n)"),
])  # fmt: skip
