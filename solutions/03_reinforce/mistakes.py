"""Wrong answers to chapter 03. Each docstring is the hint the student reads: what was done, why it is wrong, where to
look. Helpers hold what several mistakes share."""

import math

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import mistake

# --- Exercise 1: the objective


@mistake("exact_objective")
def kl_added(logits, ref_logits, rewards, beta):
    """The KL term is *added* to the reward: with this sign the policy is paid for leaving the reference. It is a
    penalty: minus beta KL."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards + beta * (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def kl_the_other_way(logits, ref_logits, rewards, beta):
    """Your KL is that of the reference from the policy, KL(reference || policy). The expectation in it must be the
    policy's, as that of the reward is: KL(policy || reference)."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    kl = (ref_logps.exp() * (ref_logps - logps)).sum(-1)
    return ((logps.exp() * rewards).sum(-1) - beta * kl).mean()


@mistake("exact_objective")
def log_ratio_weighted_by_the_reference(logits, ref_logits, rewards, beta):
    """You average the log-ratio log p - log p_0 under the *reference*. In KL(policy || reference) answers are weighted by
    the policy's own probabilities."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    kl = (ref_logps.exp() * (logps - ref_logps)).sum(-1)
    return ((logps.exp() * rewards).sum(-1) - beta * kl).mean()


@mistake("exact_objective")
def beta_forgotten(logits, ref_logits, rewards, beta):
    """beta is missing: the penalty has the weight 1 whatever beta is."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards - (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def beta_times_the_reward(logits, ref_logits, rewards, beta):
    """beta multiplies the reward in your objective. It is the price of a nat of KL: multiply the penalty by it."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (beta * rewards - (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def beta_divides(logits, ref_logits, rewards, beta):
    """You divide the penalty by beta. That belongs to the optimum, exp(Q / beta); in the objective beta multiplies."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    penalty = (logps - ref_logps) / beta if beta else logps - ref_logps
    return (logps.exp() * (rewards - penalty)).sum(-1).mean()


@mistake("exact_objective")
def penalty_left_out(logits, ref_logits, rewards, beta):
    """Your objective is the expected reward alone. The penalty -beta KL(policy || reference) is missing."""
    return (logits.softmax(-1) * rewards).sum(-1).mean()


@mistake("exact_objective")
def penalty_summed_over_the_prompts(logits, ref_logits, rewards, beta):
    """The reward is averaged over the prompts, and the KL is summed over them. Each prompt has a KL of its own: average
    both."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    reward = (logps.exp() * rewards).sum(-1).mean()
    return reward - beta * F.kl_div(ref_logps, logps, log_target=True, reduction="sum")


@mistake("exact_objective")
def summed_over_the_prompts(logits, ref_logits, rewards, beta):
    """You sum over the prompts. J is an average over prompts: then it does not grow with their number."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards - beta * (logps - ref_logps))).sum()


@mistake("exact_objective")
def averaged_over_the_answers(logits, ref_logits, rewards, beta):
    """You take the mean over the answers of probability times value. The probabilities are the weights already: an
    expectation is the *sum* over the answers."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards - beta * (logps - ref_logps))).mean()


@mistake("exact_objective")
def penalty_averaged_over_the_answers(logits, ref_logits, rewards, beta):
    """Your KL is divided by the number of answers as well (as `F.kl_div` with reduction="mean" does). Sum over the
    answers, then average over the prompts."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    reward = (logps.exp() * rewards).sum(-1).mean()
    return reward - beta * (logps.exp() * (logps - ref_logps)).mean()


@mistake("exact_objective")
def all_answers_equally_likely(logits, ref_logits, rewards, beta):
    """You average the rewards as if all answers were equally likely. Weight each by the policy's probability of it."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (rewards.mean(-1) - beta * (logps.exp() * (logps - ref_logps)).sum(-1)).mean()


@mistake("exact_objective")
def answers_of_the_reference(logits, ref_logits, rewards, beta):
    """You average the rewards under the reference. The answers are the *policy's*: their distribution is what is being
    optimised."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    kl = (logps.exp() * (logps - ref_logps)).sum(-1)
    return ((ref_logps.exp() * rewards).sum(-1) - beta * kl).mean()


