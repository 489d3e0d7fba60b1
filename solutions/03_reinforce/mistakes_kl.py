"""Wrong answers to chapter 03: KL, optimum and rollouts (exercises 6 to 11 and the open task). A hint says what was done, why it is wrong,
where to look."""

import math  # noqa: F401 (used in a table's texts)

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 6: a KL that is never negative


def third_estimate(logps, ref_logps):
    d = logps - ref_logps
    return torch.expm1(-d) + d


changes("kl_estimate", third_estimate, [
    ("ratio_inverted", "Your log-ratio is log p_0 - log p, or the exponential has the wrong sign in it: what has the mean 1 "
     "under the policy is p_0 / p = exp(-d), with d = log p - log p_0.", "logps - ref_logps", "ref_logps - logps"),
    ("log_ratio_alone", "This is k1, the log-ratio itself. It is right on average, and often negative: add something whose "
     "mean is zero.", "torch.expm1(-d) + d", "d"),
    ("log_ratio_upside_down", "This is log p_0 - log p: under the policy its mean is *minus* the KL.",
     "torch.expm1(-d) + d", "-d"),
    ("log_ratio_without_sign", "You take the size of the log-ratio. It is never negative, and its mean is not the KL: "
     "where is what you took away put back?", "torch.expm1(-d) + d", "d.abs()"),
    ("log_ratio_cut_at_zero", "You cut the log-ratio at zero. Its negative values belong to the mean: without them it is "
     "too large.", "torch.expm1(-d) + d", "d.clamp(min=0)"),
    ("half_the_square", "This is k2, half the square. It is never negative, and its mean is not the KL, only near it where "
     "policy and reference are close.", "torch.expm1(-d) + d", "0.5 * d**2"),
    ("whole_square", "This is the squared log-ratio. Its mean is not the KL.", "torch.expm1(-d) + d", "d**2"),
    ("one_sign_wrong", "You have the exponential right, and the log-ratio comes in with the wrong sign: the mean of "
     "exp(-d) - 1 is zero, so d must be *added*.", "expm1(-d) + d", "expm1(-d) - d"),
    ("exponent_with_plus", "The exponent has the wrong sign: p_0 / p is exp(-d), and its mean under the policy is 1. That "
     "of p / p_0 is more.", "expm1(-d) + d", "expm1(d) + d"),
    ("without_the_one", "The -1 is missing. The mean of p_0 / p under the policy is 1, so your estimate is 1 too large.",
     "expm1(-d) + d", "exp(-d) + d"),
    ("without_the_log_ratio", "What you return has the mean zero: it is what may be added to the log-ratio, and the "
     "log-ratio is missing.", "expm1(-d) + d", "expm1(-d)"),
    ("negated", "The sign is wrong: this is never positive.", "torch.expm1(-d) + d", "-torch.expm1(-d) - d"),
    ("half_of_what_was_to_be_added", "You add half of exp(-d) - 1. Every share of it leaves the mean right; only one makes "
     "the result never negative: at d = 0 its slope must be 0.", "torch.expm1(-d) + d", "0.5 * torch.expm1(-d) + d"),
    ("twice_what_was_to_be_added", "You add exp(-d) - 1 twice. Every share of it leaves the mean right; only one makes the "
     "result never negative: at d = 0 its slope must be 0.", "torch.expm1(-d) + d", "2 * torch.expm1(-d) + d"),
    ("the_other_direction", "This estimates KL(reference || policy), the other direction: its samples are weighted by p_0 / "
     "p. KL(policy || reference) is asked for.", "torch.expm1(-d) + d", "-d * torch.exp(-d) - torch.expm1(-d)"),
    ("averaged", "You averaged over the samples. An estimate for each sample is asked for.",
     "torch.expm1(-d) + d", "(torch.expm1(-d) + d).mean()"),
    ("averaged_over_a_row", "You averaged over the last axis. An estimate for each sample is asked for, in the shape that "
     "came in.", "torch.expm1(-d) + d", "(torch.expm1(-d) + d).mean(-1)"),
    ("weighted_by_the_policy", "You weight by the policy's probabilities. The samples were drawn from it, so a plain mean "
     "over them is the expectation.", "torch.expm1(-d) + d", "logps.exp() * (torch.expm1(-d) + d)"),
    ("difference_of_probabilities", "Your d is a difference of probabilities. Subtract the logarithms.",
     "logps - ref_logps", "logps.exp() - ref_logps.exp()"),
    ("estimates_in_bits", "Your estimates are in bits. The course counts in nats.",
     "torch.expm1(-d) + d", "(torch.expm1(-d) + d) / math.log(2)"),
    ("reference_left_out_of_d", "The reference is missing: you use log p alone.", "logps - ref_logps", "logps"),
    ("d_from_a_softmax", "You take a log_softmax of the log-probabilities. They are those of samples, and "
     "log-probabilities already.", "logps - ref_logps", "logps.log_softmax(-1) - ref_logps.log_softmax(-1)"),
    ("cut_before_the_exponential", "You cut d before the exponential. Then the mean is no longer right.",
     "expm1(-d)", "expm1(-d.clamp(-1, 1))"),
    ("logps_overwritten", "You subtract from the log-probabilities in place, which the caller still needs. Make a new "
     "tensor.", "logps - ref_logps", "logps.sub_(ref_logps).clone()"),
    ("estimates_cut_off", "The values are right, but no gradient flows through them (detach, no_grad, .item()): the page "
     "asks for one, to both arguments.", "torch.expm1(-d) + d", "(torch.expm1(-d) + d).detach()"),
])  # fmt: skip

