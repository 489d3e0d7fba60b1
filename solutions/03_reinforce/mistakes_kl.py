"""Wrong answers to chapter 03: KL, optimum and rollouts (exercises 6 to 11). A hint says what was done, why it is wrong,
where to look."""

import math  # noqa: F401 (used in a table's texts)

import torch
import torch.nn.functional as F  # noqa: F401

from autograder.judging.catalogue import changes, mistake

# --- Exercise 6: the KL term becomes a reward


def shaped(rewards, logps, ref_logps, beta):
    log_ratio = logps - ref_logps
    return (rewards - beta * log_ratio).detach()


changes("kl_shaped_rewards", shaped, [
    ("penalty_added", "The sign of the KL term is wrong: an answer is paid for being more likely than under the "
     "reference. What is more likely now than it was must *cost*: reward - beta (log p - log p_0).",
     "rewards - beta", "rewards + beta"),
    ("graph_kept", "The values are right, but gradient would flow through them. The shaped reward is a constant that "
     "weighs log p: its own gradient is zero in expectation, so detach it.", ".detach()", ""),
    ("price_forgotten", "beta is missing: the log-ratio is subtracted with the weight 1.",
     "beta * log_ratio", "log_ratio"),
    ("price_on_the_reward", "beta multiplies the reward. It is the price of the log-ratio.",
     "rewards - beta * log_ratio", "beta * rewards - log_ratio"),
    ("price_on_everything", "beta multiplies the whole difference. Only the log-ratio is multiplied by it: look at "
     "the brackets.", "rewards - beta * log_ratio", "beta * (rewards - log_ratio)"),
    ("reference_outside_the_bracket", "You wrote reward - beta log p - log p_0. Both logarithms belong in the "
     "bracket, so log p_0 comes in with plus beta.", "beta * log_ratio", "beta * logps - ref_logps"),
    ("logps_added_up", "You subtract beta (log p + log p_0). The log-ratio is a difference, log p - log p_0.",
     "logps - ref_logps", "logps + ref_logps"),
    ("reference_left_out", "The reference is missing: this penalises log p alone, which keeps the entropy high but "
     "forgets where the policy came from.", "logps - ref_logps", "logps"),
    ("ratio_of_probabilities", "You subtract the *ratio* of the probabilities. The integrand of the KL is its "
     "logarithm: do not exponentiate.", "beta * log_ratio", "beta * log_ratio.exp()"),
    ("ratio_of_log_probabilities", "You divide log p by log p_0. The logarithm of a ratio is a difference of "
     "logarithms.", "logps - ref_logps", "logps / ref_logps"),
    ("weighted_by_the_probability", "You weight the log-ratio by the probability. The samples come from the policy, "
     "so their mean is the expectation already.", "beta * log_ratio", "beta * logps.exp() * log_ratio"),
    ("mean_penalty_for_all", "Every answer pays the batch's mean log-ratio. A constant shift teaches nothing: each "
     "answer must pay for its own.", "beta * log_ratio", "beta * log_ratio.mean()"),
    ("never_below_zero", "You cut the log-ratio at 0, because a KL is never negative. Its *mean* is not; the "
     "log-ratio of a single answer may well be, and the negative ones are needed.",
     "beta * log_ratio", "beta * log_ratio.clamp(min=0)"),
    ("distance_in_both_directions", "You take the size of the log-ratio. Then an answer that has become *less* likely "
     "pays too, and the expectation is not the KL: keep the sign.", "beta * log_ratio", "beta * log_ratio.abs()"),
    ("squared_log_ratio", "You use half the squared log-ratio, the estimator k2. Its expectation is not the KL; and "
     "what stands inside the expectation of the objective is the log-ratio itself.",
     "beta * log_ratio", "beta * 0.5 * log_ratio**2"),
    ("third_estimator_in_the_reward", "You use the estimator k3 as the penalty. Its expectation is the KL, but as a "
     "reward its *gradient* is not that of the KL: use the log-ratio itself.",
     "beta * log_ratio", "beta * ((-log_ratio).exp() - 1 + log_ratio)"),
    ("rewards_overwritten", "You changed the rewards in place. They are still needed, to see how good the answers "
     "are: make a new tensor.", "(rewards - beta * log_ratio).detach()", "rewards.sub_(beta * log_ratio.detach())"),
    ("rewards_given_back", "For beta = 0 you return the rewards themselves, in the same memory. A new tensor is asked "
     "for: whoever changes the one would change the other.",
     "log_ratio = ", "if beta == 0:\n        return rewards.detach()\n    log_ratio = "),
    ("only_the_policy_detached", "Only log p of the policy is detached. The shaped reward is a constant altogether: "
     "detach the result, not one of its parts.", ").detach()", ")", "logps - ref_logps", "logps.detach() - ref_logps"),
    ("rewards_not_detached", "The penalty is a constant, the rewards still carry their graph. The shaped reward is a "
     "constant altogether: detach the result.",
     "(rewards - beta * log_ratio).detach()", "rewards - beta * log_ratio.detach()"),
    ("inverse_ratio_of_probabilities", "You subtract the ratio p_0 / p. The integrand of the KL is the logarithm of p "
     "/ p_0: do not exponentiate.", "beta * log_ratio", "beta * (-log_ratio).exp()"),
    ("price_divides", "You divide the log-ratio by beta. beta is the price of a nat: multiply.",
     "beta * log_ratio", "log_ratio / beta"),
    ("penalties_added_up", "Every answer pays the penalty of its whole row. Each must pay for its own log-ratio.",
     "beta * log_ratio", "beta * log_ratio.sum(-1, keepdim=True)"),
    ("mean_penalty_of_a_prompt", "Every answer pays the mean log-ratio of its row. That tells no answer from another: "
     "each must pay for its own.", "beta * log_ratio", "beta * log_ratio.mean(-1, keepdim=True)"),
    ("probabilities_not_logarithms", "Your penalty is a difference of probabilities. It is the difference of their "
     "logarithms: do not exponentiate.", "logps - ref_logps", "logps.exp() - ref_logps.exp()"),
    ("logarithm_of_a_quotient", "You divide probabilities and take the logarithm. Probabilities this small are 0 in "
     "floating point, and their quotient is no number: subtract the logarithms you were given.",
     "logps - ref_logps", "(logps.exp() / ref_logps.exp()).log()"),
    ("rewards_centred", "You subtract the batch's mean from the rewards. Baselines come afterwards: the rewards are "
     "used as they are.", "rewards - beta", "rewards - rewards.mean() - beta"),
    ("whole_square_of_the_log_ratio", "You subtract the squared log-ratio. What stands inside the expectation of the "
     "objective is the log-ratio itself.", "beta * log_ratio", "beta * log_ratio**2"),
    ("log_ratio_clipped", "You clip the log-ratio. An answer that the reference would never give must pay all of it.",
     "beta * log_ratio", "beta * log_ratio.clamp(-10, 10)"),
    ("one_reward_for_all", "You return one number, the mean. Each answer keeps its own reward.",
     ".detach()", ".detach().mean()"),
])  # fmt: skip