@mistake("exact_objective")
def softmax_over_the_prompts(logits, ref_logits, rewards, beta):
    """Your softmax runs over the prompts. For each prompt the probabilities of its *answers* sum to one: the last
    axis."""
    logps, ref_logps = logits.log_softmax(0), ref_logits.log_softmax(0)
    return (logps.exp() * (rewards - beta * (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def logits_for_log_probabilities(logits, ref_logits, rewards, beta):
    """Your log-ratio is a difference of logits. Logits are log-probabilities up to a constant for each prompt, and that
    constant does not cancel: take log_softmax of both."""
    return (logits.softmax(-1) * (rewards - beta * (logits - ref_logits))).sum(-1).mean()


@mistake("exact_objective")
def logarithm_of_a_softmax(logits, ref_logits, rewards, beta):
    """A probability that is 0 in floating point has the logarithm minus infinity, and 0 times infinity is NaN. Use
    log_softmax instead of the logarithm of softmax."""
    probs, ref_probs = logits.softmax(-1), ref_logits.softmax(-1)
    return (probs * (rewards - beta * (probs.log() - ref_probs.log()))).sum(-1).mean()


@mistake("exact_objective")
def entropy_for_kl(logits, ref_logits, rewards, beta):
    """You penalise E[log p], which is the negative entropy. The KL compares with the reference: log p - log p_0."""
    logps = logits.log_softmax(-1)
    return (logps.exp() * (rewards - beta * logps)).sum(-1).mean()


@mistake("exact_objective")
def a_loss_returned(logits, ref_logits, rewards, beta):
    """You returned -J. The function is the objective, which is to be made large; an optimiser that minimises can be
    given its negative."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return -(logps.exp() * (rewards - beta * (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def a_number_for_each_prompt(logits, ref_logits, rewards, beta):
    """You return a value for each prompt. J is their mean, one number."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards - beta * (logps - ref_logps))).sum(-1)


@mistake("exact_objective")
def probabilities_held_constant(logits, ref_logits, rewards, beta):
    """The value is right, but the probabilities that weight the answers are cut off from the gradient. In this exact
    objective they are the part that matters: do not detach them."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp().detach() * (rewards - beta * (logps - ref_logps))).sum(-1).mean()


@mistake("exact_objective")
def no_gradient_at_all(logits, ref_logits, rewards, beta):
    """The value is right, but it is cut off from the logits (.item(), .detach() or no_grad), so nothing can be learned
    from it."""
    logps, ref_logps = logits.detach().log_softmax(-1), ref_logits.log_softmax(-1)
    return (logps.exp() * (rewards - beta * (logps - ref_logps))).sum(-1).mean()


# --- Exercise 2: the gradient


@mistake("score_function_gradient")
def logits_taken_for_log_probabilities(logits, values):
    """Your gradient is p f. For the probability of an answer all logits matter, the others through the softmax's
    denominator: ∇ log p(a) is one-hot(a) - p, not one-hot(a)."""
    return logits.softmax(-1) * values / len(logits)


@mistake("score_function_gradient")
def gradient_downhill(logits, values):
    """The sign is that of a loss. This is the gradient of an expectation that is to become large."""
    probs = logits.softmax(-1)
    return probs * ((probs * values).sum(-1, keepdim=True) - values) / len(logits)


@mistake("score_function_gradient")
def gradient_summed_over_the_prompts(logits, values):
    """You sum over the prompts. The objective is their mean, so the gradient is divided by the number of prompts."""
    probs = logits.softmax(-1)
    return probs * (values - (probs * values).sum(-1, keepdim=True))


@mistake("score_function_gradient")
def gradient_averaged_over_the_answers(logits, values):
    """You divide by the number of answers too. The expectation over the answers is weighted by p, and needs no other
    divisor."""
    probs = logits.softmax(-1)
    return probs * (values - (probs * values).sum(-1, keepdim=True)) / logits.numel()


@mistake("score_function_gradient")
def gradient_divided_by_the_answers(logits, values):
    """You divide by the number of answers where the number of prompts belongs."""
    probs = logits.softmax(-1)
    return probs * (values - (probs * values).sum(-1, keepdim=True)) / logits.shape[-1]


@mistake("score_function_gradient")
def diagonal_alone(logits, values):
    """Your gradient is p (1 - p) f: only the effect of a logit on its own answer. It also makes every *other* answer
    less likely, and those have values too."""
    probs = logits.softmax(-1)
    return probs * (1 - probs) * values / len(logits)


@mistake("score_function_gradient")
def scores_not_weighted_by_the_policy(logits, values):
    """You add f(a) ∇ log p(a) over the answers without their probabilities. It is an expectation: weight each answer by
    p(a)."""
    probs = logits.softmax(-1)
    return (values - probs * values.sum(-1, keepdim=True)) / len(logits)


@mistake("score_function_gradient")
def scores_weighted_equally(logits, values):
    """You average f(a) ∇ log p(a) over the answers as if they were equally likely. Weight each answer by p(a)."""
    probs = logits.softmax(-1)
    return (values - probs * values.sum(-1, keepdim=True)) / logits.numel()


@mistake("score_function_gradient")
def probability_counted_twice(logits, values):
    """p enters twice: you took E[f ∇p]. Either sum f ∇p over the answers, or take the expectation of f ∇ log p, which
    is the same."""
    probs = logits.softmax(-1)
    weighted = probs * values
    return probs * (weighted - (probs * weighted).sum(-1, keepdim=True)) / len(logits)


@mistake("score_function_gradient")
def gradient_through_the_values(logits, values):
    """Gradient flows through the values as well as through the probabilities. Here f is a constant, even where it was
    computed from the policy: detach it."""
    if not logits.requires_grad:
        logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        objective = (logits.softmax(-1) * values).sum(-1).mean()
    return torch.autograd.grad(objective, logits, retain_graph=True)[0]


@mistake("score_function_gradient")
def gradient_softmax_over_the_prompts(logits, values):
    """Your softmax runs over the prompts. The answers to one prompt are what the probabilities are about: the last
    axis."""
    probs = logits.softmax(0)
    return probs * (values - (probs * values).sum(0, keepdim=True)) / len(logits)


@mistake("score_function_gradient")
def scores_without_values(logits, values):
    """f is missing: what you computed is E[∇ log p], which is zero for every policy."""
    probs = logits.softmax(-1)
    return probs * (1 - probs.sum(-1, keepdim=True)) / len(logits)


@mistake("score_function_gradient")
def plain_mean_subtracted(logits, values):
    """You subtract the plain mean of the values. What the formula holds is their mean *under the policy*, sum p f."""
    return logits.softmax(-1) * (values - values.mean(-1, keepdim=True)) / len(logits)


@mistake("score_function_gradient")
def mean_over_all_prompts_subtracted(logits, values):
    """You subtract one expected value for all prompts. Each prompt has a distribution of its own: keep the sum over the
    answers of each row."""
    probs = logits.softmax(-1)
    return probs * (values - (probs * values).sum(-1).mean()) / len(logits)


@mistake("score_function_gradient")
def expected_value_for_value(logits, values):
    """You multiply each answer's score by the *expected* value. Then it is a constant, and E[c ∇ log p] is zero; f(a)
    belongs to its own answer."""
    probs = logits.softmax(-1)
    scores = torch.eye(logits.shape[-1]) - probs[:, None]  # (prompts, answers, answers)
    expected = (probs * values).sum(-1)[:, None, None]
    return (probs[..., None] * scores * expected).sum(1) / len(logits) + 0 * values


# --- Exercise 3: the gradient from samples


def _estimate(logits, rewards, actions, weights=None):
    """The right estimate, given the samples; weights: (prompts, k) in place of the rewards."""
    probs = logits.softmax(-1).detach()
    scores = F.one_hot(actions, probs.shape[-1]) - probs[:, None]
    weights = rewards.gather(1, actions) if weights is None else weights
    return (weights[..., None] * scores).mean(1) / len(probs)


def _draw(logits, k, generator):
    return torch.multinomial(logits.softmax(-1), k, replacement=True, generator=generator)


@mistake("policy_gradient_estimate")
def drawn_without_replacement(logits, rewards, k, generator):
    """`torch.multinomial` draws *without* replacement unless it is told otherwise. Then no answer comes twice, the samples
    are not independent draws from p, and the estimate is biased. Pass replacement=True."""
    actions = torch.multinomial(logits.softmax(-1), k, generator=generator)
    return _estimate(logits, rewards, actions)


@mistake("policy_gradient_estimate")
def drawn_uniformly(logits, rewards, k, generator):
    """Your answers are drawn with equal probabilities. The expectation is over answers of the *policy*: draw from the
    softmax of the logits."""
    return _estimate(logits, rewards, torch.randint(0, logits.shape[1], (len(logits), k), generator=generator))


@mistake("policy_gradient_estimate")
def likeliest_answer(logits, rewards, k, generator):
    """You take the most likely answer every time. An expectation needs samples: what is never tried is never learned
    from."""
    return _estimate(logits, rewards, logits.argmax(-1, keepdim=True).expand(-1, k))


@mistake("policy_gradient_estimate")
def every_answer_enumerated(logits, rewards, k, generator):
    """This is the exact gradient over all answers, without any sample. Draw k answers and average over those: for a
    language model nobody can go through all answers."""
    probs = logits.softmax(-1)
    return probs * (rewards - (probs * rewards).sum(-1, keepdim=True)) / len(logits)


@mistake("policy_gradient_estimate")
def samples_summed(logits, rewards, k, generator):
    """You add up the k samples. The estimate is their mean: the factor 1/k is missing."""
    return k * _estimate(logits, rewards, _draw(logits, k, generator))


@mistake("policy_gradient_estimate")
def prompts_summed(logits, rewards, k, generator):
    """You add up the prompts. The objective averages over them, so its gradient is divided by their number."""
    return len(logits) * _estimate(logits, rewards, _draw(logits, k, generator))


@mistake("policy_gradient_estimate")
def samples_and_prompts_summed(logits, rewards, k, generator):
    """Both means are missing: the one over the k samples of a prompt, and the one over the prompts."""
    return k * len(logits) * _estimate(logits, rewards, _draw(logits, k, generator))


@mistake("policy_gradient_estimate")
def weighted_by_probability_again(logits, rewards, k, generator):
    """You weight each sample by its probability. Sampling has done that already: likely answers come more often. A plain
    mean over the samples is the expectation."""
    actions = _draw(logits, k, generator)
    weights = rewards.gather(1, actions) * logits.softmax(-1).gather(1, actions)
    return _estimate(logits, rewards, actions, weights)


@mistake("policy_gradient_estimate")
def rewards_left_out(logits, rewards, k, generator):
    """The rewards are missing: you average ∇ log p alone, whose expectation is zero."""
    actions = _draw(logits, k, generator)
    return _estimate(logits, rewards, actions, torch.ones(actions.shape))


@mistake("policy_gradient_estimate")
def mean_reward_for_all(logits, rewards, k, generator):
    """Every sample gets the mean reward of its prompt. Each sample's score must be multiplied by its *own* reward."""
    actions = _draw(logits, k, generator)
    return _estimate(logits, rewards, actions, rewards.mean(-1, keepdim=True).expand(actions.shape))


@mistake("policy_gradient_estimate")
def one_hot_for_the_score(logits, rewards, k, generator):
    """∇ log p(a) with respect to the logits is one-hot(a) - p. You left out the -p: raising one logit also lowers the
    probability of all other answers."""
    actions = _draw(logits, k, generator)
    hits = F.one_hot(actions, logits.shape[1]).float()
    return (rewards.gather(1, actions)[..., None] * hits).mean(1) / len(logits)


@mistake("policy_gradient_estimate")
def score_upside_down(logits, rewards, k, generator):
    """The sign is that of a loss. The estimate is of the gradient of the expected reward, which points uphill."""
    return -_estimate(logits, rewards, _draw(logits, k, generator))


@mistake("policy_gradient_estimate")
def gradient_of_the_probability(logits, rewards, k, generator):
    """You average reward times ∇p over samples. Of samples it must be ∇ log p = ∇p / p: the division makes up for
    likely answers coming more often."""
    actions = _draw(logits, k, generator)
    probs = logits.softmax(-1)
    taken = probs.gather(1, actions)
    return _estimate(logits, rewards, actions, rewards.gather(1, actions) * taken**1 * len(logits))


@mistake("policy_gradient_estimate")
def own_reward_in_the_baseline(logits, rewards, k, generator):
    """You subtract the mean reward of the samples, which each sample's own reward is part of. That baseline depends on
    the action, and shrinks the gradient by (k-1)/k; no baseline is asked for here."""
    actions = _draw(logits, k, generator)
    drawn = rewards.gather(1, actions)
    return _estimate(logits, rewards, actions, drawn - drawn.mean(1, keepdim=True))


@mistake("policy_gradient_estimate")
def expected_reward_subtracted(logits, rewards, k, generator):
    """The mean of your estimates is right; their spread is that of an estimate with a baseline. Here the plain estimate
    is asked for: baselines come later, and then the difference is measured."""
    actions = _draw(logits, k, generator)
    baseline = (logits.softmax(-1) * rewards).sum(-1, keepdim=True)
    return _estimate(logits, rewards, actions, rewards.gather(1, actions) - baseline)


@mistake("policy_gradient_estimate")
def one_sample_whatever_k(logits, rewards, k, generator):
    """You draw one sample a prompt whatever k is. Averaging k independent ones makes the estimate's variance k times
    smaller."""
    return _estimate(logits, rewards, _draw(logits, 1, generator))


@mistake("policy_gradient_estimate")
def same_places_for_all_prompts(logits, rewards, k, generator):
    """You draw from the first prompt's distribution and use those answers for all prompts. Each prompt has its own
    policy: draw row by row."""
    actions = _draw(logits[:1], k, generator).expand(len(logits), -1)
    return _estimate(logits, rewards, actions)


@mistake("policy_gradient_estimate")
def generator_unused(logits, rewards, k, generator):
    """You draw without the generator, so nobody can repeat your estimate. Pass `generator=generator` to the function
    that draws."""
    return _estimate(logits, rewards, torch.multinomial(logits.softmax(-1), k, replacement=True))


# --- Exercise 4: a loss with that gradient


@mistake("reinforce_loss")
def loss_with_the_wrong_sign(logps, advantages, mask):
    """The sign is missing. An optimiser makes the loss *small*; good answers are to become more likely, so the loss is
    minus advantage times log p."""
    return (advantages.detach() * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def mean_over_the_tokens(logps, advantages, mask):
    """You divide by the number of answer tokens in the batch. The gradient of an expectation over *answers* is a mean
    over answers, each with the sum over its tokens."""
    return -(advantages.detach()[:, None] * logps * mask).sum() / mask.sum()


@mistake("reinforce_loss")
def mean_within_each_answer(logps, advantages, mask):
    """You average the log-probabilities within each answer. log p(answer) is their *sum*: the mean pays short answers
    more for each token."""
    return -(advantages.detach() * (logps * mask).sum(-1) / mask.sum(-1)).mean()


@mistake("reinforce_loss")
def mean_over_everything(logps, advantages, mask):
    """You average over all positions, padding included, so the loss shrinks with the length of the longest answer.
    Sum over the tokens, then average over the batch."""
    return -(advantages.detach()[:, None] * logps * mask).mean()


@mistake("reinforce_loss")
def batch_summed(logps, advantages, mask):
    """You add up the batch. The estimate is a mean over its answers: the factor 1/k is missing."""
    return -(advantages.detach() * (logps * mask).sum(-1)).sum()


@mistake("reinforce_loss")
def padding_counted(logps, advantages, mask):
    """The log-probabilities of padding count in your loss. Nobody chose those tokens: multiply by the mask before you
    sum."""
    return -(advantages.detach() * logps.sum(-1)).mean()


@mistake("reinforce_loss")
def mask_upside_down(logps, advantages, mask):
    """You sum where the mask is 0. It is 1 on the tokens of the answer."""
    return -(advantages.detach() * (logps * (1 - mask.long())).sum(-1)).mean()


@mistake("reinforce_loss")
def gradient_through_the_advantages(logps, advantages, mask):
    """Gradient flows through the advantages too. They are numbers that weigh the log-probabilities: detach them, or the
    policy learns to change its own reward instead of its answers."""
    return -(advantages * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def advantages_centred_again(logps, advantages, mask):
    """You subtract the batch's mean from the advantages. What is to be subtracted has been: use them as they come."""
    centred = advantages.detach() - advantages.detach().mean()
    return -(centred * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def advantages_whitened(logps, advantages, mask):
    """You divide the advantages by their standard deviation. That changes the gradient's size from batch to batch; use
    them as they come."""
    a = advantages.detach()
    return -((a - a.mean()) / (a.std() + 1e-6) * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def probability_for_its_logarithm(logps, advantages, mask):
    """You weight the advantages by probabilities. The gradient of the expectation, seen in samples, is that of log p:
    use the log-probabilities as they are."""
    return -(advantages.detach() * (logps * mask).sum(-1).exp()).mean()


@mistake("reinforce_loss")
def probabilities_of_tokens_summed(logps, advantages, mask):
    """You sum the probabilities of the tokens. The probability of an answer is their product, so it is the
    *log*-probabilities that are summed."""
    return -(advantages.detach() * (logps.exp() * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def logarithm_taken_twice(logps, advantages, mask):
    """You treat logps as probabilities and take a logarithm or a softmax of them. They are log-probabilities already."""
    return -(advantages.detach() * (logps.log_softmax(-1) * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def first_token_left_out(logps, advantages, mask):
    """The first token of each answer is missing. Here nothing needs a shift: logps[:, t] belongs to the answer's token
    t."""
    return -(advantages.detach() * (logps * mask)[:, 1:].sum(-1)).mean()


@mistake("reinforce_loss")
def last_token_of_the_answer_left_out(logps, advantages, mask):
    """The last token of each answer is missing. It is the end mark, and to end is a choice like any other: the mask
    says what counts."""
    inner = mask.long() * torch.cat([mask[:, 1:].long(), torch.zeros_like(mask[:, :1]).long()], dim=1)
    return -(advantages.detach() * (logps * inner).sum(-1)).mean()


@mistake("reinforce_loss")
def only_good_answers(logps, advantages, mask):
    """Answers with a negative advantage do not count in your loss. They tell what to do less of: keep the sign of the
    advantage."""
    return -(advantages.detach().clamp(min=0) * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def sizes_of_the_advantages(logps, advantages, mask):
    """The sign of the advantages is lost: bad answers are made more likely, too."""
    return -(advantages.detach().abs() * (logps * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def logps_cut_off(logps, advantages, mask):
    """The log-probabilities are cut off from the gradient. The advantages are the constants here; it is through logps
    that the policy learns."""
    return -(advantages.detach() * (logps.detach() * mask).sum(-1)).mean()


@mistake("reinforce_loss")
def a_loss_for_each_answer(logps, advantages, mask):
    """You return a loss for each answer. Return their mean, one number."""
    return -(advantages.detach() * (logps * mask).sum(-1))


# --- Exercise 5: a baseline


@mistake("leave_one_out_advantages")
def baseline_with_the_own_reward(rewards):
    """The mean you subtract includes the answer's own reward, so the baseline depends on the action. The gradient comes
    out too small by (k-1)/k: leave each answer out of its own baseline."""
    return rewards - rewards.mean(1, keepdim=True)


@mistake("leave_one_out_advantages")
def divided_by_all(rewards):
    """You divide the sum of the others by k. The others are k - 1."""
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / rewards.shape[1]


@mistake("leave_one_out_advantages")
def all_divided_by_the_others(rewards):
    """You divide the sum of *all* rewards by k - 1. Take the answer's own reward out of the sum first."""
    return rewards - rewards.sum(1, keepdim=True) / (rewards.shape[1] - 1)


@mistake("leave_one_out_advantages")
def sum_of_the_others(rewards):
    """You subtract the *sum* of the others' rewards. The baseline is their mean."""
    return rewards - (rewards.sum(1, keepdim=True) - rewards)


@mistake("leave_one_out_advantages")
def over_the_prompts(rewards):
    """You compare answers to different prompts: the mean runs over the wrong axis. The others are the other answers to
    the *same* prompt, a row."""
    return rewards - (rewards.sum(0, keepdim=True) - rewards) / max(len(rewards) - 1, 1)


@mistake("leave_one_out_advantages")
def over_the_whole_batch(rewards):
    """Your baseline is the mean of all other answers in the batch. A hard prompt would then be bad news whatever one
    answers: use the other answers to the same prompt."""
    return rewards - (rewards.sum() - rewards) / max(rewards.numel() - 1, 1)


@mistake("leave_one_out_advantages")
def mean_of_the_whole_batch(rewards):
    """You subtract the mean of the whole batch. Compare answers to the same prompt only, and leave out the answer
    itself."""
    return rewards - rewards.mean()


@mistake("leave_one_out_advantages")
def divided_by_the_spread(rewards):
    """You divide by the standard deviation of the group, as GRPO does. That is another estimator; here the difference
    alone is asked for."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)


@mistake("leave_one_out_advantages")
def left_one_out_and_divided_by_the_spread(rewards):
    """The difference to the others is right, but then you divide it by the group's standard deviation. Leave that out:
    it changes how much each prompt counts."""
    k = rewards.shape[1]
    advantages = rewards - (rewards.sum(1, keepdim=True) - rewards) / (k - 1)
    return advantages / (rewards.std(1, keepdim=True) + 1e-6)


@mistake("leave_one_out_advantages")
def baseline_itself(rewards):
    """You return the baseline. The advantage is the reward minus it."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


@mistake("leave_one_out_advantages")
def baseline_minus_reward(rewards):
    """The sign is turned round: an answer that is better than the others must have a *positive* advantage."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1) - rewards


@mistake("leave_one_out_advantages")
def neighbour_for_the_others(rewards):
    """You compare each answer with its neighbour alone. The baseline is the mean of *all* others, which is less noisy."""
    return rewards - rewards.roll(1, dims=1)


@mistake("leave_one_out_advantages")
def best_answer_as_baseline(rewards):
    """Your baseline is the best reward of the group. It depends on the answer itself (the best one gets 0), so the
    gradient is biased; use the mean of the others."""
    return rewards - rewards.max(1, keepdim=True).values


@mistake("leave_one_out_advantages")
def factor_twice(rewards):
    """Your advantages are too large by k/(k-1): either leave the own reward out of the mean, or multiply the difference
    to the full mean by k/(k-1), but not both."""
    k = rewards.shape[1]
    return (rewards - (rewards.sum(1, keepdim=True) - rewards) / (k - 1)) * k / (k - 1)


@mistake("leave_one_out_advantages")
def rewards_unchanged(rewards):
    """Nothing is subtracted from the rewards. Subtract from each the mean of the others in its row."""
    return rewards.clone()


@mistake("leave_one_out_advantages")
def rewards_changed_in_place(rewards):
    """You changed the rewards themselves (an operation like -=, or one that ends in an underscore). Make a new
    tensor."""
    rewards -= (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards


# --- Exercise 6: the KL term becomes a reward


@mistake("kl_shaped_rewards")
def penalty_added(rewards, logps, ref_logps, beta):
    """The sign of the KL term is wrong: an answer is paid for being more likely than under the reference. What is more
    likely now than it was must *cost*: reward - beta (log p - log p_0)."""
    return (rewards + beta * (logps - ref_logps)).detach()


@mistake("kl_shaped_rewards")
def graph_kept(rewards, logps, ref_logps, beta):
    """The values are right, but gradient would flow through them. The shaped reward is a constant that weighs log p: its
    own gradient is zero in expectation, so detach it."""
    return rewards - beta * (logps - ref_logps)


@mistake("kl_shaped_rewards")
def price_forgotten(rewards, logps, ref_logps, beta):
    """beta is missing: the log-ratio is subtracted with the weight 1."""
    return (rewards - (logps - ref_logps)).detach()


@mistake("kl_shaped_rewards")
def price_on_the_reward(rewards, logps, ref_logps, beta):
    """beta multiplies the reward. It is the price of the log-ratio."""
    return (beta * rewards - (logps - ref_logps)).detach()


@mistake("kl_shaped_rewards")
def price_on_everything(rewards, logps, ref_logps, beta):
    """beta multiplies the whole difference. Only the log-ratio is multiplied by it: look at the brackets."""
    return (beta * (rewards - (logps - ref_logps))).detach()


@mistake("kl_shaped_rewards")
def reference_outside_the_bracket(rewards, logps, ref_logps, beta):
    """You wrote reward - beta log p - log p_0. Both logarithms belong in the bracket, so log p_0 comes in with plus
    beta."""
    return (rewards - beta * logps - ref_logps).detach()


@mistake("kl_shaped_rewards")
def logps_added_up(rewards, logps, ref_logps, beta):
    """You subtract beta (log p + log p_0). The log-ratio is a difference, log p - log p_0."""
    return (rewards - beta * (logps + ref_logps)).detach()


@mistake("kl_shaped_rewards")
def reference_left_out(rewards, logps, ref_logps, beta):
    """The reference is missing: this penalises log p alone, which keeps the entropy high but forgets where the policy
    came from."""
    return (rewards - beta * logps).detach()


@mistake("kl_shaped_rewards")
def ratio_of_probabilities(rewards, logps, ref_logps, beta):
    """You subtract the *ratio* of the probabilities. The integrand of the KL is its logarithm: do not exponentiate."""
    return (rewards - beta * (logps - ref_logps).exp()).detach()


@mistake("kl_shaped_rewards")
def ratio_of_log_probabilities(rewards, logps, ref_logps, beta):
    """You divide log p by log p_0. The logarithm of a ratio is a difference of logarithms."""
    return (rewards - beta * logps / ref_logps).detach()


@mistake("kl_shaped_rewards")
def weighted_by_the_probability(rewards, logps, ref_logps, beta):
    """You weight the log-ratio by the probability. The samples come from the policy, so their mean is the expectation
    already."""
    return (rewards - beta * logps.exp() * (logps - ref_logps)).detach()


@mistake("kl_shaped_rewards")
def mean_penalty_for_all(rewards, logps, ref_logps, beta):
    """Every answer pays the batch's mean log-ratio. A constant shift teaches nothing: each answer must pay for its own."""
    return (rewards - beta * (logps - ref_logps).mean()).detach()


@mistake("kl_shaped_rewards")
def never_below_zero(rewards, logps, ref_logps, beta):
    """You cut the log-ratio at 0, because a KL is never negative. Its *mean* is not; the log-ratio of a single answer
    may well be, and the negative ones are needed."""
    return (rewards - beta * (logps - ref_logps).clamp(min=0)).detach()


@mistake("kl_shaped_rewards")
def distance_in_both_directions(rewards, logps, ref_logps, beta):
    """You take the size of the log-ratio. Then an answer that has become *less* likely pays too, and the expectation is
    not the KL: keep the sign."""
    return (rewards - beta * (logps - ref_logps).abs()).detach()


@mistake("kl_shaped_rewards")
def squared_log_ratio(rewards, logps, ref_logps, beta):
    """You use half the squared log-ratio, the estimator k2. Its expectation is not the KL; and what stands inside the
    expectation of the objective is the log-ratio itself."""
    return (rewards - beta * 0.5 * (logps - ref_logps) ** 2).detach()


@mistake("kl_shaped_rewards")
def third_estimator_in_the_reward(rewards, logps, ref_logps, beta):
    """You use the estimator k3 as the penalty. Its expectation is the KL, but as a reward its *gradient* is not that of
    the KL: use the log-ratio itself."""
    log_ratio = logps - ref_logps
    return (rewards - beta * ((-log_ratio).exp() - 1 + log_ratio)).detach()


@mistake("kl_shaped_rewards")
def rewards_overwritten(rewards, logps, ref_logps, beta):
    """You changed the rewards in place. They are still needed, to see how good the answers are: make a new tensor."""
    rewards -= beta * (logps - ref_logps).detach()
    return rewards


# --- Exercise 7: three estimators of the KL


def _three_estimators(log_ratio):
    return log_ratio, 0.5 * log_ratio**2, torch.expm1(-log_ratio) + log_ratio


@mistake("kl_estimates")
def ratio_inverted(logps, ref_logps):
    """Your log-ratio is log p_0 - log p. Samples of the policy then estimate *minus* the KL with k1, and something else
    with k3: d is log p - log p_0."""
    return _three_estimators(ref_logps - logps)


@mistake("kl_estimates")
def first_inverted(logps, ref_logps):
    """k1 has the wrong sign: for samples of the policy, the mean of log p_0 - log p is *minus* the KL."""
    k1, k2, k3 = _three_estimators(logps - ref_logps)
    return -k1, k2, k3


@mistake("kl_estimates")
def third_with_the_inverted_ratio(logps, ref_logps):
    """k3 has the ratio upside down. With samples of the policy the ratio is r = p_0 / p = exp(-d), and k3 = r - 1 - log r
    = exp(-d) - 1 + d."""
    k1, k2, _k3 = _three_estimators(logps - ref_logps)
    return k1, k2, torch.expm1(k1) - k1


@mistake("kl_estimates")
def third_with_one_sign_wrong(logps, ref_logps):
    """In k3 the ratio is right and its logarithm has the wrong sign: log r is -d, and minus log r is +d."""
    k1, k2, _k3 = _three_estimators(logps - ref_logps)
    return k1, k2, torch.expm1(-k1) - k1


@mistake("kl_estimates")
def third_with_exp_of_plus_d(logps, ref_logps):
    """In k3 the exponent has the wrong sign: r = p_0 / p = exp(-d)."""
    k1, k2, _k3 = _three_estimators(logps - ref_logps)
    return k1, k2, torch.expm1(k1) + k1


@mistake("kl_estimates")
def third_without_the_one(logps, ref_logps):
    """The -1 is missing in k3. Without it, the estimate is 1 too large: the mean of r = p_0 / p under the policy is 1."""
    k1, k2, k3 = _three_estimators(logps - ref_logps)
    return k1, k2, k3 + 1


@mistake("kl_estimates")
def third_without_the_log(logps, ref_logps):
    """The + d is missing in k3. What is left, r - 1, has the mean zero: it only takes variance away from d."""
    k1, k2, _k3 = _three_estimators(logps - ref_logps)
    return k1, k2, torch.expm1(-k1)


@mistake("kl_estimates")
def second_without_the_half(logps, ref_logps):
    """The factor 1/2 is missing in k2."""
    k1, _k2, k3 = _three_estimators(logps - ref_logps)
    return k1, k1**2, k3


@mistake("kl_estimates")
def second_halved_before_squaring(logps, ref_logps):
    """In k2 the 1/2 is inside the square, which makes a quarter of it. It is (d ** 2) / 2."""
    k1, _k2, k3 = _three_estimators(logps - ref_logps)
    return k1, (0.5 * k1) ** 2, k3


@mistake("kl_estimates")
def first_without_sign(logps, ref_logps):
    """You take the size of the log-ratio for k1. A single sample may say less than zero; the mean of the sizes is not
    the KL."""
    k1, k2, k3 = _three_estimators(logps - ref_logps)
    return k1.abs(), k2, k3


@mistake("kl_estimates")
def first_cut_at_zero(logps, ref_logps):
    """You cut k1 at zero. A KL is never negative, a single k1 may be, and the mean needs those, too."""
    k1, k2, k3 = _three_estimators(logps - ref_logps)
    return k1.clamp(min=0), k2, k3


@mistake("kl_estimates")
def estimates_averaged(logps, ref_logps):
    """You averaged over the samples. Return an estimate for each sample: averaging, and the spread, come after."""
    return tuple(k.mean() for k in _three_estimators(logps - ref_logps))


@mistake("kl_estimates")
def estimates_summed_over_a_row(logps, ref_logps):
    """You averaged over the last axis. Return an estimate for each sample, of the shape that came in."""
    return tuple(k.mean(-1) for k in _three_estimators(logps - ref_logps))


@mistake("kl_estimates")
def second_and_third_swapped(logps, ref_logps):
    """k2 and k3 stand in each other's place. k2 is the square, k3 the one with the exponential."""
    k1, k2, k3 = _three_estimators(logps - ref_logps)
    return k1, k3, k2


@mistake("kl_estimates")
def estimates_weighted_by_the_policy(logps, ref_logps):
    """You weight by the policy's probabilities. The samples were drawn from it, so a plain mean over them is the
    expectation."""
    return tuple(logps.exp() * k for k in _three_estimators(logps - ref_logps))


@mistake("kl_estimates")
def difference_of_probabilities(logps, ref_logps):
    """Your d is a difference of probabilities. It is the difference of their logarithms: do not exponentiate."""
    return _three_estimators(logps.exp() - ref_logps.exp())


@mistake("kl_estimates")
def estimates_in_bits(logps, ref_logps):
    """Your estimates are in bits, or the log-ratio was divided by log 2. The course counts in nats."""
    return _three_estimators((logps - ref_logps) / math.log(2))


# --- Exercise 8: the optimum


@mistake("optimal_policy")
def reference_not_in_the_optimum(ref_logps, rewards, beta):
    """The reference is missing: this is the softmax of reward / beta. The optimum multiplies it by p_0: add log p_0."""
    unnormalised = rewards / beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def multiplied_by_beta(ref_logps, rewards, beta):
    """You multiply the reward by beta. A high price means to stay near the reference: the reward is *divided* by beta."""
    unnormalised = ref_logps + rewards * beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def beta_left_out(ref_logps, rewards, beta):
    """beta is missing: exp(reward) in place of exp(reward / beta)."""
    unnormalised = ref_logps + rewards
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def worst_answers_favoured(ref_logps, rewards, beta):
    """The sign of the reward is wrong: the worst answers become the likely ones."""
    unnormalised = ref_logps - rewards / beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def reference_divided(ref_logps, rewards, beta):
    """You divide by p_0 in place of multiplying. That is the optimum for the wrong sign of the KL."""
    unnormalised = torch.where(ref_logps.isinf(), ref_logps, rewards / beta - ref_logps)
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def everything_divided_by_beta(ref_logps, rewards, beta):
    """You divide log p_0 by beta as well. Only the reward is divided."""
    unnormalised = (ref_logps + rewards) / beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def reference_as_a_probability(ref_logps, rewards, beta):
    """You add p_0 itself to the exponent. What belongs there is its logarithm, which you were given: adding logarithms
    multiplies."""
    unnormalised = ref_logps.exp() + rewards / beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def exponentials_that_overflow(ref_logps, rewards, beta):
    """exp(reward / beta) overflows for a small beta (or vanishes for very negative rewards), and the quotient is NaN.
    Stay with logarithms and use logsumexp."""
    weights = ref_logps.exp() * (rewards / beta).exp()
    z = weights.sum(-1)
    return weights / z[:, None], z.log()


@mistake("optimal_policy")
def z_without_the_logarithm(ref_logps, rewards, beta):
    """You return Z. The function returns its logarithm, which is finite where Z is not."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.softmax(-1), unnormalised.logsumexp(-1).exp()


@mistake("optimal_policy")
def z_without_the_reference(ref_logps, rewards, beta):
    """The probabilities are right, but your Z lacks p_0: it is the sum of p_0 exp(reward / beta)."""
    return (ref_logps + rewards / beta).softmax(-1), (rewards / beta).logsumexp(-1)


@mistake("optimal_policy")
def z_times_beta(ref_logps, rewards, beta):
    """The probabilities are right, and in place of log Z you return beta log Z. That is the value of the optimum, and
    useful, but it is not what was asked."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.softmax(-1), beta * unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def z_of_the_mean(ref_logps, rewards, beta):
    """Your log Z is the mean of reward / beta under the reference. The logarithm of a mean of exponentials is larger than
    that: use logsumexp."""
    mean = (ref_logps.exp() * rewards / beta).sum(-1)
    return (ref_logps + rewards / beta).softmax(-1), mean


@mistake("optimal_policy")
def normalised_over_the_prompts(ref_logps, rewards, beta):
    """You normalise over the prompts. For each prompt the probabilities of its answers sum to one: the last axis."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.softmax(0), unnormalised.logsumexp(0)


@mistake("optimal_policy")
def one_z_for_all(ref_logps, rewards, beta):
    """You use one Z for all prompts. Z depends on the prompt: sum over the last axis only."""
    unnormalised = ref_logps + rewards / beta
    log_z = unnormalised.flatten().logsumexp(0)
    return (unnormalised - log_z).exp(), log_z.expand(len(rewards))


@mistake("optimal_policy")
def never_normalised(ref_logps, rewards, beta):
    """The probabilities do not sum to one: divide by Z, that is, subtract log Z before the exponential."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.exp(), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def log_probabilities_of_the_optimum(ref_logps, rewards, beta):
    """You return the optimum's log-probabilities. Probabilities are asked for."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.log_softmax(-1), unnormalised.logsumexp(-1)


@mistake("optimal_policy")
def best_answer_alone(ref_logps, rewards, beta):
    """All your probability is on the best answer. That is the limit for beta to 0: with a price on leaving the reference
    the optimum is spread out."""
    unnormalised = ref_logps + rewards / beta
    best = F.one_hot(unnormalised.argmax(-1), rewards.shape[-1]).float()
    return best, unnormalised.amax(-1)


@mistake("optimal_policy")
def order_of_the_results(ref_logps, rewards, beta):
    """You return log Z first. The probabilities come first, then log Z."""
    unnormalised = ref_logps + rewards / beta
    return unnormalised.logsumexp(-1), unnormalised.softmax(-1)


# --- Exercise 9: all of it together


def _sampled(logits, ref_logits, rewards, actions):
    """Log-probabilities, reference log-probabilities and rewards of the samples, each (prompts, k)."""
    logps, ref_logps = (x.log_softmax(-1).gather(1, actions) for x in (logits, ref_logits))
    return logps, ref_logps, rewards.gather(1, actions)


def _others_subtracted(shaped):
    k = shaped.shape[1]
    return k / (k - 1) * (shaped - shaped.mean(1, keepdim=True))


@mistake("policy_loss")
def loss_with_the_penalty_added(logits, ref_logits, rewards, actions, beta):
    """The KL term has the wrong sign: answers are paid for becoming likelier than under the reference. The shaped reward
    is reward - beta (log p - log p_0)."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn + beta * (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_with_gradient_through_the_reward(logits, ref_logits, rewards, actions, beta):
    """Gradient flows through the shaped reward. Its log-ratio is part of a constant that weighs log p: detach it."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn - beta * (logps - ref_logps)) * logps).mean()


@mistake("policy_loss")
def loss_with_the_penalty_differentiated(logits, ref_logits, rewards, actions, beta):
    """You add beta times the mean log-ratio to the loss and differentiate it. Its gradient is beta ∇ log p, whose
    expectation is zero: that penalty does nothing. It belongs in the reward."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn) * logps).mean() + beta * (logps - ref_logps).mean()


@mistake("policy_loss")
def loss_without_a_penalty(logits, ref_logits, rewards, actions, beta):
    """The KL term is missing: shape the rewards with it before you subtract the baseline."""
    logps, _, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn) * logps).mean()


@mistake("policy_loss")
def loss_with_beta_forgotten(logits, ref_logits, rewards, actions, beta):
    """beta is missing: the log-ratio is subtracted with the weight 1."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn - (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_without_a_baseline(logits, ref_logits, rewards, actions, beta):
    """The baseline is missing. The gradient is right on average, and much noisier: subtract the mean of the others."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -((drawn - beta * (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_with_the_own_reward_in_the_baseline(logits, ref_logits, rewards, actions, beta):
    """Your baseline is the mean of all k, the answer's own reward included: it depends on the action, and the gradient
    comes out too small by (k-1)/k. Leave each answer out of its own baseline."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    shaped = (drawn - beta * (logps - ref_logps)).detach()
    return -((shaped - shaped.mean(1, keepdim=True)) * logps).mean()


@mistake("policy_loss")
def loss_with_a_baseline_of_the_batch(logits, ref_logits, rewards, actions, beta):
    """Your baseline is taken over the whole batch. Compare with the other answers to the same prompt: keep the shape
    (prompts, k) until it is subtracted."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    shaped = (drawn - beta * (logps - ref_logps)).detach()
    others = (shaped.sum() - shaped) / (shaped.numel() - 1)
    return -((shaped - others) * logps).mean()


@mistake("policy_loss")
def loss_with_the_penalty_behind_the_baseline(logits, ref_logits, rewards, actions, beta):
    """You subtract the penalty after the baseline. The shaped reward is what the objective holds: shape first, then
    subtract the mean of the others' *shaped* rewards."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -((_others_subtracted(drawn) - beta * (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_of_an_ascent(logits, ref_logits, rewards, actions, beta):
    """The sign is that of an objective. This is a loss, which an optimiser makes small."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return (_others_subtracted(drawn - beta * (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_summed_over_the_samples(logits, ref_logits, rewards, actions, beta):
    """You sum over the samples. The loss is their mean: over the k of a prompt, and over the prompts."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn - beta * (logps - ref_logps)).detach() * logps).sum()


@mistake("policy_loss")
def loss_summed_over_k(logits, ref_logits, rewards, actions, beta):
    """You sum over the k samples of a prompt and average over the prompts only: the factor 1/k is missing."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    return -(_others_subtracted(drawn - beta * (logps - ref_logps)).detach() * logps).sum(1).mean()


@mistake("policy_loss")
def loss_over_all_answers(logits, ref_logits, rewards, actions, beta):
    """You use all answers of the table, not the ones that were drawn. Gather the log-probabilities and the rewards at
    `actions`."""
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return -(_others_subtracted(rewards - beta * (logps - ref_logps)).detach() * logps).mean()


@mistake("policy_loss")
def loss_with_rewards_of_other_answers(logits, ref_logits, rewards, actions, beta):
    """The rewards are those of the first k answers of the table, not of the ones that were drawn: gather them at
    `actions`, too."""
    logps, ref_logps, _ = _sampled(logits, ref_logits, rewards, actions)
    shaped = rewards[:, : actions.shape[1]] - beta * (logps - ref_logps)
    return -(_others_subtracted(shaped).detach() * logps).mean()


@mistake("policy_loss")
def loss_of_the_reference(logits, ref_logits, rewards, actions, beta):
    """The advantages weigh the log-ratio's other half: log p_0 has crept into the loss itself. Only log p of the policy
    is made more or less likely."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    advantages = _others_subtracted(drawn - beta * (logps - ref_logps)).detach()
    return -(advantages * (logps + ref_logps)).mean()


@mistake("policy_loss")
def loss_weighted_by_the_probability(logits, ref_logits, rewards, actions, beta):
    """You weight the samples by their probabilities. They were drawn from the policy: a plain mean is the expectation."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    advantages = _others_subtracted(drawn - beta * (logps - ref_logps))
    return -((advantages * logps.exp()).detach() * logps).mean()


@mistake("policy_loss")
def loss_with_whitened_advantages(logits, ref_logits, rewards, actions, beta):
    """You divide the advantages of a prompt by their standard deviation, as GRPO does. Here the plain difference is asked
    for."""
    logps, ref_logps, drawn = _sampled(logits, ref_logits, rewards, actions)
    shaped = (drawn - beta * (logps - ref_logps)).detach()
    return -((shaped - shaped.mean(1, keepdim=True)) / (shaped.std(1, keepdim=True) + 1e-6) * logps).mean()


# --- Exercise 10: where an answer ends


def _before_the_end(tokens, end_id):
    """1 in front of the first end token."""
    return ((tokens == end_id).long().cumsum(1) == 0).long()


@mistake("answer_mask")
def end_not_counted(tokens, end_id):
    """The end token itself is not counted. The policy chose to end there, and that choice has a log-probability like any
    other."""
    return _before_the_end(tokens, end_id)


@mistake("answer_mask")
def every_token_counted(tokens, end_id):
    """Everything counts, the padding behind the end too. The policy did not choose those tokens."""
    return torch.ones_like(tokens)


@mistake("answer_mask")
def everything_but_the_end(tokens, end_id):
    """You compare each token with end_id, so whatever stands *behind* the end counts. Look for the first end token of a
    row, and take everything up to it."""
    return (tokens != end_id).long()


@mistake("answer_mask")
def only_the_end_counted(tokens, end_id):
    """Only end tokens count. The answer is everything up to the first of them."""
    return (tokens == end_id).long()


@mistake("answer_mask")
def end_counted_everywhere(tokens, end_id):
    """You count all end tokens, also those behind the first. Where padding has the id of the end token, padding counts
    then."""
    return (_before_the_end(tokens, end_id).bool() | (tokens == end_id)).long()


@mistake("answer_mask")
def up_to_the_last_end(tokens, end_id):
    """You go up to the *last* end token of a row. The answer is over at the first."""
    is_end = (tokens == end_id).long()
    behind = is_end.flip(1).cumsum(1).flip(1)  # end tokens from here on
    return ((behind > 0) | (is_end.sum(1, keepdim=True) == 0)).long()


@mistake("answer_mask")
def one_token_too_many(tokens, end_id):
    """You count one token behind the end. The end token is the last that belongs to the answer."""
    before = _before_the_end(tokens, end_id)
    ones = torch.ones_like(before[:, :1])
    return torch.cat([ones, ones, before[:, :-2]], dim=1)


@mistake("answer_mask")
def mask_inverted(tokens, end_id):
    """Your mask is upside down: 1 behind the end. It marks what counts."""
    is_end = (tokens == end_id).long()
    return (is_end.cumsum(1) - is_end > 0).long()


@mistake("answer_mask")
def as_long_as_the_longest(tokens, end_id):
    """All rows have the length of the longest answer. Each row ends at its own end token."""
    is_end = (tokens == end_id).long()
    mask = is_end.cumsum(1) - is_end == 0
    return mask.any(0, keepdim=True).expand_as(mask).long()


@mistake("answer_mask")
def as_long_as_the_shortest(tokens, end_id):
    """All rows have the length of the shortest answer. Each row ends at its own end token."""
    is_end = (tokens == end_id).long()
    mask = is_end.cumsum(1) - is_end == 0
    return mask.all(0, keepdim=True).expand_as(mask).long()


@mistake("answer_mask")
def argmax_without_an_end(tokens, end_id):
    """In a row without an end token, argmax finds "no end anywhere" at place 0, so that only its first token counts. Such
    an answer was cut off, and all of it counts."""
    first = (tokens == end_id).long().argmax(1)
    return (torch.arange(tokens.shape[1]) <= first[:, None]).long()


@mistake("answer_mask")
def nothing_without_an_end(tokens, end_id):
    """A row without an end token counts for nothing. It is an answer that was cut off, and the policy did choose its
    tokens."""
    is_end = (tokens == end_id).long()
    return ((is_end.cumsum(1) - is_end == 0) & (is_end.sum(1, keepdim=True) > 0)).long()


@mistake("answer_mask")
def zeros_taken_for_padding(tokens, end_id):
    """You count every token that is not 0. Which id padding has, and whether 0 is a word, is not known here: go by the
    first end token."""
    return (tokens != 0).long()


@mistake("answer_mask")
def length_in_place_of_a_mask(tokens, end_id):
    """You return the lengths of the answers. A mask of the shape of the tokens is asked for."""
    is_end = (tokens == end_id).long()
    return (is_end.cumsum(1) - is_end == 0).long().sum(1)


# --- Exercise 11: log-probabilities of a rollout


def _token_logps(model, input_ids, attention_mask, tokens, mask, first=-1, attend=True):
    """Log-probabilities of the tokens, from the logits that begin `first` places from the answer's first token."""
    rows = torch.cat([input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1) if attend else None
    logits = model(input_ids=rows, attention_mask=seen).logits
    places = torch.arange(tokens.shape[1]) + input_ids.shape[1] + first
    return logits[:, places].log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


@mistake("rollout_logps")
def logits_not_shifted(model, input_ids, attention_mask, tokens, mask):
    """You read log p of a token at its own place, where the model has seen it already and predicts the next one. Begin
    with the logits at the *last token of the prompt*."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask, first=0) * mask


@mistake("rollout_logps")
def logits_one_too_early(model, input_ids, attention_mask, tokens, mask):
    """You read the logits one place too early: they predict the token before. The logits at the last token of the prompt
    predict the answer's first token."""
    rows = torch.cat([input_ids[:, :1], input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask[:, :1], attention_mask, torch.ones_like(tokens)], dim=1)
    logits = model(input_ids=rows[:, 1:], attention_mask=seen[:, 1:]).logits
    places = torch.arange(tokens.shape[1]) + input_ids.shape[1] - 2
    return logits[:, places].log_softmax(-1).gather(-1, tokens[..., None])[..., 0] * mask


@mistake("rollout_logps")
def pad_tokens_counted(model, input_ids, attention_mask, tokens, mask):
    """The log-probabilities of padding are still there. Nobody chose those tokens: they are 0 behind the end."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask)


@mistake("rollout_logps")
def padding_looked_at(model, input_ids, attention_mask, tokens, mask):
    """The model looked at the padding in front of the prompts: the attention mask is missing. Join the prompts' mask and
    one for the new tokens."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask, attend=False) * mask


@mistake("rollout_logps")
def prompt_forgotten(model, input_ids, attention_mask, tokens, mask):
    """The model read only the end of the prompt. log p of an answer is given the *whole* prompt: join prompt and answer
    to one row."""
    last = input_ids[:, -1:]
    return _token_logps(model, last, attention_mask[:, -1:], tokens, mask) * mask


@mistake("rollout_logps")
def probabilities_in_place_of_logs(model, input_ids, attention_mask, tokens, mask):
    """You return probabilities. Their logarithms are asked for: log_softmax."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask).exp() * mask


@mistake("rollout_logps")
def logits_returned(model, input_ids, attention_mask, tokens, mask):
    """You return logits. They are log-probabilities only up to a constant for each place: take log_softmax over the
    vocabulary."""
    rows = torch.cat([input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, input_ids.shape[1] - 1 : -1]
    return logits.gather(-1, tokens[..., None])[..., 0] * mask


@mistake("rollout_logps")
def signs_of_a_loss(model, input_ids, attention_mask, tokens, mask):
    """The sign is wrong: this is -log p, as cross-entropy gives it. A log-probability is never above 0."""
    return -_token_logps(model, input_ids, attention_mask, tokens, mask) * mask


@mistake("rollout_logps")
def summed_to_answers(model, input_ids, attention_mask, tokens, mask):
    """You summed over the tokens. Here log p of each token is asked for, (batch, new); the sum comes in the loss."""
    return (_token_logps(model, input_ids, attention_mask, tokens, mask) * mask).sum(-1)


@mistake("rollout_logps")
def running_sums(model, input_ids, attention_mask, tokens, mask):
    """You return running sums. Each entry is log p of that one token given what stands before it."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask).cumsum(-1) * mask


@mistake("rollout_logps")
def likeliest_token(model, input_ids, attention_mask, tokens, mask):
    """You take the largest log-probability at each place. The one of the token that was *sampled* is asked for: gather it
    with `tokens`."""
    rows = torch.cat([input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, input_ids.shape[1] - 1 : -1]
    return logits.log_softmax(-1).amax(-1) * mask


@mistake("rollout_logps")
def softmax_over_the_places(model, input_ids, attention_mask, tokens, mask):
    """Your softmax runs over the places of the row. The distribution at a place is over the vocabulary, the last axis."""
    rows = torch.cat([input_ids, tokens], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)
    logps = model(input_ids=rows, attention_mask=seen).logits.log_softmax(1)[:, input_ids.shape[1] - 1 : -1]
    return logps.gather(-1, tokens[..., None])[..., 0] * mask


@mistake("rollout_logps")
def end_left_out(model, input_ids, attention_mask, tokens, mask):
    """The last token of each answer has log p = 0 in your result. It is the end mark, and the policy chose it: count
    whatever the mask marks."""
    inner = mask.long() * F.pad(mask[:, 1:].long(), (0, 1))
    return _token_logps(model, input_ids, attention_mask, tokens, mask) * inner


@mistake("rollout_logps")
def mask_the_wrong_way_round(model, input_ids, attention_mask, tokens, mask):
    """You kept what stands behind the answers and set the answers to 0. The mask is 1 on what counts."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask) * (1 - mask.long())


@mistake("rollout_logps")
def no_gradient_to_the_model(model, input_ids, attention_mask, tokens, mask):
    """The values are right, but no gradient reaches the model (no_grad or detach). The policy's log-probabilities are
    what the loss is made of; only the reference's are constants."""
    with torch.no_grad():
        return _token_logps(model, input_ids, attention_mask, tokens, mask) * mask


@mistake("rollout_logps")
def divided_by_the_length(model, input_ids, attention_mask, tokens, mask):
    """You divided by the length of the answer. log p of each token is asked for as it is."""
    return _token_logps(model, input_ids, attention_mask, tokens, mask) * mask / mask.sum(-1, keepdim=True)