# --- Exercise 7: the optimum


def optimum(ref_logps, rewards, beta):
    exponent = ref_logps + rewards / beta
    log_z = exponent.logsumexp(-1)
    return (exponent - log_z[:, None]).exp(), log_z


changes("optimal_policy", optimum, [
    ("reference_not_in_the_optimum", "The reference is missing: this is the softmax of reward / beta. The optimum "
     "multiplies it by p_0: add log p_0.", "ref_logps + rewards / beta", "rewards / beta"),
    ("multiplied_by_beta", "You multiply the reward by beta. A high price means to stay near the reference: the "
     "reward is *divided* by beta.", "rewards / beta", "rewards * beta"),
    ("beta_left_out", "beta is missing: exp(reward) in place of exp(reward / beta).", "rewards / beta", "rewards"),
    ("worst_answers_favoured", "The sign of the reward is wrong: the worst answers become the likely ones.",
     "ref_logps + rewards", "ref_logps - rewards"),
    ("reference_divided", "You divide by p_0 in place of multiplying. That is the optimum for the wrong sign of the "
     "KL.", "ref_logps + rewards / beta", "torch.where(ref_logps.isinf(), ref_logps, rewards / beta - ref_logps)"),
    ("everything_divided_by_beta", "You divide log p_0 by beta as well. Only the reward is divided.",
     "ref_logps + rewards / beta", "(ref_logps + rewards) / beta"),
    ("reference_as_a_probability", "You add p_0 itself to the exponent. What belongs there is its logarithm, which "
     "you were given: adding logarithms multiplies.", "ref_logps + rewards", "ref_logps.exp() + rewards"),
    ("z_without_the_logarithm", "You return Z. The function returns its logarithm, which is finite where Z is not.",
     ".exp(), log_z", ".exp(), log_z.exp()"),
    ("z_without_the_reference", "The probabilities are right, but your Z lacks p_0: it is the sum of p_0 exp(reward / "
     "beta).", ".exp(), log_z", ".exp(), (rewards / beta).logsumexp(-1)"),
    ("z_times_beta", "The probabilities are right, and in place of log Z you return beta log Z. That is the value of "
     "the optimum, and useful, but it is not what was asked.", ".exp(), log_z", ".exp(), beta * log_z"),
    ("z_of_the_mean", "Your log Z is the mean of reward / beta under the reference. The logarithm of a mean of "
     "exponentials is larger than that: use logsumexp.",
     ".exp(), log_z", ".exp(), (ref_logps.exp() * rewards / beta).sum(-1)"),
    ("normalised_over_the_prompts", "You normalise over the prompts. For each prompt the probabilities of its answers "
     "sum to one: the last axis.", "logsumexp(-1)", "logsumexp(0)", "log_z[:, None]", "log_z"),
    ("one_z_for_all", "You use one Z for all prompts. Z depends on the prompt: sum over the last axis only.",
     "exponent.logsumexp(-1)", "exponent.flatten().logsumexp(0).expand(len(rewards))"),
    ("never_normalised", "The probabilities do not sum to one: divide by Z, that is, subtract log Z before the "
     "exponential.", " - log_z[:, None]", ""),
    ("log_probabilities_of_the_optimum", "You return the optimum's log-probabilities. Probabilities are asked for.",
     ".exp()", ""),
    ("best_answer_alone", "All your probability is on the best answer. That is the limit for beta to 0: with a price "
     "on leaving the reference the optimum is spread out.", "exponent.logsumexp(-1)", "exponent.amax(-1)",
     "(exponent - log_z[:, None]).exp()", "F.one_hot(exponent.argmax(-1), rewards.shape[-1]).float()"),
    ("order_of_the_results", "You return log Z first. The probabilities come first, then log Z.",
     "(exponent - log_z[:, None]).exp(), log_z", "log_z, (exponent - log_z[:, None]).exp()"),
    ("largest_not_added_back", "The largest exponent is taken out before the exponential, which is right, and not "
     "added back to log Z.", "exponent.logsumexp(-1)", "(exponent - exponent.amax(-1, keepdim=True)).logsumexp(-1)",
     "(exponent - log_z[:, None]).exp()", "exponent.softmax(-1)"),
    ("one_largest_for_all", "You take the largest exponent of the whole table out of every row. A prompt with much "
     "lower rewards underflows then: take each row's own.",
     "exponent.logsumexp(-1)", "(exponent - exponent.max()).exp().sum(-1).log() + exponent.max()"),
    ("z_as_a_mean", "Your Z is a mean over the answers. It is their sum: p_0 is the weight already.",
     ".exp(), log_z", ".exp(), log_z - math.log(rewards.shape[-1])"),
    ("log_z_with_an_axis_more", "log Z has an axis too many, (prompts, 1). One number for each prompt, (prompts,), is "
     "asked for.", ".exp(), log_z", ".exp(), log_z[:, None]"),
    ("impossible_answers_allowed", "You keep log p_0 from being minus infinity (a clamp, or p_0 + 1e-12). An answer "
     "that the reference excludes gets probability then, if only its reward is large enough.",
     "ref_logps + rewards", "ref_logps.clamp(min=-30) + rewards"),
    ("mean_of_log_z", "You return one log Z, the mean over the prompts. Each prompt has its own.",
     ".exp(), log_z", ".exp(), log_z.mean()"),
    ("z_in_bits", "Your log Z is a logarithm to base 2. Natural logarithms are asked for.",
     ".exp(), log_z", ".exp(), log_z / math.log(2)"),
    ("softmax_of_the_reference_alone", "You return the reference. The optimum multiplies it by exp(reward / beta).",
     "ref_logps + rewards / beta", "ref_logps + 0 * rewards"),
    ("rewards_divided_in_place", "You divide the rewards in place, which the caller still needs. Make a new tensor.",
     "rewards / beta", "rewards.div_(beta)"),
    ("reference_multiplied_afterwards", "You multiply softmax(reward / beta) by p_0 and do not normalise again. Add "
     "log p_0 *before* the softmax.",
     "(exponent - log_z[:, None]).exp()", "(rewards / beta).softmax(-1) * ref_logps.exp()"),
    ("beta_kept_from_zero", "You keep beta from being small (max(beta, 0.01), or beta + a little). It may be tiny: "
     "with logsumexp nothing overflows.", "rewards / beta", "rewards / max(beta, 0.01)"),
    ("z_that_overflows", "The probabilities are right. For log Z you take exp first, which overflows or vanishes: use "
     "logsumexp.", ".exp(), log_z", ".exp(), exponent.exp().sum(-1).log()"),
    ("largest_reward_not_added_back", "The largest reward is taken out before the exponential, which is right, and "
     "not added back to log Z.", ".exp(), log_z", ".exp(), log_z - rewards.amax(-1) / beta"),
])  # fmt: skip


