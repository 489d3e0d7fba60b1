"""Wrong answers to the second half of chapter 05: the two losses, and what the clip stops. Each text is the hint
the student reads: what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes

# --- Exercise 5: the clipped objective


def _mean(x, mask):
    return (x * mask).sum() / mask.sum()


def _clipped_policy_loss(logps, old_logps, advantages, mask, clip_range):
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    objective = torch.minimum(ratio * advantages, clipped * advantages)
    return -(objective * mask).sum() / mask.sum()


changes("clipped_policy_loss", _clipped_policy_loss, [
    ("max_for_min", "You take the larger of the two terms. The objective is to be pessimistic: the minimum stops a token that has "
     "gone far enough, and never one that went the wrong way. (With the minus sign inside, it is the *maximum* of the losses.)",
     "torch.minimum", "torch.maximum"),
    ("ratio_upside_down", "Your ratio is inverted: it is the old probability over the new. It should be exp(logps - old_logps).",
     "logps - old_logps.detach()", "old_logps.detach() - logps"),
    ("clip_in_log_space", "You clip the *logarithm* of the ratio to +-clip_range. That is another range, exp(-c) to exp(c): clip the "
     "ratio itself, to 1 - c and 1 + c.", "ratio.clamp(1 - clip_range, 1 + clip_range)", "log_ratio.clamp(-clip_range, clip_range).exp()"),
    ("old_not_detached", "The gradient also flows through old_logps. Where old and new are one tensor, the two parts cancel and "
     "nothing is learned: detach the old ones.", "old_logps.detach()", "old_logps"),
    ("reciprocal_lower_bound", "Your lower bound is 1 / (1 + clip_range). PPO's range is symmetric about 1 in the ratio: it is "
     "1 - clip_range.", "1 - clip_range", "1 / (1 + clip_range)"),
    ("mean_with_padding", "You take the mean over all places, padding included. Use the answers' tokens only: sum under the mask, "
     "divided by the mask's sum.", ".masked_fill(mask == 0, 0.0)", "", "-(objective * mask).sum() / mask.sum()", "-objective.mean()"),
    ("divided_by_all_places", "Padding does not count in your sum, but it counts in the number you divide by. Divide by the number "
     "of answer tokens.", "/ mask.sum()", "/ mask.numel()"),
    ("mean_of_the_means", "You take the mean of each answer first, and then the mean of those: tokens of short answers weigh more. "
     "Here all answer tokens of the batch weigh the same.", "-(objective * mask).sum() / mask.sum()",
     "-((objective * mask).sum(1) / mask.sum(1)).mean()"),
    ("sum_over_tokens", "You sum over the tokens of each answer and take the mean over answers. The loss is a mean over all answer "
     "tokens.", ".sum() / mask.sum()", ".sum(1).mean()"),
    ("no_division", "You sum over the tokens and do not divide by their number.", " / mask.sum()", ""),
    ("objective_not_loss", "The sign is wrong: you return the objective, which is to be maximised. An optimiser minimises: minus.",
     "return -(", "return ("),
    ("not_clipped", "Nothing is clipped: this is ratio times advantage, and a few steps on the same answers carry the policy far "
     "away.", "torch.minimum(ratio * advantages, clipped * advantages)", "ratio * advantages"),
    ("the_usual_range", "You clip to 0.8 and 1.2 whatever clip_range says.", "clamp(1 - clip_range, 1 + clip_range)", "clamp(0.8, 1.2)"),
    ("ratio_capped", "You cap the ratio, or its logarithm, besides clipping it. A bad token that became much likelier then has no "
     "gradient: nothing but clip_range bounds a ratio.", "log_ratio.exp()", "log_ratio.clamp(-2, 2).exp()"),
    ("always_clipped", "You use the clipped ratio alone. Then a token that went the *wrong* way beyond the range has no gradient "
     "either and is never corrected: take the minimum with the unclipped term.",
     "torch.minimum(ratio * advantages, clipped * advantages)", "clipped * advantages"),
    ("min_of_the_ratios", "You take the minimum of the two *ratios* and multiply by A afterwards. With A < 0 that turns the choice "
     "round: take the minimum of the two products.",
     "torch.minimum(ratio * advantages, clipped * advantages)", "torch.minimum(ratio, clipped) * advantages"),
    ("only_the_upper_bound", "Your range has no lower end. Bad tokens (A < 0) become rarer and rarer without a stop: clip at "
     "1 - clip_range too.", "clamp(1 - clip_range, 1 + clip_range)", "clamp(max=1 + clip_range)"),
    ("only_the_lower_bound", "Your range has no upper end. Good tokens become likelier without a stop: clip at 1 + clip_range too.",
     "clamp(1 - clip_range, 1 + clip_range)", "clamp(min=1 - clip_range)"),
    ("product_clipped", "You clip ratio times advantage. Only the ratio is clipped, before it meets A.",
     "clipped * advantages", "(ratio * advantages).clamp(1 - clip_range, 1 + clip_range)"),
    ("range_around_zero", "You clip the ratio to -clip_range and +clip_range. It is 1 where nothing changed: the range lies around 1.",
     "clamp(1 - clip_range, 1 + clip_range)", "clamp(-clip_range, clip_range)"),
    ("padding_masked_after_exp", "On padding something overflows in your ratio: infinity times 0 is NaN, in the loss or in its gradient. "
     "Set the log-probabilities, or their difference, to 0 there before any exp.", ".masked_fill(mask == 0, 0.0)", ""),
    ("padding_out_of_the_loss_alone", "Your loss is right, but its gradient is NaN on padding: the exponential overflows there, and masking "
     "afterwards hides it from the loss, not from the gradient. Set the difference of the logarithms to 0 before exp.",
     ".masked_fill(mask == 0, 0.0)", "", "(objective * mask).sum()", "objective.masked_fill(mask == 0, 0.0).sum()"),
    ("difference_for_ratio", "You use the difference of the log-probabilities as the ratio. Its exponential is the ratio.",
     "log_ratio.exp()", "log_ratio"),
    ("quotient_of_logarithms", "You divide one log-probability by the other. A quotient of probabilities is the exponential of a "
     "*difference* of logarithms.", "ratio = log_ratio.exp()", "ratio = logps / old_logps.detach()"),
    ("plain_reinforce", "This is REINFORCE's surrogate, -A logps. At the first step its gradient is the same, but the ratio is "
     "missing, and with it everything that the later steps need.",
     "torch.minimum(ratio * advantages, clipped * advantages)", "logps * advantages"),
    ("ratio_of_the_answer", "You take one ratio for the whole answer: the log-probabilities are summed over its tokens first. In PPO "
     "each token has a ratio of its own.", "log_ratio.exp()", "log_ratio.sum(1, keepdim=True).exp()"),
])  # fmt: skip


# --- Exercise 6: how much the clip stops


def _clip_fraction(logps, old_logps, advantages, mask, clip_range):
    ratio = (logps - old_logps).exp()
    up, down = ratio > 1 + clip_range, ratio < 1 - clip_range
    stopped = ((advantages > 0) & up) | ((advantages < 0) & down)
    return (stopped * mask).sum() / mask.sum()


changes("clip_fraction", _clip_fraction, [
    ("outside_the_range", "You count every ratio outside the range. A token that went the wrong way is not stopped: with A > 0 only a "
     "ratio above the range is, with A < 0 only one below.", "((advantages > 0) & up) | ((advantages < 0) & down)", "up | down"),
    ("the_other_corners", "You count the two corners where the clip does *not* bite. A good token is stopped when it has become "
     "likelier, a bad one when it has become less likely.", "advantages > 0", "advantages < 0", "advantages < 0) & down", "advantages > 0) & down"),
    ("above_the_range_only", "You count only good tokens that became likelier. Bad ones (A < 0) are stopped below the range.",
     " | ((advantages < 0) & down)", ""),
    ("below_the_range_only", "You count only bad tokens that became rarer. Good ones (A > 0) are stopped above the range.",
     "((advantages > 0) & up) | ", ""),
    ("above_whatever_the_sign", "You count every ratio above the range, whatever A is. The sign of A decides which end of the range "
     "stops a token.", "((advantages > 0) & up) | ((advantages < 0) & down)", "up"),
    ("below_whatever_the_sign", "You count every ratio below the range, whatever A is. The sign of A decides which end of the range "
     "stops a token.", "((advantages > 0) & up) | ((advantages < 0) & down)", "down"),
    ("share_of_all_places", "You take the share of all places, padding included. Only answer tokens count, among those that are "
     "stopped and in the number you divide by.", "(stopped * mask).sum() / mask.sum()", "stopped.float().mean()"),
    ("padding_in_the_divisor", "You divide by the number of all places. Divide by the number of answer tokens.",
     "/ mask.sum()", "/ mask.numel()"),
    ("share_of_each_answer", "You take each answer's share and then the mean of those. Every token of the batch weighs the same.",
     "(stopped * mask).sum() / mask.sum()", "((stopped * mask).sum(1) / mask.sum(1)).mean()"),
    ("number_of_tokens", "You return how many tokens are stopped. Their share is asked for.", " / mask.sum()", " / 1"),
    ("stopped_share_of_answers", "You divide by the number of answers. Divide by the number of answer tokens.", "mask.sum()", "len(mask)"),
    ("share_that_is_not_stopped", "You return the share of tokens that are *not* stopped: 1 minus what is asked for.",
     "return (", "return 1 - ("),
    ("old_over_new", "Your ratio is inverted: it is the probability now divided by the one then.",
     "logps - old_logps", "old_logps - logps"),
    ("range_of_the_logarithm", "You compare the logarithm of the ratio with the range. Compare the ratio itself, with 1 - c and 1 + c.",
     "(logps - old_logps).exp()", "1 + logps - old_logps"),
    ("the_common_range", "You compare with 0.8 and 1.2 whatever clip_range says.", "1 + clip_range", "1.2", "1 - clip_range", "0.8"),
    ("no_exp", "You compare the *difference of the logarithms* with 1 - c and 1 + c. Its exponential is the ratio.", ".exp()", ""),
    ("times_one_hundred", "You return percent. A share lies between 0 and 1.", "return (", "return 100 * ("),
    ("the_bound_counts_as_stopped", "You count tokens whose ratio is exactly at the end of the range. There the two terms are equal and "
     "the clip removes nothing: ask for more than 1 + c, and for less than 1 - c.", "ratio > 1", "ratio >= 1", "ratio < 1", "ratio <= 1"),
    ("zero_counts_as_bad", "You count tokens whose advantage is 0. Such a token has no gradient that the clip could remove: ask for A < 0.", "advantages < 0", "advantages <= 0"),
])  # fmt: skip


# --- Exercise 7: the loss of the value model


def _value_loss(values, old_values, returns, mask, clip_range):
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    squared = torch.maximum((values - returns).square(), (clipped - returns).square())
    return 0.5 * (squared * mask).sum() / mask.sum()


_TWO_ERRORS = "torch.maximum((values - returns).square(), (clipped - returns).square())"
_RANGE = "old_values + (values - old_values).clamp(-clip_range, clip_range)"

changes("value_loss", _value_loss, [
    ("smaller_of_the_two", "You take the smaller of the two squared errors: the value clip the wrong way. Then moving far away from "
     "the return costs nothing beyond the range. The larger one counts.", "torch.maximum", "torch.minimum"),
    ("value_not_clipped", "The second error never counts: this is the plain squared error. Either it is missing, or the value is "
     "clipped about something else than the *old* value.", _TWO_ERRORS, "(values - returns).square()"),
    ("clipped_value_alone", "You use the clipped value alone. A value that moved the wrong way beyond the range then has no gradient "
     "that brings it back: take the larger of both squared errors.", _TWO_ERRORS, "(clipped - returns).square()"),
    ("no_half", "The factor 1/2 is missing.", "0.5 * ", ""),
    ("mean_over_every_place", "You take the mean over all places, padding included. The answers' tokens count, no others.",
     "(squared * mask).sum() / mask.sum()", "squared.mean()"),
    ("divisor_with_padding", "You divide by the number of all places. Divide by the number of answer tokens.",
     "/ mask.sum()", "/ mask.numel()"),
    ("answers_weigh_the_same", "You take the mean of each answer and then the mean of those. Here all answer tokens weigh the same.",
     "(squared * mask).sum() / mask.sum()", "((squared * mask).sum(1) / mask.sum(1)).mean()"),
    ("summed_over_each_answer", "You sum over the tokens of each answer and take the mean over answers. The loss is a mean over all "
     "answer tokens.", ".sum() / mask.sum()", ".sum(1).mean()"),
    ("summed_not_averaged", "You sum over all tokens. Divide by their number.", " / mask.sum()", ""),
    ("absolute_errors", "You use absolute errors. They are squared: the value that minimises a squared error is the *mean* of the "
     "returns.", _TWO_ERRORS, "torch.maximum((values - returns).abs(), (clipped - returns).abs())"),
    ("larger_value_not_error", "You take the larger of the two *values* and square its error. It is the larger of the two squared "
     "errors.", _TWO_ERRORS, "(torch.maximum(values, clipped) - returns).square()"),
    ("clipped_around_the_returns", "You clip the value to the neighbourhood of the *return*. It is the old value that it should not "
     "leave too fast.", _RANGE, "returns + (values - returns).clamp(-clip_range, clip_range)", _TWO_ERRORS, "(clipped - returns).square()"),
    ("clipped_around_zero", "You clip the value itself to +-clip_range. What is clipped is its distance from the old value.",
     _RANGE, "values.clamp(-clip_range, clip_range)"),
    ("the_step_for_the_value", "You clip the distance from the old value and forget to add the old value again.",
     "old_values + (values", "(values"),
    ("clipped_like_a_ratio", "You clip the *ratio* of new and old value, as in the policy's loss. Values may be negative or zero: clip "
     "their difference.", "(values - old_values).clamp(-clip_range, clip_range)",
     "(values - old_values).clamp(-clip_range * old_values.abs(), clip_range * old_values.abs())"),
    ("no_lower_end", "Your range has only an upper end: a value may fall as far as it likes. Clip at old - clip_range too.",
     "clamp(-clip_range, clip_range)", "clamp(max=clip_range)"),
    ("no_upper_end", "Your range has only a lower end: a value may rise as far as it likes. Clip at old + clip_range too.",
     "clamp(-clip_range, clip_range)", "clamp(min=-clip_range)"),
    ("both_added", "You add the two squared errors. For each token, the larger of them counts.",
     "torch.maximum((values - returns).square(), (clipped - returns).square())", "(values - returns).square() + (clipped - returns).square()"),
    ("larger_of_the_means", "You take both means first, and then the larger. Which of the two errors counts is decided for every token.",
     _TWO_ERRORS, "torch.maximum(_mean((values - returns).square(), mask), _mean((clipped - returns).square(), mask))"),
])  # fmt: skip
