"""Wrong answers to chapter 10's losses. Each text is the hint the student reads."""

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 3: the loss


def _grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None):
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(min=1 - clip_low, max=1 + clip_high)
    good = advantages.detach().unsqueeze(1)
    losses = -torch.minimum(ratio * good, clipped * good)
    losses = losses if extra is None else losses + extra
    losses = losses.masked_fill(mask == 0, 0.0)
    if per == "answer":
        return (losses.sum(1) / mask.sum(1)).mean()
    if per == "token":
        return losses.sum() / mask.sum()
    return losses.sum() / (max_tokens * len(mask))


_CLAMP = "ratio.clamp(min=1 - clip_low, max=1 + clip_high)"

changes("grpo_loss", _grpo_loss, [
    ("reciprocal_lower_end", "Your lower end is 1 / (1 + clip_low). It is 1 - clip_low.", "min=1 - clip_low", "min=1 / (1 + clip_low)"),
    ("one_clip_for_both_ends", "You use clip_low at both ends. The upper end is 1 + clip_high, and may be farther away.", "max=1 + clip_high",
     "max=1 + clip_low"),
    ("upper_clip_at_both_ends", "You use clip_high at both ends. The lower end is 1 - clip_low.", "min=1 - clip_low", "min=1 - clip_high"),
    ("clips_swapped", "clip_low and clip_high have changed places: clip_low belongs to the lower end.", "min=1 - clip_low", "min=1 - clip_high",
     "max=1 + clip_high", "max=1 + clip_low"),
    ("no_clip", "Nothing is clipped in your loss.", _CLAMP, "ratio"),
    ("only_the_clipped_ratio", "You use the clipped ratio alone. Where a token went the *wrong* way, it must still be pulled back: the smaller "
     "of the two products counts.", "torch.minimum(ratio * good, clipped * good)", "(clipped * good)"),
    ("maximum_for_minimum", "You take the larger of the two products. The smaller one is the careful one.", "torch.minimum", "torch.maximum"),
    ("clipped_in_log_space", "You clip the logarithm of the ratio, to -clip_low and clip_high. The ratio itself is clipped.", _CLAMP,
     "log_ratio.clamp(-clip_low, clip_high).exp()"),
    ("sign_of_the_loss", "The sign is wrong: a loss is made small, and good answers should become likelier.", "losses = -torch", "losses = torch"),
    ("ratio_upside_down", "Your ratio is old over new. It is the new probability over the old one.", "(logps - old_logps.detach())",
     "(old_logps.detach() - logps)"),
    ("no_ratio", "You use log p and not the ratio. On the first step the gradient is the same; later the clip is missing.",
     "losses = -torch.minimum(ratio * good, clipped * good)", "losses = -logps * good"),
    ("token_mean_for_sequence_mean", "For per=\"answer\" you take the mean over all tokens of the batch. First comes the mean of each answer, "
     "then the mean of those.", "return (losses.sum(1) / mask.sum(1)).mean()", "return losses.sum() / mask.sum()"),
    ("sequence_mean_for_token_mean", "For per=\"token\" you take the mean of each answer first. All tokens of the batch count alike, so that a "
     "long answer counts more.", "return losses.sum() / mask.sum()", "return (losses.sum(1) / mask.sum(1)).mean()"),
    ("constant_without_the_answers", "For per=\"constant\" you divide by max_tokens only. The number of answers belongs there too.",
     "(max_tokens * len(mask))", "max_tokens"),
    ("constant_is_the_longest", "For per=\"constant\" you divide by the length of the padded rows. That changes from batch to batch; max_tokens is "
     "given.", "(max_tokens * len(mask))", "losses.numel()"),
    ("constant_is_the_tokens", "For per=\"constant\" you divide by the number of tokens. max_tokens times the number of answers is asked for, "
     "however long they are.", "return losses.sum() / (max_tokens * len(mask))", "return losses.sum() / mask.sum()"),
    ("padding_in_the_mean", "For per=\"answer\" you divide by the length of the padded row. The tokens of the answer are counted by the mask.",
     "(losses.sum(1) / mask.sum(1)).mean()", "losses.mean()"),
    ("sum_over_the_tokens", "For per=\"answer\" you sum over the tokens of an answer. Their mean is asked for.",
     "(losses.sum(1) / mask.sum(1)).mean()", "losses.sum(1).mean()"),
    ("mask_after_exp", "You mask after exp. Where old and new are a hundred nats apart, exp is infinite, and infinity times 0 is NaN. Mask the "
     "log-ratio.", "(logps - old_logps.detach()).masked_fill(mask == 0, 0.0)", "logps - old_logps.detach()",
     "losses.masked_fill(mask == 0, 0.0)", "losses * mask"),
    ("padding_counts", "What stands on padding finds its way into your loss.", "    losses = losses.masked_fill(mask == 0, 0.0)\n", ""),
    ("extra_forgotten", "`extra` plays no part in your loss.", "losses if extra is None else losses + extra", "losses"),
    ("extra_with_the_wrong_sign", "You subtract `extra`. It is a loss like the other: it is added.", "losses + extra", "losses - extra"),
    ("extra_held_constant", "No gradient reaches `extra`. It is differentiated like the rest.", "losses + extra", "losses + extra.detach()"),
    ("extra_times_advantage", "You weigh `extra` with the advantage. It is added as it is.", "losses + extra", "losses + extra * good"),
    ("gradient_through_old_logps", "A gradient flows to old_logps. They are numbers from the past: detach them.", "old_logps.detach()", "old_logps"),
    ("gradient_through_advantages", "A gradient flows to the advantages. They are constants: detach them.", "advantages.detach()", "advantages"),
])  # fmt: skip