@mistake("optimal_policy")
def exponentials_that_overflow(ref_logps, rewards, beta):
    """exp(reward / beta) overflows for a small beta (or vanishes for very negative rewards), and the quotient is NaN.
    Stay with logarithms and use logsumexp."""
    weights = ref_logps.exp() * (rewards / beta).exp()
    z = weights.sum(-1)
    return weights / z[:, None], z.log()

# --- Exercise 8: all of it in one loss


def loss_of_samples(logps, ref_logps, rewards, mask, beta):
    log_ratio = ((logps - ref_logps) * mask).sum(-1)
    answer_logps = (logps * mask).sum(-1)
    shaped = rewards - beta * log_ratio
    others = (shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)
    advantages = (shaped - others).detach()
    return -(advantages * answer_logps).mean()


changes("policy_loss", loss_of_samples, [
    ("loss_with_the_penalty_added", "The KL term has the wrong sign: answers are paid for becoming likelier than "
     "under the reference. The shaped reward is reward - beta (log p - log p_0).", "rewards - beta", "rewards + beta"),
    ("loss_with_gradient_through_the_reward", "Gradient flows through the shaped reward. Its log-ratio is part of a "
     "constant that weighs log p: detach it.", ".detach()", ""),
    ("loss_with_the_penalty_differentiated", "You add beta times the mean log-ratio to the loss and differentiate it. "
     "Its gradient is beta ∇ log p, whose expectation is zero: that penalty does nothing. It belongs in the reward.",
     "rewards - beta * log_ratio", "rewards + 0 * log_ratio", ".mean()", ".mean() + beta * log_ratio.mean()"),
    ("loss_without_a_penalty", "The KL term is missing: shape the rewards with it before you subtract the baseline.",
     "rewards - beta * log_ratio", "rewards + 0 * log_ratio"),
    ("loss_with_beta_forgotten", "beta is missing: the log-ratio is subtracted with the weight 1.",
     "beta * log_ratio", "log_ratio"),
    ("loss_with_the_price_on_the_reward", "beta multiplies the reward. It is the price of the log-ratio.",
     "rewards - beta * log_ratio", "beta * rewards - log_ratio"),
    ("loss_without_a_baseline", "The baseline is missing. The gradient is right on average, and much noisier: "
     "subtract the mean of the others.", "(shaped - others)", "shaped"),
    ("loss_with_the_own_reward_in_the_baseline", "Your baseline is the mean of all k, the answer's own reward "
     "included: it depends on the answer, and the gradient comes out too small by (k-1)/k. Leave each answer out of "
     "its own baseline.",
     "(shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)", "shaped.mean(1, keepdim=True)"),
    ("loss_with_a_baseline_of_the_batch", "Your baseline is taken over the whole batch. Compare with the other "
     "answers to the same prompt: keep the shape (prompts, k) until it is subtracted.",
     "shaped.sum(1, keepdim=True)", "shaped.sum()", "shaped.shape[1]", "shaped.numel()"),
    ("loss_with_the_penalty_behind_the_baseline", "You subtract the penalty after the baseline. The shaped reward is "
     "what the objective holds: shape first, then subtract the mean of the others' *shaped* rewards.",
     "rewards - beta * log_ratio", "rewards + 0 * log_ratio",
     "(shaped - others)", "(shaped - others - beta * log_ratio)"),
    ("loss_of_an_ascent", "The sign is that of an objective. This is a loss, which an optimiser makes small.",
     "return -", "return "),
    ("loss_summed_over_the_samples", "You sum over the answers. The loss is their mean: over the k of a prompt, and "
     "over the prompts.", ".mean()", ".sum()"),
    ("loss_summed_over_k", "You sum over the k answers to a prompt and average over the prompts only: the factor 1/k "
     "is missing.", ".mean()", ".sum(1).mean()"),
    ("loss_summed_over_the_prompts", "You sum over the prompts and average over the k of each. The loss is the mean "
     "over all answers.", ".mean()", ".mean(1).sum()"),
    ("loss_averaged_over_the_tokens", "You divide by the number of answer tokens in the batch. The mean is over *answers*, each "
     "with the sum over its tokens.", ".mean()", ".sum() / mask.sum()"),
    ("loss_averaged_within_each_answer", "You average log p within each answer. log p(answer) is the *sum* over its tokens.",
     "(logps * mask).sum(-1)", "(logps * mask).sum(-1) / mask.sum(-1)"),
    ("loss_with_the_penalty_averaged_over_the_tokens", "Your penalty is the mean log-ratio of an answer's tokens. That of the "
     "answer is their *sum*.", "ref_logps) * mask).sum(-1)", "ref_logps) * mask).sum(-1) / mask.sum(-1)"),
    ("loss_with_padding_in_the_penalty", "What stands behind the ends counts in your penalty. Multiply the log-ratio by "
     "the mask, too.", "((logps - ref_logps) * mask)", "(logps - ref_logps)"),
    ("loss_with_padding_in_log_p", "What stands behind the ends counts in log p(answer). Nobody chose those tokens: "
     "multiply by the mask before you sum.", "(logps * mask)", "logps"),
    ("loss_with_a_baseline_over_the_prompts", "Your baseline runs over the prompts. The others are the other answers "
     "to the *same* prompt: the axis of k.", "shaped.sum(1,", "shaped.sum(0,", "shaped.shape[1]", "shaped.shape[0]"),
    ("loss_with_whitened_advantages", "You divide the advantages of a prompt by their standard deviation, as GRPO "
     "does. Here the plain difference is asked for.",
     "(shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)", "shaped.mean(1, keepdim=True)",
     "(shaped - others)", "((shaped - others) / (shaped.std(1, keepdim=True) + 1e-6))"),
    ("loss_left_one_out_and_divided_by_the_spread", "The difference to the others is right, then you divide it by the "
     "group's standard deviation. Here the plain difference is asked for.",
     "(shaped - others)", "((shaped - others) / (shaped.std(1, keepdim=True) + 1e-6))"),
    ("loss_whitened_over_the_batch", "You whiten the advantages over the batch. Here the plain difference is asked "
     "for.",
     "(shaped - others).detach()",
     "(shaped - others).detach()\n    advantages = (advantages - advantages.mean()) / advantages.std()"),
    ("loss_divided_by_all", "You divide the sum of the others by k. The others are k - 1.",
     "(shaped.shape[1] - 1)", "shaped.shape[1]"),
    ("loss_cut_off", "The value is right, but log p is cut off from the gradient. The advantages are the constants; it "
     "is through log p that the policy learns.", "(logps * mask)", "(logps.detach() * mask)"),
    ("loss_of_probabilities", "You weight the advantages by probabilities. The answers come from the policy: log p is "
     "what is differentiated.", "advantages * answer_logps", "advantages * answer_logps.exp()"),
    ("loss_of_the_reference", "log p_0 has crept into the loss itself. Only log p of the policy is made more or less "
     "likely.", "advantages * answer_logps", "advantages * (answer_logps + (ref_logps * mask).sum(-1))"),
    ("loss_of_the_log_ratio", "The advantages weigh the log-ratio. Only log p of the policy is made more or less "
     "likely: log p_0 stays in the reward.", "advantages * answer_logps", "advantages * log_ratio"),
    ("loss_of_a_ratio", "You multiply by the ratio exp(log p - log p, detached), which is 1. Its gradient is right; "
     "the loss asked for holds log p itself.",
     "advantages * answer_logps", "advantages * (answer_logps - answer_logps.detach()).exp()"),
    ("loss_with_an_entropy", "The reference is missing in the penalty: it is beta (log p - log p_0), not beta log p.",
     "(logps - ref_logps)", "logps"),
    ("loss_with_the_second_estimator", "Your penalty is half the squared log-ratio, k2. In the reward it is the log-ratio "
     "itself.", "beta * log_ratio", "beta * 0.5 * log_ratio**2"),
    ("loss_with_the_third_estimator", "Your penalty is k3, which is never negative. In the reward it is the log-ratio itself: k3 "
     "has the right mean and another gradient.", "beta * log_ratio", "beta * (torch.expm1(-log_ratio) + log_ratio)"),
    ("loss_with_k3_of_the_tokens", "Your penalty is the sum of k3 over the tokens. In the reward it is the log-ratio itself.",
     "((logps - ref_logps) * mask)", "((torch.expm1(ref_logps - logps) + logps - ref_logps) * mask)"),
    ("loss_never_paying_back", "You cut the log-ratio at 0. That of a single answer may be negative, and it is needed as it is.",
     "beta * log_ratio", "beta * log_ratio.clamp(min=0)"),
    ("loss_by_broadcasting", "Every advantage met every answer's log-probability: a table came from the product. The "
     "advantages of a prompt sum to zero, so nothing is left. Both need the same shape.",
     "(advantages * answer_logps)", "(advantages.flatten()[:, None] * answer_logps.flatten())"),
    ("loss_with_advantages_of_others", "The advantages have come into another order than the log-probabilities (a "
     "transpose, or a reshape of the wrong tensor).",
     "advantages * answer_logps", "advantages.T.reshape(answer_logps.shape) * answer_logps"),
    ("loss_with_only_the_policy_detached", "The advantages still carry a graph to the rewards or to the reference. They "
     "are constants altogether: detach what they come to.", "(shaped - others).detach()", "(shaped - others)",
     "(logps - ref_logps)", "(logps.detach() - ref_logps)"),
    ("loss_that_centres_the_rewards_in_place", "You change the rewards in place, which the caller still needs. Make a "
     "new tensor.", "rewards - beta", "rewards.sub_(rewards.mean(1, keepdim=True)) - beta"),
    ("loss_of_good_answers_alone", "Answers with a negative advantage do not count in your loss. They tell what to do "
     "less of.", ".detach()", ".detach().clamp(min=0)"),
    ("loss_as_a_plain_number", "You return a plain number (.item()). Nothing can be learned from it: return the "
     "tensor.", ".mean()", ".mean().item()"),
    ("loss_for_each_answer", "You return a number for each answer. The loss is their mean.", ".mean()", ""),
])  # fmt: skip

