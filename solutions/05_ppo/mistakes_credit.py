"""Wrong answers to the first half of chapter 05: which token gets which credit. Each text is the hint the student
reads: what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes

# --- Exercise 1: a reward for every token


def _token_rewards(scores, logps, ref_logps, mask, beta):
    log_ratio = (logps - ref_logps).detach().masked_fill(mask == 0, 0.0)
    rewards = -beta * log_ratio
    rows, last = torch.arange(len(scores)), mask.sum(1).long() - 1
    rewards[rows, last] += scores.detach()
    return rewards


_SCORED = "    rewards[rows, last] += scores.detach()\n"

changes("token_rewards", _token_rewards, [
    ("kl_as_a_reward", "The sign of the KL term is wrong: you *pay* the policy for tokens that it likes better than the reference "
     "does. The KL is a penalty, -beta (logps - ref_logps).", "-beta *", "beta *"),
    ("score_on_every_token", "You add the score on every token, so a long answer collects it many times over. The reward model judged "
     "the whole answer once: the score belongs on its last token.", "rewards[rows, last] += scores.detach()", "rewards += scores[:, None] * mask"),
    ("score_spread_over_tokens", "You spread the score evenly over the answer's tokens. The whole of it comes at the end, on the last "
     "token; to share it out among the tokens is the business of the advantages.",
     "rewards[rows, last] += scores.detach()", "rewards += scores[:, None] * mask / mask.sum(1, keepdim=True)"),
    ("score_at_the_end_of_the_row", "You put the score on the last place of the *row*. For a shorter answer that is padding, and the "
     "answer never hears of its score. The last real token is where the row's mask ends.", "rows, last]", "rows, -1]"),
    ("score_on_the_first_token", "You put the score on the first token. The reward model has to read the whole answer first: it comes "
     "with the last.", "rows, last]", "rows, 0]"),
    ("score_one_too_early", "Your score is one token too early. An answer of n tokens ends at place n - 1: look for a 1 subtracted "
     "twice.", "rows, last]", "rows, last - 1]"),
    ("score_one_too_late", "Your score is one place too late, on the padding behind the answer. An answer of n tokens ends at place "
     "n - 1.", "rows, last]", "rows, (last + 1).clamp(max=mask.shape[1] - 1)]"),
    ("score_instead_of_kl", "On the last token you *replace* the KL reward by the score. The last token was chosen like the others and "
     "pays like them: add the score.", "+= scores", "= scores"),
    ("kl_of_the_answer_at_the_end", "You put the KL of the whole answer on its last token. Its sum is right, but each token can be "
     "charged for its own part, and then the advantages know which one was expensive.",
     "rewards = -beta * log_ratio", "rewards = torch.zeros_like(log_ratio)", "+= scores", "+= -beta * log_ratio.sum(1) + scores"),
    ("kl_counted_on_padding", "The log-probabilities on padding find their way into your rewards. Nobody said those tokens: the reward "
     "there is 0.", ".masked_fill(mask == 0, 0.0)", ""),
    ("padding_times_zero", "You multiply by the mask to be rid of the padding. But 0 times infinity, or times NaN, is NaN: replace "
     "these entries (masked_fill, torch.where).", ".masked_fill(mask == 0, 0.0)", " * mask"),
    ("no_kl", "The KL term is missing: only the score is there. Without it nothing holds the policy near the reference.",
     "-beta * log_ratio", "torch.zeros_like(log_ratio)"),
    ("no_score", "The score is missing: only the KL term is there, and the best policy is then the reference itself.", _SCORED, ""),
    ("beta_forgotten", "The KL term is not weighed by beta.", "-beta * log_ratio", "-log_ratio"),
    ("score_times_beta", "You multiply the score by beta too. beta weighs the KL against the score, which keeps its own scale.",
     "+= scores", "+= beta * scores"),
    ("ratio_not_its_logarithm", "You charge the ratio of the probabilities, not its logarithm: there is an exp too much.",
     "(logps - ref_logps).detach()", "(logps - ref_logps).detach().exp()"),
    ("difference_of_probabilities", "You charge the difference of the *probabilities*. The KL is made of the difference of their "
     "logarithms: no exp.", "(logps - ref_logps)", "(logps.exp() - ref_logps.exp())"),
    ("absolute_log_ratio", "You charge the *size* of the log-ratio. Its sign matters: a token that the policy likes less than the "
     "reference gets something back, and only so is the mean the KL.", "-beta * log_ratio", "-beta * log_ratio.abs()"),
    ("half_the_square", "You charge half the square of the log-ratio (the estimator k2). Its mean is not the KL; PPO's reward is "
     "linear in the log-ratio.", "-beta * log_ratio", "-beta * log_ratio.square() / 2"),
    ("k3_in_the_reward", "You charge the estimator k3, exp(-x) - 1 + x. As a *reward* it is wrong, although its mean is the KL: its "
     "gradient is not that of the KL. Use the log-ratio x itself.", "-beta * log_ratio", "-beta * ((-log_ratio).exp() - 1 + log_ratio)"),
    ("kl_summed_up_so_far", "Each of your tokens pays for all tokens before it again (a cumulative sum). It pays for itself alone; "
     "what follows from it is summed later, in the advantages.", "-beta * log_ratio", "-beta * log_ratio.cumsum(1) * mask"),
    ("gradient_through_the_reward", "Your rewards still hang on the graph of logps, so a gradient would flow through them. A reward is "
     "a constant for the policy gradient: detach the log-ratio.", "(logps - ref_logps).detach()", "(logps - ref_logps)"),
    ("nothing_detached", "Your rewards still hang on the graph of what they are made of, so a gradient would flow through them. A reward "
     "is a constant for the policy gradient: detach it.", "(logps - ref_logps).detach()", "(logps - ref_logps)", "scores.detach()", "scores"),
    ("score_in_the_last_column", "You put the score into the last column and mask it afterwards: an answer shorter than its row never "
     "hears of it. The last real token is where the row's mask ends.", "rows, last]", "rows, -1]", "return rewards", "return rewards * mask"),
    ("gradient_through_the_score", "Your rewards still hang on the graph of the scores. A reward is a constant for the policy gradient: "
     "detach the scores too.", "scores.detach()", "scores"),
    ("gradient_through_the_reference", "Your rewards still hang on the graph of ref_logps. A reward is a constant for the policy "
     "gradient: detach the whole log-ratio.", "(logps - ref_logps).detach()", "(logps.detach() - ref_logps)"),
])  # fmt: skip


# --- Exercise 2: generalised advantage estimation


def _gae(rewards, values, mask, gamma, lam):
    rewards = rewards.masked_fill(mask == 0, 0.0)
    values = values.masked_fill(mask == 0, 0.0)
    advantages, place = torch.zeros_like(rewards), reversed(range(rewards.shape[1]))
    v_next = carried = torch.zeros_like(rewards[:, 0])
    for t in place:
        delta = rewards[:, t] + gamma * v_next - values[:, t]
        advantage = delta + gamma * lam * carried
        advantages[:, t], v_next, carried = advantage, values[:, t], advantage
    return advantages


_ENDED = "values = values.masked_fill(mask == 0, 0.0)"
_DELTA = "rewards[:, t] + gamma * v_next - values[:, t]"

changes("gae", _gae, [
    ("crossing_the_end", "Your recursion starts at the end of the *row* and carries rewards and values of the padding into the answer. "
     "An answer is an episode: after its last token there is nothing. Set both to 0 on padding first.",
     "rewards = rewards.masked_fill(mask == 0, 0.0)", "pass", _ENDED, "pass", "return advantages", "return advantages.masked_fill(mask == 0, 0.0)"),
    ("value_after_the_end", "After the last token you go on with a value of the padding. The episode is over there: the value is 0. "
     "Only your rewards were cleared of padding.", _ENDED, "n, beyond = mask.sum(1), torch.zeros_like(values[:, :1])",
     "return advantages", "after = torch.cat([values, beyond], 1).gather(1, n[:, None])\n"
     "    left = (n[:, None] - 1 - torch.arange(mask.shape[1])).clamp(min=0)\n"
     "    inside = _gae(rewards, values, mask, gamma, lam)\n"
     "    return (inside + (gamma * lam) ** left * gamma * after).masked_fill(mask == 0, 0.0)"),
    ("last_value_again", "After the last token you take its own value once more. That is done where an episode is cut short; an answer "
     "that ended has nothing to come: the value there is 0.",
     "return advantages", "last = values.gather(1, mask.sum(1, keepdim=True) - 1)\n"
     "    left = (mask.sum(1, keepdim=True) - 1 - torch.arange(mask.shape[1])).clamp(min=0)\n"
     "    return (advantages + (gamma * lam) ** left * gamma * last).masked_fill(mask == 0, 0.0)"),
    ("no_lam", "lam plays no part in your recursion. It decides how far a TD error is carried back: gamma * lam a step.",
     "gamma * lam * carried", "gamma * carried"),
    ("only_the_next_value", "You return the TD errors delta themselves. GAE sums those that follow too, each gamma * lam times smaller "
     "than the one before it.", " + gamma * lam * carried", ""),
    ("carried_by_lam_alone", "You carry the advantage back with lam alone. Each step also discounts: it is gamma * lam.",
     "gamma * lam * carried", "lam * carried"),
    ("next_value_undiscounted", "In delta your next value is not discounted: it is r + gamma V' - V.", "gamma * v_next", "v_next"),
    ("never_discounted", "gamma plays no part in your function. It discounts the next value in delta, and the advantage that is "
     "carried back.", "gamma * v_next", "v_next", "gamma * lam * carried", "lam * carried"),
    ("values_with_the_wrong_sign", "Your delta is r - gamma V' + V. A TD error is what came, r + gamma V', less what was expected, V.",
     "+ gamma * v_next - values", "- gamma * v_next + values"),
    ("lam_in_delta", "You multiply the next value in delta by lam. lam weighs only the advantage that is carried back.",
     "gamma * v_next", "gamma * lam * v_next"),
    ("no_next_value", "The next value is missing from your delta. What a token is worth shows in its reward *and* in what the value "
     "model expects after it.", " + gamma * v_next", ""),
    ("no_value_at_all", "The values play no part in your result. An advantage says how much better things went than the value model "
     "expected.", _DELTA, "rewards[:, t]"),
    ("value_not_subtracted", "You do not subtract the token's own value: delta is r + gamma V' - V.", "v_next - values[:, t]", "v_next"),
    ("returns_instead", "You return advantages plus values. Those are the returns, from which the value model learns; they come later.",
     "return advantages", "return advantages + values"),
    ("only_delta_carried", "You carry back the next *delta*, not the next advantage, so that each token hears of one step only. The "
     "recursion adds gamma * lam times the next advantage, which holds everything behind it.",
     "advantage, values[:, t], advantage", "advantage, values[:, t], delta"),
    ("forwards_in_time", "Your recursion runs forwards: a token is credited with what came *before* it. Start at the last token and go "
     "back.", "return advantages", "deltas, carried = _gae(rewards, values, mask, gamma, 0.0), 0.0\n"
     "    for t in range(rewards.shape[1]):\n"
     "        carried = advantages[:, t] = deltas[:, t] + gamma * lam * carried\n"
     "    return advantages.masked_fill(mask == 0, 0.0)"),
    ("not_turned_round_again", "Your advantages come out in the wrong order: they were collected from the last token to the first. "
     "Turn the list round before you stack it.", "return advantages", "return advantages.flip(1)"),
    ("padding_multiplied_by_the_mask", "You multiply by the mask to be rid of the padding. But 0 times NaN is NaN, and the recursion "
     "carries it into the answer: replace these entries (masked_fill, torch.where).",
     "rewards.masked_fill(mask == 0, 0.0)", "rewards * mask", "values.masked_fill(mask == 0, 0.0)", "values * mask"),
    ("divided_by_the_length", "You divide by the length of the answer. Nothing is averaged here: an advantage is a sum of TD errors.",
     "return advantages", "return advantages / mask.sum(1, keepdim=True)"),
    ("value_overwritten_too_early", "You take the token's own value for the next one: it was stored before delta was computed. Store it "
     "after.", "gamma * v_next - values[:, t]", "gamma * values[:, t] - values[:, t]"),
    ("only_rewards_cleared", "Values on the padding find their way into your advantages. Set values to 0 there, as you do with the rewards.",
     _ENDED, "pass", "return advantages", "return advantages.masked_fill(mask == 0, 0.0)"),
    ("only_values_cleared", "Rewards on the padding find their way into your advantages. Set rewards to 0 there, as you do with the values.",
     "rewards = rewards.masked_fill(mask == 0, 0.0)", "pass", "return advantages", "return advantages.masked_fill(mask == 0, 0.0)"),
    ("lam_and_gamma_swapped", "gamma and lam have changed places in your recursion. gamma discounts the next value; their product carries "
     "the advantage.", "gamma * v_next", "lam * v_next"),
    ("already_whitened", "You whiten the advantages here. That is another exercise; the returns need them as they are.",
     "return advantages", "return _masked_whiten(advantages, mask)"),
    ("rewards_of_the_next_token", "Your delta takes the reward of the *next* token. rewards[:, t] is what token t itself earned.",
     "rewards[:, t] + gamma", "(rewards[:, t + 1] if t + 1 < rewards.shape[1] else 0.0) + gamma"),
])  # fmt: skip


# --- Exercise 3: whitening under a mask


def _masked_whiten(values, mask, shift_mean=True):
    values = values.masked_fill(mask == 0, 0.0)
    n = mask.sum()
    mean = values.sum() / n
    variance = ((values - mean).square() * mask).sum() / n
    spread = (variance + 1e-8).sqrt()
    whitened = (values - mean) / spread
    whitened = whitened if shift_mean else whitened + mean
    return whitened.masked_fill(mask == 0, 0.0)


_CLEARED = "values = values.masked_fill(mask == 0, 0.0)"
_VARIANCE = "((values - mean).square() * mask).sum() / n"

changes("masked_whiten", _masked_whiten, [
    ("padding_in_the_moments", "Mean and variance are taken over all entries, padding included. What stands there is nobody's: use the "
     "entries whose mask is 1.", _CLEARED, "pass", "values.sum() / n", "values.mean()", _VARIANCE, "values.var(unbiased=False)"),
    ("zeros_counted", "You set the padding to 0 and then take mean and variance of everything: the zeros count as entries. Divide by "
     "the number of 1s in the mask.", "values.sum() / n", "values.mean()", _VARIANCE, "values.var(unbiased=False)"),
    ("zeros_in_the_variance", "The mean is right, but the variance sums the zeros on padding too, at their distance from the mean. "
     "Mask the squared distances as well.", ".square() * mask)", ".square())"),
    ("variance_over_all_places", "You divide the sum of the squares by the number of all places. Only those under the mask were "
     "summed: divide by their number.", "* mask).sum() / n", "* mask).sum() / mask.numel()"),
    ("divided_by_n_minus_one", "You divide by n - 1 (torch's `var` does so unless told otherwise). Here the variance is the mean "
     "squared distance: divide by n.", "* mask).sum() / n", "* mask).sum() / (n - 1)"),
    ("epsilon_outside_the_root", "You add 1e-8 to the standard deviation. It belongs to the variance, under the root.",
     "(variance + 1e-8).sqrt()", "variance.sqrt() + 1e-8"),
    ("no_epsilon", "Nothing keeps you from dividing by 0: where all entries are the same you get NaN. Add 1e-8 to the variance.",
     "(variance + 1e-8)", "variance"),
    ("divided_by_the_variance", "You divide by the variance. Whitened numbers have a spread of 1: divide by its square root.",
     "(variance + 1e-8).sqrt()", "variance + 1e-8"),
    ("wrong_default", "Without shift_mean your function adds the mean back. The default is True: the mean is shifted to 0.",
     "shift_mean=True", "shift_mean=False"),
    ("variance_by_the_squares", "You take the mean of the squares minus the square of the mean. Among numbers that are all the same, rounding "
     "makes that negative, and its root NaN: take the mean of (x - mean) squared.", "((values - mean).square() * mask).sum() / n",
     "values.square().sum() / n - mean.square()"),
    ("mean_not_removed", "The mean is still there, with shift_mean=True as well: subtract it.", "(values - mean) / spread", "values / spread",
     "whitened if shift_mean else whitened + mean", "whitened"),
    ("shift_mean_ignored", "shift_mean changes nothing in your function. With False, the mean has to be added back at the end.",
     "whitened if shift_mean else whitened + mean", "whitened"),
    ("mean_never_shifted", "You add the mean back in every case. Do it only with shift_mean=False.",
     "whitened if shift_mean else whitened + mean", "whitened + mean"),
    ("shift_mean_upside_down", "You add the mean back when shift_mean is True, and not when it is False. Look at the condition.",
     "if shift_mean", "if not shift_mean"),
    ("mean_kept_by_not_subtracting", "With shift_mean=False you divide the numbers as they are, so that the mean is divided as well. "
     "Subtract it, divide, and add it back: then it is where it was.", "else whitened + mean", "else values / spread"),
    ("mean_square_for_variance", "Your spread is the mean *square* of the numbers, taken before the mean is removed. The variance is "
     "the mean squared distance from the mean.", "(values - mean).square()", "values.square()"),
    ("row_by_row", "You whiten every row by itself. Then each answer looks as good as every other: mean and variance are those of the "
     "whole batch.", "mask.sum()", "mask.sum(1, keepdim=True)", "values.sum()", "values.sum(1, keepdim=True)",
     "* mask).sum()", "* mask).sum(1, keepdim=True)"),
    ("column_by_column", "You whiten every column by itself. Mean and variance are those of all entries of the batch together.",
     "mask.sum()", "mask.sum(0, keepdim=True).clamp(min=1)", "values.sum()", "values.sum(0, keepdim=True)",
     "* mask).sum()", "* mask).sum(0, keepdim=True)"),
    ("padding_left_as_it_comes", "Outside the mask your result is not 0: whatever stood there was shifted and divided too. Set it to 0 "
     "at the end.", "values = values", "raw, values = values, values", "(values - mean) / spread", "(raw - mean) / spread",
     "return whitened.masked_fill(mask == 0, 0.0)", "return whitened"),
    ("mask_as_a_factor", "You multiply by the mask to be rid of what stands outside. But 0 times NaN or infinity is NaN: replace these "
     "entries (masked_fill, torch.where).", _CLEARED, "kept = values", "values.sum() / n", "(values * mask).sum() / n",
     "return whitened.masked_fill(mask == 0, 0.0)", "return whitened * mask"),
])  # fmt: skip


# --- Exercise 4: what each model learns from


def _advantages_and_returns(rewards, values, mask, gamma, lam):
    advantages = _gae(rewards, values, mask, gamma, lam)
    returns = (advantages + values).masked_fill(mask == 0, 0.0)
    whitened = _masked_whiten(advantages, mask)
    return whitened, returns


_RETURNS = "(advantages + values).masked_fill(mask == 0, 0.0)"

changes("advantages_and_returns", _advantages_and_returns, [
    ("returns_from_whitened_advantages", "Your returns are made of the *whitened* advantages. Whitening changes mean and scale, so "
     "they are no sums of rewards any more: take the advantages as gae gave them.",
     "_gae(rewards, values, mask, gamma, lam)", "_masked_whiten(_gae(rewards, values, mask, gamma, lam), mask)",
     "_masked_whiten(advantages, mask)", "advantages"),
    ("nothing_whitened", "Your advantages are not whitened. The policy's step should not depend on the scale of the rewards.",
     "_masked_whiten(advantages, mask)", "advantages"),
    ("both_whitened", "You whiten the returns too. The value model has to learn the rewards' own scale: leave them as they are.",
     "return whitened, returns", "return whitened, _masked_whiten(returns, mask)"),
    ("returns_without_values", "Your returns are the advantages. An advantage is the distance from what the value model said: add the "
     "values again.", _RETURNS, "advantages"),
    ("values_subtracted", "You subtract the values from the advantages. They were subtracted in `gae` already: add them to undo it.",
     "advantages + values", "advantages - values"),
    ("the_other_order", "You return the two in the wrong order: first the advantages, then the returns.",
     "return whitened, returns", "return returns, whitened"),
    ("plain_sums_of_rewards", "Your returns are the discounted sums of the rewards to come. They should be advantages plus values, "
     "which lean on the value model as much as lam says; the two agree at lam = 1 only.",
     _RETURNS, "_gae(rewards, torch.zeros_like(values), mask, gamma, 1.0)"),
    ("reward_plus_value", "Your returns are rewards plus values. It is the *advantages* that are added to the values.",
     "(advantages + values)", "(rewards + values)"),
    ("values_on_the_padding", "On padding your returns are not 0: the values that stand there came in with the sum.",
     _RETURNS, "advantages + values"),
    ("masked_by_a_factor", "You multiply the returns by the mask. Where the values on padding are NaN, they stay NaN: replace them.",
     _RETURNS, "(advantages + values) * mask"),
    ("mean_not_shifted", "Your whitened advantages kept their mean (shift_mean=False). Then most tokens are praised, or most are "
     "blamed: shift it to 0.", "_masked_whiten(advantages, mask)", "_masked_whiten(advantages, mask, False)"),
    ("whitened_over_padding", "The zeros on padding count in mean and variance of your whitening: hand the mask to masked_whiten.",
     "_masked_whiten(advantages, mask)", "_masked_whiten(advantages, torch.ones_like(mask)).masked_fill(mask == 0, 0.0)"),
    ("rewards_whitened_first", "You whiten the rewards before `gae`. Then they no longer fit the values, which are in the old scale: "
     "whiten the advantages.", "_gae(rewards,", "_gae(_masked_whiten(rewards, mask),", "_masked_whiten(advantages, mask)", "advantages"),
    ("rewards_and_advantages_whitened", "You whiten the rewards before `gae`, and the advantages after it. The returns are then in "
     "another scale than the rewards: leave the rewards as they are.", "_gae(rewards,", "_gae(_masked_whiten(rewards, mask),"),
    ("whitened_row_by_row", "You whiten every row by itself. Mean and spread are those of the whole batch.", "_masked_whiten(advantages, mask)",
     "torch.cat([_masked_whiten(a[None], m[None]) for a, m in zip(advantages, mask)])"),
    ("gamma_and_lam_swapped", "You hand gamma and lam to `gae` in the wrong order.", "gamma, lam)\n    returns", "lam, gamma)\n    returns"),
])  # fmt: skip
