"""Wrong answers to the second half of chapter 04: reading, judging and using a reward model. A hint says what was done, why
it is wrong, where to look."""

import math

import torch
import torch.nn.functional as F  # noqa: F401 (used in a table's texts)

from autograder.judging.catalogue import changes

# --- Exercise 5: one number for an answer


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


# --- Exercise 7: does it know how sure it may be


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


# --- Exercise 8: what best of n is worth


def _over_all_choices(rewards, utilities, n):
    samples = rewards.shape[1]
    order = rewards.argsort(1)
    upwards = utilities.gather(1, order).double()
    ways = torch.tensor([math.comb(i, n - 1) / math.comb(samples, n) for i in range(samples)], dtype=torch.float64)
    return (upwards @ ways).to(utilities.dtype)


_WAYS = "math.comb(i, n - 1) / math.comb(samples, n)"

changes("best_of_n_utility", _over_all_choices, [
    ("groups_of_n", "You cut the samples into groups of n. That is unbiased too, but it uses few of the choices, and another "
     "order of the samples gives another number. All choices of n are asked for.", "return (upwards @ ways).to(utilities.dtype)",
     "m = samples // n * n\n    best = rewards[:, :m].reshape(len(rewards), -1, n).argmax(2, keepdim=True)\n    "
     "return utilities[:, :m].reshape(len(rewards), -1, n).gather(2, best)[..., 0].mean(1)"),
    ("first_n_alone", "You look at the first n samples only. The mean over all choices of n among the samples is asked for.",
     "return (upwards @ ways).to(utilities.dtype)",
     "return utilities.gather(1, rewards[:, :n].argmax(1, keepdim=True))[:, 0]"),
    ("drawn_with_replacement", "Your weights are those of n draws *with* replacement, (i/m)^n − ((i−1)/m)^n: the same sample may "
     "come twice. n different samples are chosen.", _WAYS, "((i + 1) / samples) ** n - (i / samples) ** n"),
    ("utility_decides", "You sort by the utility: that is the best that any judge could do. The sample with the largest "
     "*reward* is kept, and its utility counted.", "rewards.argsort(1)", "utilities.argsort(1)"),
    ("reward_counted", "You average the rewards of the kept samples. The reward decides; what counts is the utility.",
     "utilities.gather(1, order)", "rewards.gather(1, order)"),
    ("smallest_reward_kept", "You keep the sample with the *smallest* reward: the weights are largest where the reward is "
     "largest, so sort upwards.", "rewards.argsort(1)", "rewards.argsort(1, descending=True)"),
    ("one_place_too_high", "A sample at place i, counted from 0, has i samples below it, not i + 1. With your weights the "
     "choices are more than there are.", "math.comb(i, n - 1)", "math.comb(i + 1, n - 1)"),
    ("n_below_it", "The best of n has n − 1 others below it, not n: one of the n is itself.", "math.comb(i, n - 1)",
     "math.comb(i, n)"),
    ("weights_not_divided", "You sum over the choices. The mean is asked for: divide by their number, math.comb(samples, n).",
     " / math.comb(samples, n)", " / 1"),
    ("mean_of_the_upper_ones", "You average the n samples with the largest rewards. Of each choice of n only one is kept.",
     _WAYS, "(i >= samples - n) / n"),
    ("best_of_all_samples", "You keep the best of *all* samples whatever n is. It is among n chosen ones only now and then.",
     _WAYS, "float(i == samples - 1)"),
    ("one_number_for_all", "You average over the prompts as well. One number for each prompt is asked for: (prompts,).",
     "return (upwards @ ways)", "return (upwards @ ways).mean()"),
])  # fmt: skip


# --- Exercise 9: what best of n samples from


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