# --- Exercise 7: three estimators of the KL


def estimators(logps, ref_logps):
    d = logps - ref_logps
    k1 = d
    k2 = 0.5 * d**2
    k3 = torch.expm1(-d) + d
    return k1, k2, k3


changes("kl_estimates", estimators, [
    ("ratio_inverted", "Your log-ratio is log p_0 - log p. Samples of the policy then estimate *minus* the KL with "
     "k1, and something else with k3: d is log p - log p_0.", "logps - ref_logps", "ref_logps - logps"),
    ("first_inverted", "k1 has the wrong sign: for samples of the policy, the mean of log p_0 - log p is *minus* the "
     "KL.", "k1 = d", "k1 = -d"),
    ("third_with_the_inverted_ratio", "k3 has the ratio upside down. With samples of the policy the ratio is r = p_0 "
     "/ p = exp(-d), and k3 = r - 1 - log r = exp(-d) - 1 + d.", "expm1(-d) + d", "expm1(d) - d"),
    ("third_with_one_sign_wrong", "In k3 the ratio is right and its logarithm has the wrong sign: log r is -d, and "
     "minus log r is +d.", "expm1(-d) + d", "expm1(-d) - d"),
    ("third_with_exp_of_plus_d", "In k3 the exponent has the wrong sign: r = p_0 / p = exp(-d).",
     "expm1(-d) + d", "expm1(d) + d"),
    ("third_without_the_one", "The -1 is missing in k3. Without it, the estimate is 1 too large: the mean of r = p_0 "
     "/ p under the policy is 1.", "expm1(-d) + d", "exp(-d) + d"),
    ("third_without_the_log", "The + d is missing in k3. What is left, r - 1, has the mean zero: it only takes "
     "variance away from d.", "expm1(-d) + d", "expm1(-d)"),
    ("second_without_the_half", "The factor 1/2 is missing in k2.", "0.5 * d**2", "d**2"),
    ("second_halved_before_squaring", "In k2 the 1/2 is inside the square, which makes a quarter of it. It is (d ** "
     "2) / 2.", "0.5 * d**2", "(0.5 * d) ** 2"),
    ("first_without_sign", "You take the size of the log-ratio for k1. A single sample may say less than zero; the "
     "mean of the sizes is not the KL.", "k1 = d", "k1 = d.abs()"),
    ("first_cut_at_zero", "You cut k1 at zero. A KL is never negative, a single k1 may be, and the mean needs those, "
     "too.", "k1 = d", "k1 = d.clamp(min=0)"),
    ("estimates_averaged", "You averaged over the samples. Return an estimate for each sample: averaging, and the "
     "spread, come after.", "k1, k2, k3", "k1.mean(), k2.mean(), k3.mean()"),
    ("estimates_summed_over_a_row", "You averaged over the last axis. Return an estimate for each sample, of the "
     "shape that came in.", "k1, k2, k3", "k1.mean(-1), k2.mean(-1), k3.mean(-1)"),
    ("second_and_third_swapped", "k2 and k3 stand in each other's place. k2 is the square, k3 the one with the "
     "exponential.", "k1, k2, k3", "k1, k3, k2"),
    ("estimates_weighted_by_the_policy", "You weight by the policy's probabilities. The samples were drawn from it, "
     "so a plain mean over them is the expectation.", "k1, k2, k3", "tuple(logps.exp() * k for k in (k1, k2, k3))"),
    ("difference_of_probabilities", "Your d is a difference of probabilities. It is the difference of their "
     "logarithms: do not exponentiate.", "logps - ref_logps", "logps.exp() - ref_logps.exp()"),
    ("estimates_in_bits", "Your estimates are in bits, or the log-ratio was divided by log 2. The course counts in "
     "nats.", "logps - ref_logps", "(logps - ref_logps) / math.log(2)"),
    ("third_negated", "k3 has the wrong sign: it is exp(-d) - 1 + d, which is never negative.",
     "torch.expm1(-d) + d", "1 - torch.exp(-d) - d"),
    ("second_without_the_square", "k2 is half of |d| in your answer. It is half the *square* of d.",
     "0.5 * d**2", "0.5 * d.abs()"),
    ("second_as_the_square_of_the_mean", "You square a mean in k2. Each sample has its own: d² / 2.",
     "0.5 * d**2", "0.5 * d.mean() ** 2 + 0 * d"),
    ("reference_left_out_of_d", "The reference is missing in d. It is log p - log p_0.", "logps - ref_logps", "logps"),
    ("d_from_a_softmax", "You take a softmax or a log_softmax of the log-probabilities. They are those of samples, "
     "and log-probabilities already: d is their difference.",
     "logps - ref_logps", "logps.log_softmax(-1) - ref_logps.log_softmax(-1)"),
    ("third_never_more_than_its_limit", "You cut d before the exponential in k3. It is exp(-d) - 1 + d as it stands.",
     "torch.expm1(-d) + d", "torch.expm1(-d.clamp(-1, 1)) + d"),
    ("logps_overwritten", "You subtract from the log-probabilities in place, which the caller still needs. Make a new "
     "tensor.", "d = logps - ref_logps", "d = logps.sub_(ref_logps).clone()"),
    ("second_is_half_of_d", "The square is missing in k2: it is d² / 2.", "0.5 * d**2", "0.5 * d"),
])  # fmt: skip