# --- Exercise 9: the training loop


def training(policy, optimizer, sample, loss_of, rates):
    earned = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        logps, ref_logps, rewards, mask = sample()
        loss = loss_of(logps, ref_logps, rewards, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        earned.append(rewards.mean().item())
    return earned


_CLIP = "torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)"
_RATE = "for group in optimizer.param_groups:\n            group[\"lr\"] = rate\n        "
changes("train_on_reward", training, [
    ("gradients_pile_up", "Gradients add up until they are cleared: each step also follows those of the updates before, "
     "and what was left over from before the training. Clear them before each backward pass.", "optimizer.zero_grad()", "pass"),
    ("no_gradient_at_the_step", "At the step there is no gradient: either it is cleared between backward and step, or nothing "
     "calls backward.",
     "optimizer.zero_grad()\n        loss.backward()", "loss.backward()\n        optimizer.zero_grad()"),
    ("gradients_cleared_behind_the_step", "You clear the gradients only behind the step. What the parameters still held when the "
     "training began goes into the first step: clear before the backward pass.",
     "optimizer.zero_grad()\n        loss", "loss", "optimizer.step()", "optimizer.step()\n        optimizer.zero_grad()"),
    ("never_a_step", "The optimizer never takes its step, so nothing is learned.", "optimizer.step()", "pass"),
    ("uphill", "You go up the gradient of the loss. A loss is made small.", "loss.backward()", "(-loss).backward()"),
    ("never_scaled", "At the step, long gradients are as long as they came. They are scaled to length 1, and that "
     "must happen between backward and step.",
     _CLIP, "pass"),
    ("entries_cut", "You cut every entry of the gradient on its own, which turns it. Its *length* is what is limited.",
     "clip_grad_norm_", "clip_grad_value_"),
    ("each_parameter_scaled", "You scale the gradient of each parameter on its own. The length is that of all parameters together.",
     _CLIP, "[torch.nn.utils.clip_grad_norm_([p], 1.0) for p in policy.parameters()]"),
    ("always_of_length_one", "You bring every gradient to length 1, the short ones too. Only longer ones are scaled.",
     _CLIP, "norm = " + _CLIP + "\n        for p in policy.parameters():\n            p.grad /= norm.clamp(max=1.0)"),
    ("another_limit", "Your limit for the length of the gradient is another than 1.", "1.0)", "5.0)"),
    ("rates_unused", "The learning rates are not used: the optimizer keeps its own.", _RATE, ""),
    ("rate_of_the_first_group", "Only the first group of the optimizer gets the rate. There may be several.",
     "optimizer.param_groups:", "optimizer.param_groups[:1]:"),
    ("rate_one_late", "The rate is set behind the step, so every update has that of the one before.", _RATE, "",
     "optimizer.step()", "optimizer.step()\n        for group in optimizer.param_groups:\n            group[\"lr\"] = rate"),
    ("the_first_rate_for_all", "All updates have the first rate.", "= rate\n", "= rates[0]\n"),
    ("the_same_answers_again", "The policy answers once for all updates. After an update it is another policy: draw new answers "
     "from it each time. (And a graph can be gone through only once.)",
     "earned = []", "earned = []\n    logps, ref_logps, rewards, mask = sample()",
     "        logps, ref_logps, rewards, mask = sample()\n        loss", "        loss"),
    ("answers_drawn_twice", "You call sample() twice an update. The answers that are paid are then not those whose log p you "
     "differentiate.", "mask = sample()", "mask = sample()\n        rewards = sample()[2]"),
    ("answers_drawn_for_the_mean", "You draw once more for the mean reward. It is that of the answers the update has "
     "learned from.", "rewards.mean()", "sample()[2].mean()"),
    ("losses_kept", "You keep the losses. The mean *rewards* are asked for: the loss's value says nothing here.",
     "rewards.mean()", "loss"),
    ("rewards_summed", "You keep the sums of the rewards. Their means are asked for.", "rewards.mean()", "rewards.sum()"),
    ("the_last_reward_alone", "You return the last mean reward alone. A list is asked for, with one an update.",
     "return earned", "return earned[-1]"),
    ("rewards_as_tensors", "Your list holds tensors. Plain numbers are asked for: .item().", ".item()", ""),
    ("one_update_too_few", "There is one update too few: as many as rates are asked for.", "in rates:", "in rates[1:]:"),
    ("best_reward_kept", "You keep the best reward of each batch. The mean is asked for.", "rewards.mean()", "rewards.max()"),
    ("reference_and_policy_swapped", "logps and ref_logps change places on the way from sample to loss_of: they are "
     "passed on in the same order.", "loss_of(logps, ref_logps,", "loss_of(ref_logps, logps,"),
    ("step_twice", "The optimizer takes two steps an update. One is asked for.",
     "optimizer.step()", "optimizer.step()\n        optimizer.step()"),
])  # fmt: skip

# --- Exercise 10: where an answer ends


def mask_of_answers(tokens, end_id):
    is_end = (tokens == end_id).long()
    ends_before = is_end.cumsum(1) - is_end
    return (ends_before == 0).long()


changes("answer_mask", mask_of_answers, [
    ("end_not_counted", "The end token itself is not counted. The policy chose to end there, and that choice has a "
     "log-probability like any other.", "is_end.cumsum(1) - is_end", "is_end.cumsum(1)"),
    ("every_token_counted", "Everything counts, the padding behind the end too. The policy did not choose those "
     "tokens.", "(ends_before == 0).long()", "torch.ones_like(tokens)"),
    ("everything_but_the_end", "You compare each token with end_id, so whatever stands *behind* the end counts. Look "
     "for the first end token of a row, and take everything up to it.", "ends_before == 0", "tokens != end_id"),
    ("only_the_end_counted", "Only end tokens count. The answer is everything up to the first of them.",
     "ends_before == 0", "tokens == end_id"),
    ("end_counted_everywhere", "You count all end tokens, also those behind the first. Where padding has the id of "
     "the end token, padding counts then.", "ends_before == 0", "(ends_before == 0) | (tokens == end_id)"),
    ("up_to_the_last_end", "You go up to the *last* end token of a row. The answer is over at the first.",
     "ends_before == 0", "(is_end.flip(1).cumsum(1).flip(1) > 0) | (is_end.sum(1, keepdim=True) == 0)"),
    ("one_token_too_many", "You count one token behind the end. The end token is the last that belongs to the answer.",
     "is_end.cumsum(1) - is_end", "F.pad(is_end, (2, 0))[:, :-2].cumsum(1)"),
    ("mask_inverted", "Your mask is upside down: 1 behind the end. It marks what counts.",
     "ends_before == 0", "ends_before > 0"),
    ("as_long_as_the_longest", "All rows have the length of the longest answer. Each row ends at its own end token.",
     "(ends_before == 0)", "(ends_before == 0).any(0, keepdim=True).expand_as(tokens)"),
    ("as_long_as_the_shortest", "All rows have the length of the shortest answer. Each row ends at its own end token.",
     "(ends_before == 0)", "(ends_before == 0).all(0, keepdim=True).expand_as(tokens)"),
    ("argmax_without_an_end", "In a row without an end token, argmax finds \"no end anywhere\" at place 0, so that "
     "only its first token counts. Such an answer was cut off, and all of it counts.",
     "ends_before == 0", "torch.arange(tokens.shape[1]) <= is_end.argmax(1, keepdim=True)"),
    ("nothing_without_an_end", "A row without an end token counts for nothing. It is an answer that was cut off, and "
     "the policy did choose its tokens.", "ends_before == 0", "(ends_before == 0) & (is_end.sum(1, keepdim=True) > 0)"),
    ("zeros_taken_for_padding", "You count every token that is not 0. Which id padding has, and whether 0 is a word, "
     "is not known here: go by the first end token.", "ends_before == 0", "tokens != 0"),
    ("length_in_place_of_a_mask", "You return the lengths of the answers. A mask of the shape of the tokens is asked "
     "for.", "0).long()", "0).long().sum(1)"),
    ("up_to_the_second_end", "A running sum that may be 0 or 1 goes on behind the first end, up to a second one. "
     "Count how many ends stand *before* a token: none.", "ends_before == 0", "is_end.cumsum(1) <= 1"),
    ("ends_counted_over_the_batch", "Your running sum goes down the batch. It must go along the row.",
     "is_end.cumsum(1) - is_end", "is_end.cumsum(0) - is_end"),
    ("end_of_the_first_row", "All rows end where the first one does. Each row has an end of its own.",
     "(ends_before == 0)", "(ends_before[:1] == 0).expand_as(tokens)"),
    ("before_the_argmax", "You count the places below argmax: that leaves out the end token itself, and in a row "
     "without one it counts nothing.",
     "ends_before == 0", "torch.arange(tokens.shape[1]) < is_end.argmax(1, keepdim=True)"),
    ("places_returned", "You return places or token ids where the answer stands. A mask is 1 there.",
     "return (ends_before == 0).long()", "return (ends_before == 0).long() * tokens"),
    ("last_end_dropped", "You drop the last token of every row, whether it belongs to the answer or not. A row "
     "without an end counts as a whole.", "(ends_before == 0)", "F.pad((ends_before == 0)[:, :-1], (0, 1))"),
    ("tokens_overwritten_by_the_mask", "You make the tokens into a mask in place, which the caller still needs. Make "
     "a new tensor.", "(tokens == end_id).long()", "tokens.eq_(end_id)"),
])  # fmt: skip

# --- Exercise 11: log-probabilities of a rollout


def token_logps(model, input_ids, attention_mask, tokens, mask):
    rows = torch.cat([input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, input_ids.shape[1] - 1 : -1]
    logps = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    return logps * mask


changes("rollout_logps", token_logps, [
    ("logits_not_shifted", "You read log p of a token at its own place, where the model has seen it already and "
     "predicts the next one. Begin with the logits at the *last token of the prompt*.",
     "input_ids.shape[1] - 1 : -1", "input_ids.shape[1] :"),
    ("logits_one_too_early", "You read the logits one place too early: they predict the token before. The logits at "
     "the last token of the prompt predict the answer's first token.",
     "input_ids.shape[1] - 1 : -1", "input_ids.shape[1] - 2 : -2"),
    ("pad_tokens_counted", "The log-probabilities of padding are still there. Nobody chose those tokens: they are 0 "
     "behind the end.", "logps * mask", "logps"),
    ("padding_looked_at", "The model looked at the padding in front of the prompts: an attention mask is missing, or "
     "is 1 where it should be 0. Join the prompts' mask and one for the new tokens.", ", attention_mask=seen", ""),
    ("prompt_forgotten", "The model read only the end of the prompt. log p of an answer is given the *whole* prompt: "
     "join prompt and answer to one row.",
     "rows = ", "input_ids, attention_mask = input_ids[:, -1:], attention_mask[:, -1:]\n    rows = "),
    ("probabilities_in_place_of_logs", "You return probabilities. Their logarithms are asked for: log_softmax.",
     "logps * mask", "logps.exp() * mask"),
    ("logits_returned", "You return logits. They are log-probabilities only up to a constant for each place: take "
     "log_softmax over the vocabulary.", "logits.log_softmax(-1)", "logits"),
    ("signs_of_a_loss", "The sign is wrong: this is -log p, as cross-entropy gives it. A log-probability is never "
     "above 0.", "logps * mask", "-logps * mask"),
    ("summed_to_answers", "You summed over the tokens. Here log p of each token is asked for, (batch, new); the sum "
     "comes in the loss.", "logps * mask", "(logps * mask).sum(-1)"),
    ("running_sums", "You return running sums. Each entry is log p of that one token given what stands before it.",
     "logps * mask", "logps.cumsum(-1) * mask"),
    ("likeliest_token", "You take the largest log-probability at each place. The one of the token that was *sampled* "
     "is asked for: gather it with `tokens`.", ".gather(-1, tokens[..., None])[..., 0]", ".amax(-1)"),
    ("softmax_over_the_places", "Your softmax runs over the places of the row. The distribution at a place is over "
     "the vocabulary, the last axis.", ".logits[:", ".logits.log_softmax(1)[:", "logits.log_softmax(-1)", "logits"),
    ("end_left_out", "The last token of each answer has log p = 0 in your result. It is the end mark, and the policy "
     "chose it: count whatever the mask marks.", "logps * mask", "logps * mask * F.pad(mask[:, 1:].long(), (0, 1))"),
    ("mask_the_wrong_way_round", "You kept what stands behind the answers and set the answers to 0. The mask is 1 on "
     "what counts.", "logps * mask", "logps * (1 - mask.long())"),
    ("no_gradient_to_the_model", "The values are right, but no gradient reaches the model (no_grad or detach). The "
     "policy's log-probabilities are what the loss is made of; only the reference's are constants.",
     "logps * mask", "logps.detach() * mask"),
    ("divided_by_the_length", "You divided by the length of the answer. log p of each token is asked for as it is.",
     "logps * mask", "logps * mask / mask.sum(-1, keepdim=True)"),
    ("new_tokens_hidden", "Your attention mask is 0 on the new tokens, so they cannot see each other. Each is given "
     "*everything* before it: ones, or the answers' mask, behind the prompts' mask.",
     "torch.ones_like(tokens)", "torch.zeros_like(tokens)"),
    ("mask_from_the_ids", "You make the attention mask from the token ids. Which id padding has is not known here, "
     "and it may be a word as well: use the mask that is passed.",
     "torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)", "(rows != 0).long()"),
    ("answers_known_by_their_ids", "You set to 0 where the *id* is 0, not where the mask is. Which id padding has is "
     "not known here.", "logps * mask", "logps * (tokens != 0)"),
    ("answers_without_their_prompt", "The model read the new tokens alone. log p of an answer is given the prompt: "
     "join prompt and answer to one row.", "torch.cat([input_ids, tokens], dim=1)", "tokens",
     "torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)", "torch.ones_like(tokens)",
     "[:, input_ids.shape[1] - 1 : -1]", ""),
    ("softmax_over_the_new_places", "Your softmax runs over the places of the answer. The distribution at a place is "
     "over the vocabulary, the last axis.", "log_softmax(-1)", "log_softmax(1)"),
    ("softmax_over_the_batch", "Your softmax runs over the batch. The distribution at a place is over the vocabulary, "
     "the last axis.", "log_softmax(-1)", "log_softmax(0)"),
    ("prompts_padded_on_the_right", "You take each prompt's last token to be at the sum of its mask, as if the "
     "padding came behind it. It stands in front: all prompts end at the same place.",
     ".logits[:, input_ids.shape[1] - 1 : -1]",
     ".logits\n    places = attention_mask.sum(1, keepdim=True) - 1 + torch.arange(tokens.shape[1])\n    logits = logits[torch.arange(len(rows))[:, None], places]"),
    ("mean_over_the_answers_tokens", "You return one number for each answer, the mean. log p of each token is asked "
     "for, (batch, new).", "logps * mask", "(logps * mask).sum(-1) / mask.sum(-1)"),
    ("rollout_in_bits", "Your logarithms are to base 2. Natural ones are asked for.",
     "logps * mask", "logps / math.log(2) * mask"),
    ("padding_overwritten", "You overwrite the padding of the tokens in place, which the caller still needs. Make a "
     "new tensor.", "rows = torch", "tokens[mask == 0] = 0\n    rows = torch"),
    ("never_behind_the_end", "Behind the end you have a very large negative number, as if those tokens were "
     "impossible. 0 is asked for: they do not count.", "logps * mask", "logps.masked_fill(mask == 0, -1e9)"),
])  # fmt: skip

# --- Open task: the quietest gradient. None of these is named; each must miss a bar.


def plain(logits, reward_of, k, generator):
    probs = logits.softmax(-1)
    drawn = torch.multinomial(probs, k, replacement=True, generator=generator)
    weights = reward_of(drawn)
    return (weights[..., None] * (F.one_hot(drawn, probs.shape[1]) - probs[:, None])).mean(1)


@mistake("quiet_gradient")
def quiet_plain_samples(logits, reward_of, k, generator):
    """Plain samples."""
    return plain(logits, reward_of, k, generator)


@mistake("quiet_gradient")
def quiet_leave_one_out(logits, reward_of, k, generator):
    """Plain samples with leave-one-out: two bars of four."""
    return plain(logits, lambda drawn: _centred(reward_of(drawn)) * k / (k - 1), k, generator)


@mistake("quiet_gradient")
def quiet_with_the_own_reward(logits, reward_of, k, generator):
    """The mean of the group as baseline: a bias."""
    return plain(logits, lambda drawn: _centred(reward_of(drawn)), k, generator)


def _centred(rewards):
    return rewards - rewards.mean(1, keepdim=True)


@mistake("quiet_gradient")
def quiet_nothing(logits, reward_of, k, generator):
    """No noise, and no gradient."""
    return torch.zeros_like(logits)


@mistake("quiet_gradient")
def quiet_without_replacement(logits, reward_of, k, generator):
    """Drawn without replacement and averaged as if with it: a bias."""
    probs = logits.softmax(-1)
    drawn = torch.multinomial(probs, k, generator=generator)
    weights = _centred(reward_of(drawn)) * k / (k - 1)
    return (weights[..., None] * (F.one_hot(drawn, probs.shape[1]) - probs[:, None])).mean(1)


@mistake("quiet_gradient")
def quiet_likeliest_alone(logits, reward_of, k, generator):
    """The k likeliest answers, their probabilities normalised: always the same bias."""
    probs = logits.softmax(-1)
    drawn = probs.topk(k, dim=-1).indices
    shares, rewards = probs.gather(1, drawn), reward_of(drawn)
    baseline = (shares * rewards).sum(-1, keepdim=True) / shares.sum(-1, keepdim=True)
    return ((shares * (rewards - baseline))[..., None] * (F.one_hot(drawn, probs.shape[1]) - probs[:, None])).sum(1)


@mistake("quiet_gradient")
def quiet_likeliest_two_for_certain(logits, reward_of, k, generator):
    """The two likeliest answers for certain, two of the others by chance: right on average, three bars of four."""
    probs = logits.softmax(-1)
    top = probs.topk(2, dim=-1).indices
    rest = probs.scatter(1, top, 0.0)
    drawn = torch.cat([top, torch.multinomial(rest, k - 2, replacement=True, generator=generator)], dim=1)
    rewards, sure = reward_of(drawn), probs.gather(1, top)
    shares = torch.cat([sure, (rest.sum(-1, keepdim=True) / (k - 2)).expand(-1, k - 2)], dim=1)
    baseline = (shares * rewards)[:, :2].sum(-1, keepdim=True) / sure.sum(-1, keepdim=True)
    return ((shares * (rewards - baseline))[..., None] * (F.one_hot(drawn, probs.shape[1]) - probs[:, None])).sum(1)


@mistake("quiet_gradient")
def quiet_spread_evenly(logits, reward_of, k, generator):
    """Samples spread evenly over the distribution, without a baseline: right, and too noisy for all bars."""
    probs = logits.softmax(-1)
    places = (torch.rand(len(probs), 1, generator=generator) + torch.arange(k)) / k
    drawn = torch.searchsorted(probs.cumsum(-1), places).clamp(max=probs.shape[1] - 1)
    return (reward_of(drawn)[..., None] * (F.one_hot(drawn, probs.shape[1]) - probs[:, None])).mean(1)


@mistake("quiet_gradient")
def quiet_from_all_rewards(logits, reward_of, k, generator):
    """Asks for all ten rewards: more than are allowed."""
    rewards = reward_of(torch.arange(logits.shape[1]).expand(len(logits), -1))
    probs = logits.softmax(-1)
    return probs * (rewards - (probs * rewards).sum(-1, keepdim=True))


@mistake("quiet_gradient")
def quiet_by_looking_into_the_till(logits, reward_of, k, generator):
    """Takes the rewards from where they are kept, without asking."""
    rewards = next(x for x in vars(reward_of).values() if torch.is_tensor(x) and x.is_floating_point())
    probs = logits.softmax(-1)
    return probs * (rewards - (probs * rewards).sum(-1, keepdim=True))


@mistake("quiet_gradient")
def quiet_with_a_guessed_baseline(logits, reward_of, k, generator):
    """Plain samples with a guessed constant as the baseline: right, and not quiet enough for all bars."""
    return plain(logits, lambda drawn: reward_of(drawn) - 4.0, k, generator)