@mistake("grpo_loss")
def ratio_of_the_whole_answer(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None):
    """You clip the ratio of the whole answer. Each token has a ratio of its own here."""
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)
    whole = log_ratio.sum(1, keepdim=True).expand_as(log_ratio)
    return _grpo_loss(whole, torch.zeros_like(whole), advantages, mask, clip_low, clip_high, per, max_tokens, extra)


# --- Exercise 4: nine gradients


def _kl_gradient(logits, ref_logits, estimator, use):
    p = logits.softmax(-1)
    d = logits.log_softmax(-1) - ref_logits.log_softmax(-1)
    k = {"k1": d, "k2": d * d / 2, "k3": torch.exp(-d) - 1 + d}[estimator]
    dk = {"k1": torch.ones_like(d), "k2": d, "k3": 1 - torch.exp(-d)}[estimator]
    weight = {"loss": dk, "reward": k, "ratio": k + dk}[use]
    mean = (p * weight).sum(-1, keepdim=True)
    return p * (weight - mean)


changes("kl_gradient", _kl_gradient, [
    ("loss_and_reward_swapped", "\"loss\" and \"reward\" have changed places. As a loss the estimate is differentiated, as a reward it is a number.",
     '{"loss": dk, "reward": k,', '{"loss": k, "reward": dk,'),
    ("ratio_held_constant", "As \"ratio\" you differentiate the estimate only. The ratio is 1, but it has a gradient: that of log p.",
     '"ratio": k + dk', '"ratio": dk'),
    ("estimate_held_constant", "As \"ratio\" you differentiate the ratio only. The estimate has a gradient too: it is a product.",
     '"ratio": k + dk', '"ratio": k'),
    ("always_the_kls_gradient", "You return the gradient of KL(p || p_0) for each of them: what one would wish for. Look at what is "
     "differentiated, and what is only a number.", "[use]", "[use]; weight = d"),
    ("loss_means_everything", "As \"loss\" you differentiate the chances too. Samples are drawn first: how often each comes has no gradient then.",
     '{"loss": dk,', '{"loss": k + dk,'),
    ("reward_differentiated", "As \"reward\" you differentiate the price too. In the reward it is a constant.", '"reward": k,', '"reward": k + dk,'),
    ("sign_of_the_reward", "As \"reward\" your sign is that of something to be *maximised*. The price is minimised: the gradient to go down.",
     '"reward": k,', '"reward": -k,'),
    ("slope_of_k3", "The slope of k3 has the wrong sign: the derivative of exp(-d) is -exp(-d).", "1 - torch.exp(-d)}", "1 + torch.exp(-d)}"),
    ("k3_upside_down", "Your k3 has the ratio upside down: it is exp(-d) - 1 + d, with d = log p - log p_0.", "torch.exp(-d) - 1 + d",
     "torch.exp(d) - 1 - d", "1 - torch.exp(-d)}", "torch.exp(d) - 1}"),
    ("k2_without_the_half", "Your k2 has lost its half.", "d * d / 2", "d * d", '"k2": d,', '"k2": 2 * d,'),
    ("averaged_over_prompts", "You divide by the number of prompts. Each prompt has a gradient of its own here.", "return p * (weight - mean)",
     "return p * (weight - mean) / len(logits)"),
    ("weights_of_the_reference", "You weigh the answers with the chances of the reference. They are drawn from the policy.",
     "p = logits.softmax(-1)", "p = ref_logits.softmax(-1)"),
    ("mean_not_subtracted", "You return p times the weight. The gradient of log p(y) is onehot(y) - p: the mean of the weights comes off.",
     "(weight - mean)", "weight"),
    ("not_weighted", "You forget to weigh the answers with their chances.", "return p * (weight - mean)", "return weight - mean"),
    ("d_upside_down", "Your d is log p_0 - log p. It is the other way round.", "d = logits.log_softmax(-1) - ref_logits.log_softmax(-1)",
     "d = ref_logits.log_softmax(-1) - logits.log_softmax(-1)"),
    ("logits_taken_as_normalised", "You take the difference of the logits for d. They are not normalised: log_softmax first.",
     "logits.log_softmax(-1) - ref_logits.log_softmax(-1)", "logits - ref_logits"),
    ("in_single_precision", "You compute in float32. The inputs are float64, and so should the gradient be.", "return p * (weight - mean)",
     "return (p * (weight - mean)).float()"),
])  # fmt: skip


