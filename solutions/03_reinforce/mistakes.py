"""Wrong answers to chapter 03: the world that can be listed (exercises 1 to 5). A hint says what was done, why it is wrong,
where to look."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: the objective


def objective(logits, ref_logits, rewards, beta):
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    probs = logps.exp()
    expected = (probs * rewards).sum(-1)
    kl = (probs * (logps - ref_logps)).sum(-1)
    return (expected - beta * kl).mean()


changes("exact_objective", objective, [
    ("kl_added", "The KL term is *added* to the reward: with this sign the policy is paid for leaving the reference. "
     "It is a penalty: minus beta KL.", "expected - beta * kl", "expected + beta * kl"),
    ("kl_the_other_way", "Your KL is that of the reference from the policy, KL(reference || policy). The expectation "
     "in it must be the policy's, as that of the reward is: KL(policy || reference).",
     "kl = (probs * (logps - ref_logps))", "kl = (ref_logps.exp() * (ref_logps - logps))"),
    ("log_ratio_weighted_by_the_reference", "You average the log-ratio log p - log p_0 under the *reference*. In "
     "KL(policy || reference) answers are weighted by the policy's own probabilities.",
     "kl = (probs", "kl = (ref_logps.exp()"),
    ("beta_forgotten", "beta is missing: the penalty has the weight 1 whatever beta is.", "beta * kl", "kl"),
    ("beta_times_the_reward", "beta multiplies the reward in your objective. It is the price of a nat of KL: multiply "
     "the penalty by it.", "expected - beta * kl", "beta * expected - kl"),
    ("beta_divides", "You divide the penalty by beta. That belongs to the optimum, exp(Q / beta); in the objective "
     "beta multiplies.", "beta * kl", "kl / (beta or 1)"),
    ("penalty_left_out", "Your objective is the expected reward alone. The penalty -beta KL(policy || reference) is "
     "missing.", " - beta * kl", ""),
    ("penalty_summed_over_the_prompts", "The reward is averaged over the prompts, and the KL is summed over them. "
     "Each prompt has a KL of its own: average both.", "beta * kl", "beta * kl.sum()"),
    ("summed_over_the_prompts", "You sum over the prompts. J is an average over prompts: then it does not grow with "
     "their number.", ".mean()", ".sum()"),
    ("averaged_over_the_answers", "You take the mean over the answers of probability times value. The probabilities "
     "are the weights already: an expectation is the *sum* over the answers.", "rewards).sum(-1)", "rewards).mean(-1)",
     "ref_logps)).sum(-1)", "ref_logps)).mean(-1)"),
    ("penalty_averaged_over_the_answers", "Your KL is divided by the number of answers as well (as `F.kl_div` with "
     "reduction=\"mean\" does). Sum over the answers, then average over the prompts.",
     "ref_logps)).sum(-1)", "ref_logps)).mean(-1)"),
    ("all_answers_equally_likely", "You average the rewards as if all answers were equally likely. Weight each by the "
     "policy's probability of it.", "(probs * rewards).sum(-1)", "rewards.mean(-1)"),
    ("answers_of_the_reference", "You average the rewards under the reference. The answers are the *policy's*: their "
     "distribution is what is being optimised.", "(probs * rewards)", "(ref_logps.exp() * rewards)"),
    ("softmax_over_the_prompts", "Your softmax runs over the prompts. For each prompt the probabilities of its "
     "*answers* sum to one: the last axis.",
     "= logits.log_softmax(-1), ref_logits.log_softmax(-1)", "= logits.log_softmax(0), ref_logits.log_softmax(0)"),
    ("logits_for_log_probabilities", "Your log-ratio is a difference of logits. Logits are log-probabilities up to a "
     "constant for each prompt, and that constant does not cancel: take log_softmax of both.",
     "(logps - ref_logps)", "(logits - ref_logits)"),
    ("logarithm_of_a_softmax", "You take the logarithm of a softmax, or the softmax by hand. In floating point a "
     "probability may be 0, whose logarithm is minus infinity, or an exponential infinite, and NaN comes out: use "
     "log_softmax.",
     "= logits.log_softmax(-1), ref_logits.log_softmax(-1)",
     "= logits.softmax(-1).log(), ref_logits.softmax(-1).log()"),
    ("entropy_for_kl", "You penalise E[log p], which is the negative entropy. The KL compares with the reference: log "
     "p - log p_0.", "(logps - ref_logps)", "logps"),
    ("a_loss_returned", "You returned -J. The function is the objective, which is to be made large; an optimiser that "
     "minimises can be given its negative.", "return (", "return -("),
    ("a_number_for_each_prompt", "You return a value for each prompt. J is their mean, one number.", ".mean()", ""),
    ("probabilities_held_constant", "The value is right, but the probabilities that weight the answers are cut off "
     "from the gradient. In this exact objective they are the part that matters: do not detach them.",
     "logps.exp()", "logps.exp().detach()"),
    ("no_gradient_at_all", "The value is right, but it is cut off from the logits (.item(), .detach() or no_grad), so "
     "nothing can be learned from it.", "= logits.log_softmax", "= logits.detach().log_softmax"),
    ("smallest_probability_in_the_logarithm", "You keep the logarithm finite by a smallest probability (clamp, or + "
     "1e-12). What is rarer than that gets a wrong penalty; log_softmax needs no such help.",
     "= logits.log_softmax(-1), ref_logits.log_softmax(-1)",
     "= (x.softmax(-1).clamp(min=1e-12).log() for x in (logits, ref_logits))"),
    ("reference_taken_as_normalised", "You take the logits of the reference for its log-probabilities. They are so "
     "only up to a constant for each prompt: log_softmax.", "(logps - ref_logps)", "(logps - ref_logits)"),
    ("policy_taken_as_normalised", "In the log-ratio you take the policy's logits for log-probabilities. They are so "
     "only up to a constant for each prompt: log_softmax.", "(logps - ref_logps)", "(logits - ref_logps)"),
    ("reward_averaged_over_the_answers", "The KL is right. The reward is divided by the number of answers: the "
     "probabilities are the weights already, so *sum* over the answers.", "rewards).sum(-1)", "rewards).mean(-1)"),
    ("reward_summed_over_the_prompts", "The KL is averaged over the prompts, and the reward is summed over them. "
     "Average both.", "(expected - beta", "(expected.sum() - beta"),
    ("objective_in_bits", "Your KL is in bits (log2, or divided by log 2). It is asked for in nats.",
     "beta * kl", "beta * kl / 0.6931471805599453"),
    ("ratio_without_its_logarithm", "Your penalty is the expected *ratio* of the probabilities. The KL is the "
     "expectation of its logarithm.", "(logps - ref_logps)", "(logps - ref_logps).exp()"),
    ("log_ratio_without_its_sign", "You take the size of the log-ratio, or of its product with p. Answers that have "
     "become less likely count with minus: the KL is their sum as it is.",
     "(logps - ref_logps)", "(logps - ref_logps).abs()"),
    ("policy_not_in_the_penalty", "Your log-ratios are added without the probabilities of the answers. The KL is an "
     "expectation: weight each by the policy's probability.", "(probs * (logps - ref_logps))", "(logps - ref_logps)"),
    ("penalty_held_constant", "The value is right, but the KL is cut off from the gradient: the policy would be free "
     "to leave the reference.", "ref_logps)).sum(-1)", "ref_logps)).sum(-1).detach()"),
    ("rewards_weighted_in_place", "You weight the rewards by the probabilities in place, which the caller still "
     "needs. Make a new tensor.", "(probs * rewards)", "rewards.mul_(probs)"),
    ("logits_never_normalised", "You take exp(logits) for probabilities. They do not sum to one: softmax, and "
     "log_softmax for their logarithms.",
     "= logits.log_softmax(-1), ref_logits.log_softmax(-1)", "= logits, ref_logits"),
    ("a_plain_number", "You return a plain number (.item()). Nothing can be learned from it: return the tensor.",
     ".mean()", ".mean().item()"),
    ("first_prompt_alone", "You return the value of the first prompt. J is the mean over all of them.",
     ".mean()", "[0]"),
])  # fmt: skip

# --- Exercise 2: the gradient


def gradient(logits, values):
    probs, values = logits.softmax(-1).detach(), values.detach()
    expected = (probs * values).sum(-1, keepdim=True)
    return probs * (values - expected) / len(logits)


changes("score_function_gradient", gradient, [
    ("logits_taken_for_log_probabilities", "Your gradient is p f. For the probability of an answer all logits matter, "
     "the others through the softmax's denominator: ∇ log p(a) is one-hot(a) - p, not one-hot(a).",
     "(values - expected)", "values"),
    ("gradient_downhill", "The sign is that of a loss. This is the gradient of an expectation that is to become large.",
     "(values - expected)", "(expected - values)"),
    ("gradient_summed_over_the_prompts", "You sum over the prompts. The objective is their mean, so the gradient is "
     "divided by the number of prompts.", " / len(logits)", ""),
    ("gradient_averaged_over_the_answers", "You divide by the number of answers too. The expectation over the answers "
     "is weighted by p, and needs no other divisor.", "len(logits)", "logits.numel()"),
    ("gradient_divided_by_the_answers", "You divide by the number of answers where the number of prompts belongs.",
     "len(logits)", "logits.shape[-1]"),
    ("diagonal_alone", "Your gradient is p (1 - p) f: only the effect of a logit on its own answer. It also makes "
     "every *other* answer less likely, and those have values too.", "(values - expected)", "(1 - probs) * values"),
    ("scores_not_weighted_by_the_policy", "You add f(a) ∇ log p(a) over the answers without their probabilities. It "
     "is an expectation: weight each answer by p(a).",
     "probs * (values - expected)", "(values - probs * values.sum(-1, keepdim=True))"),
    ("scores_weighted_equally", "You average f(a) ∇ log p(a) over the answers as if they were equally likely. Weight "
     "each answer by p(a).",
     "probs * (values - expected) / len(logits)", "(values - probs * values.sum(-1, keepdim=True)) / logits.numel()"),
    ("probability_counted_twice", "p enters twice: you took E[f ∇p]. Either sum f ∇p over the answers, or take the "
     "expectation of f ∇ log p, which is the same.", "expected = ", "values = probs * values\n    expected = "),
    ("gradient_softmax_over_the_prompts", "Your softmax runs over the prompts. The answers to one prompt are what the "
     "probabilities are about: the last axis.", ".softmax(-1)", ".softmax(0)", ".sum(-1,", ".sum(0,"),
    ("scores_without_values", "What comes out is zero, as E[c ∇ log p] is for every policy: either f is missing, or "
     "every answer of a prompt gets the same number, such as the expected value. f(a) belongs to its own answer.",
     "(probs * values).sum", "probs.sum", "(values - expected)", "(1 - expected)"),
    ("plain_mean_subtracted", "You subtract the plain mean of the values. What the formula holds is their mean *under "
     "the policy*, sum p f.", "(probs * values).sum(", "values.mean("),
    ("mean_over_all_prompts_subtracted", "You subtract one expected value for all prompts. Each prompt has a "
     "distribution of its own: keep the sum over the answers of each row.",
     ".sum(-1, keepdim=True)", ".sum(-1).mean()"),
    ("advantages_not_weighted", "You return f(a) minus its expectation without the probability of a: the factor p(a) "
     "is missing.", "probs * (values", "(values"),
    ("probability_not_in_the_expectation", "You subtract the plain *sum* of the values. What is subtracted from f(a) "
     "is its expectation, sum p f.", "(probs * values).sum", "values.sum"),
    ("log_probabilities_for_probabilities", "You weight the answers by log p. The expectation is weighted by p "
     "itself; ∇ log p is one-hot(a) - p.", "return probs *", "return probs.log() *"),
    ("softmax_by_hand", "exp of a large logit overflows, and the quotient is NaN. softmax takes the largest logit out "
     "first.", "logits.softmax(-1).detach()", "(logits.exp() / logits.exp().sum(-1, keepdim=True)).detach()"),
    ("scores_squared", "Your gradient is p (f - E f) (1 - p), or p enters one time too often. Summed over all "
     "answers, entry b is p(b) (f(b) - E f) and nothing else.",
     "(values - expected)", "(1 - probs) * (values - expected)"),
    ("other_answers_alone", "Only the part through the denominator is there, -p E[f]. An answer's own logit counts "
     "too: + p(b) f(b).", "(values - expected)", "-expected"),
    ("values_centred_in_place", "You subtract the expectation from the values in place, which the caller still needs. "
     "Make a new tensor. (.detach() shares memory.)", "(values - expected)", "values.sub_(expected)"),
    ("expectation_divided_by_the_answers", "What you subtract from f(a) is divided by the number of answers: a mean "
     "of p f. The probabilities are the weights already: their sum is the expectation.",
     "(probs * values).sum(", "(probs * values).mean("),
    ("gradient_with_an_axis_more", "An axis of length one is left over from a product. Squeeze it: the gradient has "
     "the shape of the logits.", "len(logits)", "len(logits)",
     "return probs * (values - expected)", "return (probs * (values - expected))[..., None]"),
    ("weights_differentiated_too", "You differentiate the weight p as well: the gradient of sum p f log p. In E[f ∇ "
     "log p] the p in front is a constant.",
     "probs * (values - expected)",
     "probs * ((1 + probs.log()) * values - (probs * (1 + probs.log()) * values).sum(-1, keepdim=True))"),
    ("largest_value_subtracted", "You subtract the largest value of the prompt. What is subtracted from f(a) is its "
     "expectation, sum p f.", "(probs * values).sum(-1, keepdim=True)", "values.amax(-1, keepdim=True)"),
])  # fmt: skip


@mistake("score_function_gradient")
def gradient_through_the_values(logits, values):
    """Gradient flows through the values as well as through the probabilities. Here f is a constant, even where it was
    computed from the policy: detach it."""
    if not logits.requires_grad:
        logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        objective = (logits.softmax(-1) * values).sum(-1).mean()
    return torch.autograd.grad(objective, logits, retain_graph=True)[0]


# --- Exercise 3: the gradient from samples


def _answers_at(probs, uniform):
    """The answers (prompts, k) at which the cumulated probabilities pass the uniform numbers (prompts, k)."""
    return torch.searchsorted(probs.cumsum(-1), uniform).clamp(max=probs.shape[1] - 1)


def estimate(logits, rewards, k, generator):
    probs = logits.softmax(-1).detach()
    actions = torch.multinomial(probs, k, replacement=True, generator=generator)
    scores = F.one_hot(actions, probs.shape[-1]) - probs[:, None]
    weights = rewards.gather(1, actions)
    return (weights[..., None] * scores).mean(1) / len(probs)


changes("policy_gradient_estimate", estimate, [
    ("drawn_without_replacement", "`torch.multinomial` draws *without* replacement unless it is told otherwise. Then "
     "no answer comes twice, the samples are not independent draws from p, and the estimate is biased. Pass "
     "replacement=True.", "replacement=True, ", ""),
    ("drawn_uniformly", "Your answers are drawn with equal probabilities. The expectation is over answers of the "
     "*policy*: draw from the softmax of the logits.", "multinomial(probs,", "multinomial(torch.ones_like(probs),"),
    ("likeliest_answer", "You take the most likely answer every time. An expectation needs samples: what is never "
     "tried is never learned from.",
     "torch.multinomial(probs, k, replacement=True, generator=generator)",
     "logits.argmax(-1, keepdim=True).expand(-1, k)"),
    ("samples_summed", "You add up the k samples. The estimate is their mean: the factor 1/k is missing.",
     ".mean(1)", ".sum(1)"),
    ("prompts_summed", "You add up the prompts. The objective averages over them, so its gradient is divided by their "
     "number.", " / len(probs)", ""),
    ("samples_and_prompts_summed", "Both means are missing: the one over the k samples of a prompt, and the one over "
     "the prompts.", ".mean(1) / len(probs)", ".sum(1)"),
    ("weighted_by_probability_again", "You weight each sample by its probability, or average reward times ∇p where it "
     "must be ∇ log p = ∇p / p. Sampling has done that already: likely answers come more often. A plain mean over the "
     "samples is the expectation.", "rewards.gather", "(probs * rewards).gather"),
    ("rewards_left_out", "The rewards are missing: you average ∇ log p alone, whose expectation is zero.",
     "rewards.gather(1, actions)", "torch.ones(actions.shape)"),
    ("mean_reward_for_all", "Every sample gets the mean reward of its prompt. Each sample's score must be multiplied "
     "by its *own* reward.", "rewards.gather(1, actions)", "rewards.mean(-1, keepdim=True).expand(actions.shape)"),
    ("one_hot_for_the_score", "∇ log p(a) with respect to the logits is one-hot(a) - p. You left out the -p: raising "
     "one logit also lowers the probability of all other answers.", " - probs[:, None]", ""),
    ("score_upside_down", "The sign is that of a loss. The estimate is of the gradient of the expected reward, which "
     "points uphill.", "return (", "return -("),
    ("own_reward_in_the_baseline", "You subtract the mean reward of the samples, which each sample's own reward is "
     "part of. That baseline depends on the action, and shrinks the gradient by (k-1)/k; no baseline is asked for "
     "here.", "(weights[..., None]", "((weights - weights.mean(1, keepdim=True))[..., None]"),
    ("expected_reward_subtracted", "The mean of your estimates is right; their spread is that of an estimate with a "
     "baseline. Here the plain estimate is asked for: baselines come later, and then the difference is measured.",
     "rewards.gather", "(rewards - (probs * rewards).sum(-1, keepdim=True)).gather"),
    ("one_sample_whatever_k", "You draw one sample a prompt whatever k is. Averaging k independent ones makes the "
     "estimate's variance k times smaller.", "(probs, k,", "(probs, 1,"),
    ("same_places_for_all_prompts", "You draw from the first prompt's distribution and use those answers for all "
     "prompts. Each prompt has its own policy: draw row by row.",
     "multinomial(probs, k, replacement=True, generator=generator)",
     "multinomial(probs[:1], k, replacement=True, generator=generator).expand(len(probs), -1)"),
    ("generator_unused", "You draw without the generator, so nobody can repeat your estimate. Pass "
     "`generator=generator` to the function that draws.", ", generator=generator", ""),
    ("generator_seeded_again", "Every call of yours draws the same samples: a generator is seeded inside the "
     "function. Then more estimates tell no more than one. Draw with the generator that is passed, and leave its seed "
     "alone.", "probs = ", "generator.manual_seed(0)\n    probs = "),
    ("one_draw_for_all_prompts", "The prompts share their random numbers (one uniform number, or one seed, for all of "
     "them). Their samples must be independent of each other.",
     "torch.multinomial(probs, k, replacement=True, generator=generator)",
     "_answers_at(probs, torch.rand(1, k, generator=generator).repeat(len(probs), 1))"),
    ("samples_spread_evenly", "Your k samples are spread evenly over the distribution (one random number, moved by "
     "1/k). The mean is right, but they are not independent draws.",
     "torch.multinomial(probs, k, replacement=True, generator=generator)",
     "_answers_at(probs, (torch.rand(len(probs), 1, generator=generator) + torch.arange(k)) / k)"),
    ("mean_of_the_drawn_rewards", "Every sample gets the mean reward of the k samples. Each sample's score must be "
     "multiplied by its *own* reward.",
     "rewards.gather(1, actions)", "rewards.gather(1, actions).mean(1, keepdim=True).expand(-1, k)"),
    ("rewards_of_the_first_prompt", "The rewards are those of the first prompt for all prompts. Gather them row by "
     "row: rewards.gather(1, actions).", "rewards.gather(1, actions)", "rewards[0][actions]"),
    ("divided_by_the_number_of_answers", "You divide by the number of answers. The estimate is a mean over the k "
     "samples and over the prompts.", "len(probs)", "probs.shape[1]"),
    ("logits_moved_in_place", "You take the largest logit out in place, which the caller still needs. Make a new "
     "tensor.", "logits.softmax", "logits.sub_(logits.amax(-1, keepdim=True)).softmax"),
    ("generator_copied", "You draw with a generator of your own that takes over the seed of the one that is passed. "
     "So a second call draws the same samples again: draw with the generator itself.",
     "generator=generator", "generator=torch.Generator().manual_seed(generator.initial_seed())"),
])  # fmt: skip


@mistake("policy_gradient_estimate")
def every_answer_enumerated(logits, rewards, k, generator):
    """This is the exact gradient over all answers, without any sample. Draw k answers and average over those: for a
    language model nobody can go through all answers."""
    probs = logits.softmax(-1)
    return probs * (rewards - (probs * rewards).sum(-1, keepdim=True)) / len(logits)

# --- Exercise 4: a loss with that gradient


def surrogate(logps, advantages, mask):
    weights = advantages.detach()
    answer_logps = (logps * mask).sum(-1)
    return -(weights * answer_logps).mean()


changes("reinforce_loss", surrogate, [
    ("loss_with_the_wrong_sign", "The sign is missing. An optimiser makes the loss *small*; good answers are to "
     "become more likely, so the loss is minus advantage times log p.", "return -", "return "),
    ("mean_over_the_tokens", "You divide by the number of answer tokens in the batch. The gradient of an expectation "
     "over *answers* is a mean over answers, each with the sum over its tokens.", ".mean()", ".sum() / mask.sum()"),
    ("mean_within_each_answer", "You average the log-probabilities within each answer. log p(answer) is their *sum*: "
     "the mean pays short answers more for each token.", ".sum(-1)", ".sum(-1) / mask.sum(-1)"),
    ("mean_over_everything", "You average over all positions, padding included, so the loss shrinks with the length "
     "of the longest answer. Sum over the tokens, then average over the batch.", ".sum(-1)", ".mean(-1)"),
    ("batch_summed", "You add up the batch. The estimate is a mean over its answers: the factor 1/k is missing.",
     ".mean()", ".sum()"),
    ("padding_counted", "The log-probabilities of padding count in your loss. Nobody chose those tokens: multiply by "
     "the mask before you sum.", "(logps * mask)", "logps"),
    ("mask_upside_down", "You sum where the mask is 0. It is 1 on the tokens of the answer.",
     "logps * mask", "logps * (1 - mask.long())"),
    ("gradient_through_the_advantages", "Gradient flows through the advantages too. They are numbers that weigh the "
     "log-probabilities: detach them, or the policy learns to change its own reward instead of its answers.",
     ".detach()", ""),
    ("advantages_centred_again", "You subtract the batch's mean from the advantages. What is to be subtracted has "
     "been: use them as they come.", "advantages.detach()", "advantages.detach() - advantages.detach().mean()"),
    ("advantages_whitened", "You divide the advantages by their standard deviation. That changes the gradient's size "
     "from batch to batch; use them as they come.",
     "(weights * answer_logps)", "((weights - weights.mean()) / (weights.std() + 1e-6) * answer_logps)"),
    ("probability_for_its_logarithm", "You weight the advantages by probabilities. The gradient of the expectation, "
     "seen in samples, is that of log p: use the log-probabilities as they are.", ".sum(-1)", ".sum(-1).exp()"),
    ("probabilities_of_tokens_summed", "You sum the probabilities of the tokens. The probability of an answer is "
     "their product, so it is the *log*-probabilities that are summed.", "(logps * mask)", "(logps.exp() * mask)"),
    ("logarithm_taken_twice", "You treat logps as probabilities and take a logarithm or a softmax of them. They are "
     "log-probabilities already.", "(logps * mask)", "(logps.log_softmax(-1) * mask)"),
    ("first_token_left_out", "The first token of each answer is missing. Here nothing needs a shift: logps[:, t] "
     "belongs to the answer's token t.", "(logps * mask)", "(logps * mask)[:, 1:]"),
    ("last_token_of_the_answer_left_out", "The last token of each answer is missing, or the mask is moved by one. It "
     "is the end mark, and to end is a choice like any other: the mask says what counts.",
     "(logps * mask)", "(logps * mask * F.pad(mask[:, 1:].long(), (0, 1)))"),
    ("only_good_answers", "Answers with a negative advantage do not count in your loss. They tell what to do less of: "
     "keep the sign of the advantage.", ".detach()", ".detach().clamp(min=0)"),
    ("sizes_of_the_advantages", "The sign of the advantages is lost: bad answers are made more likely, too.",
     ".detach()", ".detach().abs()"),
    ("logps_cut_off", "The log-probabilities are cut off from the gradient. The advantages are the constants here; it "
     "is through logps that the policy learns.", "(logps * mask)", "(logps.detach() * mask)"),
    ("a_loss_for_each_answer", "You return a loss for each answer. Return their mean, one number.", ".mean()", ""),
    ("batch_by_batch", "A table of (batch, batch) came from the product: every advantage met every answer's "
     "log-probability. Both must have the shape (batch,).",
     "(weights * answer_logps)", "(weights[:, None] * answer_logps)"),
    ("ratio_for_log_probability", "You multiply by the ratio exp(log p - log p, detached), which is 1. Its gradient "
     "is right; the loss asked for holds log p itself.",
     "answer_logps).mean()", "(answer_logps - answer_logps.detach()).exp()).mean()"),
    ("sum_divided_by_the_row", "You divide the sum by the length of a row and by nothing else. Sum over the tokens, "
     "mean over the batch.", ".mean()", ".sum() / logps.shape[1]"),
    ("advantages_only_divided", "You divide the advantages by their standard deviation. Use them as they come.",
     "(weights * answer_logps)", "(weights / (weights.std() + 1e-6) * answer_logps)"),
    ("likelihood_without_advantages", "The advantages are missing: all answers are made more likely, good or bad.",
     "(weights * answer_logps)", "answer_logps"),
    ("signs_of_the_advantages", "You use only the sign of the advantages. Their size matters too.",
     ".detach()", ".detach().sign()"),
    ("logps_masked_in_place", "You mask the log-probabilities in place, which the caller still needs. Make a new "
     "tensor.", "(logps * mask)", "logps.mul_(mask)"),
    ("mask_moved_back", "The mask is moved against the log-probabilities: the first token of an answer is missing, "
     "and one of padding counts. mask[:, t] belongs to logps[:, t].",
     "(logps * mask)", "(logps[:, 1:] * mask[:, :-1])"),
    ("a_plain_number_for_a_loss", "You return a plain number (.item()). Nothing can be learned from it: return the "
     "tensor.", ".mean()", ".mean().item()"),
])  # fmt: skip

# --- Exercise 5: a baseline


def advantages(rewards):
    k = rewards.shape[1]
    others = (rewards.sum(1, keepdim=True) - rewards) / (k - 1)
    return rewards - others


changes("leave_one_out_advantages", advantages, [
    ("baseline_with_the_own_reward", "The mean you subtract includes the answer's own reward, so the baseline depends "
     "on the action. The gradient comes out too small by (k-1)/k: leave each answer out of its own baseline.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean(1, keepdim=True)"),
    ("divided_by_all", "You divide the sum of the others by k. The others are k - 1.", "(k - 1)", "k"),
    ("all_divided_by_the_others", "You divide the sum of *all* rewards by k - 1. Take the answer's own reward out of "
     "the sum first.", "(rewards.sum(1, keepdim=True) - rewards)", "rewards.sum(1, keepdim=True)"),
    ("sum_of_the_others", "You subtract the *sum* of the others' rewards. The baseline is their mean.",
     " / (k - 1)", ""),
    ("over_the_prompts", "You compare answers to different prompts: the mean runs over the wrong axis. The others are "
     "the other answers to the *same* prompt, a row.", "sum(1,", "sum(0,", "(k - 1)", "max(len(rewards) - 1, 1)"),
    ("over_the_whole_batch", "Your baseline is the mean of all other answers in the batch. A hard prompt would then "
     "be bad news whatever one answers: use the other answers to the same prompt.", "sum(1, keepdim=True)", "sum()",
     "(k - 1)", "(rewards.numel() - 1)"),
    ("mean_of_the_whole_batch", "You subtract the mean of the whole batch. Compare answers to the same prompt only, "
     "and leave out the answer itself.", "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean()"),
    ("divided_by_the_spread", "You divide by the standard deviation of the group, as GRPO does. That is another "
     "estimator; here the difference alone is asked for.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean(1, keepdim=True)",
     "rewards - others", "(rewards - others) / (rewards.std(1, keepdim=True) + 1e-6)"),
    ("left_one_out_and_divided_by_the_spread", "The difference to the others is right, but then you divide it by the "
     "group's standard deviation. Leave that out: it changes how much each prompt counts.",
     "rewards - others", "(rewards - others) / (rewards.std(1, keepdim=True) + 1e-6)"),
    ("baseline_itself", "You return the baseline. The advantage is the reward minus it.", "rewards - others", "others"),
    ("baseline_minus_reward", "The sign is turned round: an answer that is better than the others must have a "
     "*positive* advantage.", "rewards - others", "others - rewards"),
    ("neighbour_for_the_others", "You compare each answer with its neighbour alone. The baseline is the mean of *all* "
     "others, which is less noisy.", "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.roll(1, dims=1)"),
    ("best_answer_as_baseline", "Your baseline is the best reward of the group. It depends on the answer itself (the "
     "best one gets 0), so the gradient is biased; use the mean of the others.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.amax(1, keepdim=True)"),
    ("factor_twice", "Your advantages are too large by k/(k-1): either leave the own reward out of the mean, or "
     "multiply the difference to the full mean by k/(k-1), but not both.",
     "rewards - others", "(rewards - others) * k / (k - 1)"),
    ("rewards_unchanged", "Nothing is subtracted from the rewards. Subtract from each the mean of the others in its "
     "row.", "rewards - others", "rewards.clone()"),
    ("rewards_changed_in_place", "You changed the rewards themselves (an operation like -=, or one that ends in an "
     "underscore). Make a new tensor.", "rewards - others", "rewards.sub_(others)"),
    ("other_neighbour", "You compare each answer with the next one alone. The baseline is the mean of *all* others.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.roll(-1, dims=1)"),
    ("mean_over_the_prompts", "You subtract the mean over the *prompts*. The others are the other answers to the same "
     "prompt, a row; and the answer itself is not among them.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean(0, keepdim=True)"),
    ("divided_by_the_spread_of_all_k", "You divide by the standard deviation of the group (of all k, unbiased=False), "
     "as GRPO does. Here the difference alone is asked for.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean(1, keepdim=True)",
     "rewards - others", "(rewards - others) / (rewards.std(1, keepdim=True, correction=0) + 1e-6)"),
    ("divided_by_a_spread_of_zero", "You divide by the standard deviation of the group, which is 0 where all rewards "
     "are equal. The difference alone is asked for.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean(1, keepdim=True)",
     "rewards - others", "(rewards - others) / rewards.std(1, keepdim=True)"),
    ("whitened_over_the_batch", "You whiten the rewards over the whole batch: their mean subtracted, divided by their "
     "standard deviation. Compare answers to the same prompt, and divide by nothing.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.mean()",
     "rewards - others", "(rewards - others) / (rewards.std() + 1e-6)"),
    ("median_of_the_group", "You subtract the median. The *mean* of the others is asked for.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.median(1, keepdim=True).values"),
    ("first_answer_as_baseline", "You compare every answer with the first one. The baseline is the mean of all others.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards[:, :1]"),
    ("worst_answer_as_baseline", "Your baseline is the worst reward of the group. It depends on the answer itself; "
     "use the mean of the others.",
     "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.amin(1, keepdim=True)"),
    ("factor_upside_down", "You have the factor the wrong way round: the difference to the full mean must be "
     "multiplied by k/(k-1), which is more than 1.",
     "rewards - others", "(rewards - rewards.mean(1, keepdim=True)) * (k - 1) / k"),
    ("divided_by_the_prompts", "You divide the sum of the others by the number of prompts (`len(rewards)`). It is a "
     "mean over the other answers, k - 1 of them.", "(k - 1)", "len(rewards)"),
    ("running_mean", "You subtract a running mean, of the answer and those before it. The baseline is the mean of all "
     "others.", "(rewards.sum(1, keepdim=True) - rewards) / (k - 1)", "rewards.cumsum(1) / torch.arange(1, k + 1)"),
])  # fmt: skip