# --- Exercise 8: the optimum


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

# --- Exercise 9: all of it together


def loss_of_samples(logits, ref_logits, rewards, actions, beta):
    logps, ref_logps = logits.log_softmax(-1).gather(1, actions), ref_logits.log_softmax(-1).gather(1, actions)
    drawn = rewards.gather(1, actions)
    shaped = drawn - beta * (logps - ref_logps)
    others = (shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)
    advantages = (shaped - others).detach()
    return -(advantages * logps).mean()


changes("policy_loss", loss_of_samples, [
    ("loss_with_the_penalty_added", "The KL term has the wrong sign: answers are paid for becoming likelier than "
     "under the reference. The shaped reward is reward - beta (log p - log p_0).", "drawn - beta", "drawn + beta"),
    ("loss_with_gradient_through_the_reward", "Gradient flows through the shaped reward. Its log-ratio is part of a "
     "constant that weighs log p: detach it.", ".detach()", ""),
    ("loss_with_the_penalty_differentiated", "You add beta times the mean log-ratio to the loss and differentiate it. "
     "Its gradient is beta ∇ log p, whose expectation is zero: that penalty does nothing. It belongs in the reward.",
     "drawn - beta * (logps - ref_logps)", "drawn", ".mean()", ".mean() + beta * (logps - ref_logps).mean()"),
    ("loss_without_a_penalty", "The KL term is missing: shape the rewards with it before you subtract the baseline.",
     " - beta * (logps - ref_logps)", ""),
    ("loss_with_beta_forgotten", "beta is missing: the log-ratio is subtracted with the weight 1.",
     "beta * (logps", "(logps"),
    ("loss_without_a_baseline", "The baseline is missing. The gradient is right on average, and much noisier: "
     "subtract the mean of the others.", "(shaped - others)", "shaped"),
    ("loss_with_the_own_reward_in_the_baseline", "Your baseline is the mean of all k, the answer's own reward "
     "included: it depends on the action, and the gradient comes out too small by (k-1)/k. Leave each answer out of "
     "its own baseline.",
     "(shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)", "shaped.mean(1, keepdim=True)"),
    ("loss_with_a_baseline_of_the_batch", "Your baseline is taken over the whole batch. Compare with the other "
     "answers to the same prompt: keep the shape (prompts, k) until it is subtracted.",
     "shaped.sum(1, keepdim=True)", "shaped.sum()", "shaped.shape[1]", "shaped.numel()"),
    ("loss_with_the_penalty_behind_the_baseline", "You subtract the penalty after the baseline. The shaped reward is "
     "what the objective holds: shape first, then subtract the mean of the others' *shaped* rewards.",
     "drawn - beta * (logps - ref_logps)", "drawn",
     "(shaped - others)", "(shaped - others - beta * (logps - ref_logps))"),
    ("loss_of_an_ascent", "The sign is that of an objective. This is a loss, which an optimiser makes small.",
     "return -", "return "),
    ("loss_summed_over_the_samples", "You sum over the samples. The loss is their mean: over the k of a prompt, and "
     "over the prompts.", ".mean()", ".sum()"),
    ("loss_summed_over_k", "You sum over the k samples of a prompt and average over the prompts only: the factor 1/k "
     "is missing.", ".mean()", ".sum(1).mean()"),
    ("loss_over_all_answers", "You use all answers of the table, not the ones that were drawn. Gather the "
     "log-probabilities and the rewards at `actions`.",
     "= logits.log_softmax(-1).gather(1, actions), ref_logits.log_softmax(-1).gather(1, actions)",
     "= logits.log_softmax(-1), ref_logits.log_softmax(-1)", "rewards.gather(1, actions)", "rewards"),
    ("loss_with_rewards_of_other_answers", "The rewards are those of the first k answers of the table, not of the "
     "ones that were drawn: gather them at `actions`, too.",
     "rewards.gather(1, actions)", "rewards[:, : actions.shape[1]]"),
    ("loss_of_the_reference", "The advantages weigh the log-ratio's other half: log p_0 has crept into the loss "
     "itself. Only log p of the policy is made more or less likely.",
     "advantages * logps", "advantages * (logps + ref_logps)"),
    ("loss_weighted_by_the_probability", "You weight the samples by their probabilities. They were drawn from the "
     "policy: a plain mean is the expectation.", "(shaped - others)", "((shaped - others) * logps.exp())"),
    ("loss_with_whitened_advantages", "You divide the advantages of a prompt by their standard deviation, as GRPO "
     "does. Here the plain difference is asked for.",
     "(shaped.sum(1, keepdim=True) - shaped) / (shaped.shape[1] - 1)", "shaped.mean(1, keepdim=True)",
     "(shaped - others)", "((shaped - others) / (shaped.std(1, keepdim=True) + 1e-6))"),
    ("loss_with_a_baseline_over_the_prompts", "Your baseline runs over the prompts. The others are the other answers "
     "to the *same* prompt: the axis of k.", "shaped.sum(1,", "shaped.sum(0,", "shaped.shape[1]", "shaped.shape[0]"),
    ("loss_cut_off", "The value is right, but log p is cut off from the gradient. The advantages are the constants; "
     "it is through log p that the policy learns.", "advantages * logps", "advantages * logps.detach()"),
    ("loss_summed_over_the_prompts", "You sum over the prompts and average over the k of each. The loss is the mean "
     "over all samples.", ".mean()", ".mean(1).sum()"),
    ("loss_by_broadcasting", "Every advantage met every sample's log-probability: a table came from the product. The "
     "advantages of a prompt sum to zero, so nothing is left. Both need the same shape.",
     "(advantages * logps)", "(advantages.flatten()[:, None] * logps.flatten())"),
    ("loss_of_probabilities", "You weight the advantages by probabilities. The samples were drawn from the policy: "
     "log p is what is differentiated.", "advantages * logps", "advantages * logps.exp()"),
    ("loss_with_an_entropy", "The reference is missing in the penalty: it is beta (log p - log p_0), not beta log p.",
     "(logps - ref_logps)", "logps"),
    ("loss_with_the_third_estimator", "Your penalty is the estimator k3. In the reward it is the log-ratio itself: k3 "
     "has the right mean and another gradient.",
     "(logps - ref_logps)", "(torch.expm1(ref_logps - logps) + logps - ref_logps)"),
    ("loss_left_one_out_and_divided_by_the_spread", "The difference to the others is right, then you divide it by the "
     "group's standard deviation. Here the plain difference is asked for.",
     "(shaped - others)", "((shaped - others) / (shaped.std(1, keepdim=True) + 1e-6))"),
    ("loss_divided_by_all", "You divide the sum of the others by k. The others are k - 1.",
     "(shaped.shape[1] - 1)", "shaped.shape[1]"),
    ("loss_with_advantages_of_others", "The advantages have come into another order than the log-probabilities (a "
     "transpose, or a reshape of the wrong tensor).",
     "advantages * logps", "advantages.T.reshape(logps.shape) * logps"),
    ("loss_with_only_the_policy_detached", "The advantages still carry a graph to the rewards or to the reference. They "
     "are constants altogether: detach what they come to.", "(shaped - others).detach()", "(shaped - others)",
     "(logps - ref_logps)", "(logps.detach() - ref_logps)"),
    ("loss_that_centres_the_rewards_in_place", "You change the rewards in place, which the caller still needs. Make a "
     "new tensor.", "drawn = rewards", "drawn = rewards.sub_(rewards.mean(1, keepdim=True))"),
    ("loss_of_the_log_ratio", "The advantages weigh the log-ratio. Only log p of the policy is made more or less "
     "likely: log p_0 stays in the reward.", "advantages * logps", "advantages * (logps - ref_logps)"),
    ("loss_of_a_ratio", "You multiply by the ratio exp(log p - log p, detached), which is 1. Its gradient is right; "
     "the loss asked for holds log p itself.", "advantages * logps", "advantages * (logps - logps.detach()).exp()"),
    ("loss_whitened_over_the_batch", "You whiten the advantages over the batch. Here the plain difference is asked "
     "for.",
     "(shaped - others).detach()",
     "(shaped - others).detach()\n    advantages = (advantages - advantages.mean()) / advantages.std()"),
    ("loss_of_good_answers_alone", "Answers with a negative advantage do not count in your loss. They tell what to do "
     "less of.", ".detach()", ".detach().clamp(min=0)"),
    ("loss_with_rewards_of_the_first_prompt", "The rewards are those of the first prompt for all prompts. Gather them "
     "row by row.", "rewards.gather(1, actions)", "rewards[0][actions]"),
    ("loss_as_a_plain_number", "You return a plain number (.item()). Nothing can be learned from it: return the "
     "tensor.", ".mean()", ".mean().item()"),
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