# --- Exercise 5: a KL for the loss


def _kl_term(logps, old_logps, ref_logps):
    d = logps - ref_logps.detach()
    ratio = torch.exp(logps - old_logps.detach())
    k = torch.expm1(-d) + d
    return ratio * k


changes("kl_term", _kl_term, [
    ("k3_without_the_ratio", "Your numbers are k3. They are never negative, but their *gradient* is that of KL(p_0 || p) for samples of the policy "
     "itself, and for samples of an older policy the expectation is wrong too.", "return ratio * k", "return k"),
    ("k2_as_the_penalty", "Your numbers are half the square of the log-ratio. For samples of the policy itself the gradient is right, but the "
     "expectation is not the KL, and for an older policy neither is.", "return ratio * k", "return d * d / 2"),
    ("k2_times_the_ratio", "Your numbers are the ratio times half the square of the log-ratio. Their expectation is not the KL.",
     "k = torch.expm1(-d) + d", "k = d * d / 2"),
    ("k1_times_the_ratio", "Expectation and gradient are right, but single numbers are negative: you use the log-ratio itself. What can be added "
     "to it whose mean is 0?", "k = torch.expm1(-d) + d", "k = d"),
    ("k1_alone", "You return the log-ratio. Single numbers are negative, and as a loss its gradient is 0 in expectation.", "return ratio * k", "return d"),
    ("ratio_without_gradient", "You hold the ratio constant. Then the expectation is right, and the gradient is that of another KL: the ratio is "
     "differentiated too.", "torch.exp(logps - old_logps.detach())", "torch.exp(logps - old_logps).detach()"),
    ("ratio_to_the_reference", "Your ratio is that of policy and reference. The samples come from the *older policy*: it is p over that.",
     "torch.exp(logps - old_logps.detach())", "torch.exp(d)"),
    ("ratio_is_upside_down", "Your ratio is old over new. A sample of the older policy is weighed with new over old.",
     "torch.exp(logps - old_logps.detach())", "torch.exp(old_logps.detach() - logps)"),
    ("kl_of_the_older_policy", "You measure how far the *older* policy is from the reference. It is the present one that is trained.",
     "d = logps - ref_logps.detach()", "d = old_logps.detach() - ref_logps.detach()"),
    ("kl_to_the_older_policy", "You measure the distance to the older policy. The penalty is for leaving the reference.",
     "d = logps - ref_logps.detach()", "d = logps - old_logps.detach()"),
    ("the_other_kl", "Your expectation is KL(p_0 || p), the other KL.", "k = torch.expm1(-d) + d", "k = torch.exp(-d) * -d + 1 - torch.exp(-d)"),
    ("k3_reversed", "Your k3 has the ratio upside down: its expectation is not the KL.", "k = torch.expm1(-d) + d", "k = torch.expm1(d) - d"),
    ("averaged_over_samples", "You take the mean. One number for each sample is asked for.", "return ratio * k", "return (ratio * k).mean() + 0 * k"),
    ("negative_penalty", "The sign is wrong: a penalty is a positive loss.", "return ratio * k", "return -ratio * k"),
    ("ref_not_detached", "A gradient flows to ref_logps. The reference is frozen: detach it.", "ref_logps.detach()", "ref_logps"),
    ("old_not_detached", "A gradient flows to old_logps. They are numbers from the past: detach them.", "old_logps.detach()", "old_logps"),
    ("everything_detached", "No gradient flows to logps, so nothing is learned from the penalty.", "return ratio * k", "return (ratio * k).detach() + 0 * logps"),
])  # fmt: skip


# --- Exercise 6: scored as it was drawn


def _drawn_logps(logits, tokens, temperature=1.0, top_p=1.0):
    scaled = logits / temperature
    probs = scaled.softmax(-1)
    above = (probs.unsqueeze(-2) > probs.unsqueeze(-1)).to(probs) @ probs.unsqueeze(-1)  # the sum of what is more likely
    out = (above.squeeze(-1) >= top_p) & (top_p < 1)
    kept = scaled.masked_fill(out, -torch.inf)
    logps = kept - kept.logsumexp(-1, keepdim=True)
    return logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


changes("drawn_logps", _drawn_logps, [
    ("temperature_forgotten", "The temperature plays no part: the tokens were drawn from another distribution than you score them with.",
     "scaled = logits / temperature", "scaled = logits + 0"),
    ("temperature_multiplied", "You multiply by the temperature. The logits are divided by it.", "logits / temperature", "logits * temperature"),
    ("logps_divided_at_the_end", "You divide the log-probabilities by the temperature at the end. Then they do not sum to 1: divide the logits.",
     "scaled = logits / temperature", "scaled = logits + 0", "return logps", "return logps.div(temperature)"),
    ("top_p_forgotten", "top_p plays no part: what was left out could not be drawn, and the rest is likelier than you say.", ">= top_p", ">= 2 + top_p"),
    ("not_normalised_again", "You leave tokens out and do not normalise again: what is kept has a sum below 1.",
     "logps = kept - kept.logsumexp(-1, keepdim=True)", "logps = kept - scaled.logsumexp(-1, keepdim=True)"),
    ("top_p_before_the_temperature", "You choose what is kept at temperature 1. The temperature comes first.", "probs = scaled.softmax(-1)",
     "probs = logits.softmax(-1)"),
    ("one_token_too_few", "You leave out the token with which the sum reaches top_p. It belongs to those that are kept.",
     "(above.squeeze(-1) >= top_p)", "(above.squeeze(-1) + probs > top_p)"),
    ("one_token_too_many", "You keep a token more than needed where the sum is exactly top_p.", ">= top_p", "> top_p"),
    ("rare_tokens_left_out", "With top_p = 1 you leave out very unlikely tokens: after rounding, the sum of the others is 1 already. 1 keeps all.",
     " & (top_p < 1)", ""),
    ("threshold_on_each", "You leave out tokens whose own chance is below top_p. It is the *sum* of the most likely that has to reach it.",
     "(above.squeeze(-1) >= top_p)", "(probs < top_p)"),
    ("the_least_likely_kept", "You keep the least likely tokens. The most likely are kept.", "probs.unsqueeze(-2) > probs.unsqueeze(-1)",
     "probs.unsqueeze(-2) < probs.unsqueeze(-1)"),
    ("left_out_with_logit_zero", "You set the logits of what is left out to 0. A logit of 0 has a chance like any other: -inf.", "-torch.inf", "0.0"),
    ("chances_instead", "You return chances, not their logarithms.", "return logps", "return logps.exp()"),
    ("cut_off", "No gradient flows to the logits.", "scaled = logits / temperature", "scaled = logits.detach() / temperature"),
    ("very_small_for_never", "You give tokens that could not be drawn a large negative number. It is -inf.", "return logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)",
     "return logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).clamp(min=-1e9)"),
])  # fmt: skip
