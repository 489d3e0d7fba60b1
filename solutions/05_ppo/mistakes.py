"""Wrong answers to chapter 05. Each docstring is the hint the student reads: what was done, why it is wrong, where to
look. Helpers hold what several mistakes share."""

import torch

from autograder.judging.catalogue import mistake

# --- Exercise 1: four models, and what they weigh


def _budget(policy, reward, value, size, policy_n=4, reference_n=1, reward_n=1, value_n=4, reference=None):
    """The budget with so many numbers a parameter for each model."""
    return {
        "policy": policy_n * size * policy,
        "reference": reference_n * size * (policy if reference is None else reference),
        "reward": reward_n * size * reward,
        "value": value_n * size * value,
    }


@mistake("memory_budget")
def weights_alone(policy, reward, value, bytes_per_number=4):
    """You count the weights of each model and nothing else. A model that is trained also holds a gradient and Adam's two
    moments for every weight."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=1, value_n=1)


@mistake("memory_budget")
def no_gradients(policy, reward, value, bytes_per_number=4):
    """Your trained models hold weights and Adam's two moments: three numbers a parameter. While they learn, a gradient is
    there for every weight as well."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=3, value_n=3)


@mistake("memory_budget")
def no_optimizer(policy, reward, value, bytes_per_number=4):
    """Your trained models hold weights and gradients only. Adam keeps two more numbers for every weight: the running mean
    of its gradient and of the gradient's square."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=2, value_n=2)


@mistake("memory_budget")
def a_fifth_number(policy, reward, value, bytes_per_number=4):
    """You count five numbers for a parameter that is trained. They are four here: weight, gradient, first and second moment;
    mixed precision with a master copy of the weights would be another budget."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=5, value_n=5)


@mistake("memory_budget")
def all_are_trained(policy, reward, value, bytes_per_number=4):
    """You give all four models gradients and optimiser state. Two of them never change while PPO runs: the reference and
    the reward model."""
    return _budget(policy, reward, value, bytes_per_number, reference_n=4, reward_n=4)


@mistake("memory_budget")
def reference_is_trained(policy, reward, value, bytes_per_number=4):
    """You count the reference as if it were trained. It is the policy as it was before, frozen: weights only."""
    return _budget(policy, reward, value, bytes_per_number, reference_n=4)


@mistake("memory_budget")
def reward_is_trained(policy, reward, value, bytes_per_number=4):
    """You count the reward model as if it were trained. That was done before PPO begins; here it only gives scores:
    weights only."""
    return _budget(policy, reward, value, bytes_per_number, reward_n=4)


@mistake("memory_budget")
def value_is_frozen(policy, reward, value, bytes_per_number=4):
    """You count the value model as frozen. It learns together with the policy, from the returns: it holds gradients and
    optimiser state too."""
    return _budget(policy, reward, value, bytes_per_number, value_n=1)


@mistake("memory_budget")
def policy_is_frozen(policy, reward, value, bytes_per_number=4):
    """You count the policy as frozen. It is the very model that PPO trains: weight, gradient and Adam's two moments."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=1)


@mistake("memory_budget")
def no_reference(policy, reward, value, bytes_per_number=4):
    """Your reference weighs nothing. It is a second copy of the policy's weights, kept as they were at the start; the
    policy's own weights move away from them."""
    return _budget(policy, reward, value, bytes_per_number, reference_n=0)


@mistake("memory_budget")
def reference_as_large_as_reward(policy, reward, value, bytes_per_number=4):
    """Your reference has the size of the reward model. It is a copy of the policy, so it has the policy's."""
    return _budget(policy, reward, value, bytes_per_number, reference=reward)


@mistake("memory_budget")
def value_as_large_as_policy(policy, reward, value, bytes_per_number=4):
    """Your value model has the size of the policy. It is a model of its own here, with a size of its own: `value`."""
    return _budget(policy, reward, policy, bytes_per_number)


@mistake("memory_budget")
def value_as_large_as_reward(policy, reward, value, bytes_per_number=4):
    """Your value model has the size of the reward model. It is often started from it, but it need not be: use `value`."""
    return _budget(policy, reward, reward, bytes_per_number)


@mistake("memory_budget")
def always_four_bytes(policy, reward, value, bytes_per_number=4):
    """You count four bytes a number whatever bytes_per_number says."""
    return _budget(policy, reward, value, 4)


@mistake("memory_budget")
def numbers_not_bytes(policy, reward, value, bytes_per_number=4):
    """You count numbers, not bytes: multiply by bytes_per_number."""
    return _budget(policy, reward, value, 1)


@mistake("memory_budget")
def bits(policy, reward, value, bytes_per_number=4):
    """Your result is eight times too large: bytes were asked for, not bits."""
    return _budget(policy, reward, value, 8 * bytes_per_number)


@mistake("memory_budget")
def in_gib(policy, reward, value, bytes_per_number=4):
    """You divide by 2**30: the result should be bytes, as they are."""
    return _budget(policy, reward, value, bytes_per_number / 2**30)


@mistake("memory_budget")
def trained_and_frozen_swapped(policy, reward, value, bytes_per_number=4):
    """You count the reference and the reward model as trained, and the policy and the value model as frozen. It is the
    other way round."""
    return _budget(policy, reward, value, bytes_per_number, policy_n=1, reference_n=4, reward_n=4, value_n=1)


# --- Exercise 2: a reward for every token


def _last(mask):
    return mask.sum(1).long() - 1


def _kl(logps, ref_logps, mask, beta):
    """-beta log-ratio on the tokens, 0 on padding."""
    return -beta * (logps - ref_logps).detach().masked_fill(mask == 0, 0.0)


def _scored(rewards, scores, where):
    rewards = rewards.clone()
    rewards[torch.arange(len(scores)), where] += scores
    return rewards


@mistake("token_rewards")
def kl_as_a_reward(scores, logps, ref_logps, mask, beta):
    """The sign of the KL term is wrong: you *pay* the policy for tokens that it likes better than the reference does. The KL
    is a penalty, -beta (logps - ref_logps)."""
    return _scored(_kl(logps, ref_logps, mask, -beta), scores, _last(mask))


@mistake("token_rewards")
def score_on_every_token(scores, logps, ref_logps, mask, beta):
    """You add the score on every token, so a long answer collects it many times over. The reward model judged the whole
    answer once: the score belongs on its last token."""
    return _kl(logps, ref_logps, mask, beta) + scores[:, None] * mask


@mistake("token_rewards")
def score_spread_over_tokens(scores, logps, ref_logps, mask, beta):
    """You spread the score evenly over the answer's tokens. The whole of it comes at the end, on the last token; to share
    it out among the tokens is the business of the advantages."""
    return _kl(logps, ref_logps, mask, beta) + scores[:, None] * mask / mask.sum(1, keepdim=True)


@mistake("token_rewards")
def score_at_the_end_of_the_row(scores, logps, ref_logps, mask, beta):
    """You put the score on the last place of the *row*. For a shorter answer that is padding, and the answer never hears of
    its score. The last real token is where the row's mask ends."""
    return _scored(_kl(logps, ref_logps, mask, beta), scores, -1)


@mistake("token_rewards")
def score_on_the_first_token(scores, logps, ref_logps, mask, beta):
    """You put the score on the first token. The reward model has to read the whole answer first: it comes with the last."""
    return _scored(_kl(logps, ref_logps, mask, beta), scores, 0)


@mistake("token_rewards")
def score_one_too_early(scores, logps, ref_logps, mask, beta):
    """Your score is one token too early. An answer of n tokens ends at place n - 1: look for a 1 subtracted twice."""
    return _scored(_kl(logps, ref_logps, mask, beta), scores, _last(mask) - 1)


@mistake("token_rewards")
def score_one_too_late(scores, logps, ref_logps, mask, beta):
    """Your score is one place too late, on the padding behind the answer. An answer of n tokens ends at place n - 1."""
    return _scored(_kl(logps, ref_logps, mask, beta), scores, (_last(mask) + 1).clamp(max=mask.shape[1] - 1))


@mistake("token_rewards")
def score_instead_of_kl(scores, logps, ref_logps, mask, beta):
    """On the last token you *replace* the KL reward by the score. The last token was chosen like the others and pays like
    them: add the score."""
    rewards = _kl(logps, ref_logps, mask, beta)
    rewards[torch.arange(len(scores)), _last(mask)] = scores
    return rewards


@mistake("token_rewards")
def kl_of_the_answer_at_the_end(scores, logps, ref_logps, mask, beta):
    """You put the KL of the whole answer on its last token. Its sum is right, but each token can be charged for its own
    part, and then the advantages know which one was expensive."""
    total = _kl(logps, ref_logps, mask, beta).sum(1)
    return _scored(torch.zeros_like(logps).detach(), scores + total, _last(mask))


@mistake("token_rewards")
def kl_counted_on_padding(scores, logps, ref_logps, mask, beta):
    """The log-probabilities on padding find their way into your rewards. Nobody said those tokens: the reward there is 0."""
    return _scored(-beta * (logps - ref_logps).detach(), scores, _last(mask))


@mistake("token_rewards")
def padding_times_zero(scores, logps, ref_logps, mask, beta):
    """You multiply by the mask to be rid of the padding. But 0 times infinity, or times NaN, is NaN: replace these entries
    (masked_fill, torch.where)."""
    return _scored(-beta * (logps - ref_logps).detach() * mask, scores, _last(mask))


@mistake("token_rewards")
def no_kl(scores, logps, ref_logps, mask, beta):
    """The KL term is missing: only the score is there. Without it nothing holds the policy near the reference."""
    return _scored(torch.zeros_like(logps).detach(), scores, _last(mask))


@mistake("token_rewards")
def no_score(scores, logps, ref_logps, mask, beta):
    """The score is missing: only the KL term is there, and the best policy is then the reference itself."""
    return _kl(logps, ref_logps, mask, beta)


@mistake("token_rewards")
def beta_forgotten(scores, logps, ref_logps, mask, beta):
    """The KL term is not weighed by beta."""
    return _scored(_kl(logps, ref_logps, mask, 1.0), scores, _last(mask))


@mistake("token_rewards")
def score_times_beta(scores, logps, ref_logps, mask, beta):
    """You multiply the score by beta too. beta weighs the KL against the score, which keeps its own scale."""
    return _scored(_kl(logps, ref_logps, mask, beta), beta * scores, _last(mask))


@mistake("token_rewards")
def ratio_not_its_logarithm(scores, logps, ref_logps, mask, beta):
    """You charge the ratio of the probabilities, not its logarithm: there is an exp too much."""
    ratio = (logps - ref_logps).detach().exp().masked_fill(mask == 0, 0.0)
    return _scored(-beta * ratio, scores, _last(mask))


@mistake("token_rewards")
def difference_of_probabilities(scores, logps, ref_logps, mask, beta):
    """You charge the difference of the *probabilities*. The KL is made of the difference of their logarithms: no exp."""
    difference = (logps.exp() - ref_logps.exp()).detach().masked_fill(mask == 0, 0.0)
    return _scored(-beta * difference, scores, _last(mask))


@mistake("token_rewards")
def absolute_log_ratio(scores, logps, ref_logps, mask, beta):
    """You charge the *size* of the log-ratio. Its sign matters: a token that the policy likes less than the reference gets
    something back, and only so is the mean the KL."""
    ratio = (logps - ref_logps).detach().abs().masked_fill(mask == 0, 0.0)
    return _scored(-beta * ratio, scores, _last(mask))


@mistake("token_rewards")
def half_the_square(scores, logps, ref_logps, mask, beta):
    """You charge half the square of the log-ratio (the estimator k2). Its mean is not the KL; PPO's reward is linear in the
    log-ratio."""
    ratio = (logps - ref_logps).detach().square().masked_fill(mask == 0, 0.0) / 2
    return _scored(-beta * ratio, scores, _last(mask))


@mistake("token_rewards")
def k3_in_the_reward(scores, logps, ref_logps, mask, beta):
    """You charge the estimator k3, exp(-x) - 1 + x. As a *reward* it is wrong, although its mean is the KL: its gradient is
    not that of the KL. Use the log-ratio x itself."""
    x = (logps - ref_logps).detach().masked_fill(mask == 0, 0.0)
    return _scored(-beta * ((-x).exp() - 1 + x), scores, _last(mask))


@mistake("token_rewards")
def kl_summed_up_so_far(scores, logps, ref_logps, mask, beta):
    """Each of your tokens pays for all tokens before it again (a cumulative sum). It pays for itself alone; what follows
    from it is summed later, in the advantages."""
    return _scored(_kl(logps, ref_logps, mask, beta).cumsum(1) * mask, scores, _last(mask))


@mistake("token_rewards")
def gradient_through_the_reward(scores, logps, ref_logps, mask, beta):
    """Your rewards still hang on the graph of logps, so a gradient would flow through them. A reward is a constant for the
    policy gradient: detach the log-ratio."""
    log_ratio = (logps - ref_logps).masked_fill(mask == 0, 0.0)
    return _scored(-beta * log_ratio, scores, _last(mask))


# --- Exercise 3: generalised advantage estimation


def _clean(rewards, values, mask):
    return rewards.masked_fill(mask == 0, 0.0), values.masked_fill(mask == 0, 0.0)


def _recursion(rewards, values, step):
    """Backwards: step(reward, value, next value, next advantage) gives (advantage, what is handed on)."""
    advantages = torch.zeros_like(rewards)
    next_value = handed = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        advantages[:, t], handed = step(rewards[:, t], values[:, t], next_value, handed)
        next_value = values[:, t]
    return advantages


def _gae(rewards, values, mask, gamma, lam):
    """As it should be."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + gamma * v_next - v + gamma * lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def crossing_the_end(rewards, values, mask, gamma, lam):
    """Your recursion starts at the end of the *row* and carries rewards and values of the padding into the answer. An
    answer is an episode: after its last token there is nothing. Set both to 0 on padding first."""
    ones = torch.ones_like(mask)
    return _gae(rewards, values, ones, gamma, lam).masked_fill(mask == 0, 0.0)


@mistake("gae")
def value_after_the_end(rewards, values, mask, gamma, lam):
    """After the last token you go on with a value of the padding. The episode is over there: the value is 0. Only your
    rewards were cleared of padding."""
    rewards, _ = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + gamma * v_next - v + gamma * lam * a_next
        return a, a

    advantages = torch.zeros_like(rewards)
    for row, n in enumerate(mask.sum(1).tolist()):
        a_next = 0.0
        for t in reversed(range(n)):
            v_next = values[row, t + 1] if t + 1 < mask.shape[1] else 0.0
            advantages[row, t], a_next = step(rewards[row, t], values[row, t], v_next, a_next)
    return advantages


@mistake("gae")
def last_value_again(rewards, values, mask, gamma, lam):
    """After the last token you take its own value once more. That is done where an episode is cut short; an answer that
    ended has nothing to come: the value there is 0."""
    rewards, values = _clean(rewards, values, mask)
    advantages = torch.zeros_like(rewards)
    for row, n in enumerate(mask.sum(1).tolist()):
        a_next, v_next = 0.0, values[row, n - 1]
        for t in reversed(range(n)):
            a_next = rewards[row, t] + gamma * v_next - values[row, t] + gamma * lam * a_next
            advantages[row, t], v_next = a_next, values[row, t]
    return advantages


@mistake("gae")
def no_lam(rewards, values, mask, gamma, lam):
    """lam plays no part in your recursion. It decides how far a surprise is carried back: gamma * lam a step."""
    return _gae(rewards, values, mask, gamma, 1.0)


@mistake("gae")
def only_the_next_value(rewards, values, mask, gamma, lam):
    """You return the surprises delta themselves. GAE sums those that follow too, each gamma * lam times smaller than the
    one before it."""
    return _gae(rewards, values, mask, gamma, 0.0)


@mistake("gae")
def carried_by_lam_alone(rewards, values, mask, gamma, lam):
    """You carry the advantage back with lam alone. Each step also discounts: it is gamma * lam."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + gamma * v_next - v + lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def next_value_undiscounted(rewards, values, mask, gamma, lam):
    """In delta your next value is not discounted: it is r + gamma V' - V."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + v_next - v + gamma * lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def never_discounted(rewards, values, mask, gamma, lam):
    """gamma plays no part in your function. It discounts the next value in delta, and the advantage that is carried back."""
    return _gae(rewards, values, mask, 1.0, lam)


@mistake("gae")
def values_with_the_wrong_sign(rewards, values, mask, gamma, lam):
    """Your delta is r - gamma V' + V. A surprise is what came, r + gamma V', less what was expected, V."""
    return _gae(rewards, -values, mask, gamma, lam)


@mistake("gae")
def lam_in_delta(rewards, values, mask, gamma, lam):
    """You multiply the next value in delta by lam. lam weighs only the advantage that is carried back."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + gamma * lam * v_next - v + gamma * lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def no_next_value(rewards, values, mask, gamma, lam):
    """The next value is missing from your delta. What a token is worth shows in its reward *and* in what the value model
    expects after it."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r - v + gamma * lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def no_value_at_all(rewards, values, mask, gamma, lam):
    """The values play no part in your result. An advantage says how much better things went than the value model
    expected."""
    return _gae(rewards, torch.zeros_like(values), mask, gamma, lam)


@mistake("gae")
def value_not_subtracted(rewards, values, mask, gamma, lam):
    """You do not subtract the token's own value: delta is r + gamma V' - V."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, a_next):
        a = r + gamma * v_next + gamma * lam * a_next
        return a, a

    return _recursion(rewards, values, step)


@mistake("gae")
def returns_instead(rewards, values, mask, gamma, lam):
    """You return advantages plus values. Those are the returns, from which the value model learns; they come later."""
    _, clean = _clean(rewards, values, mask)
    return _gae(rewards, values, mask, gamma, lam) + clean


@mistake("gae")
def only_delta_carried(rewards, values, mask, gamma, lam):
    """You carry back the next *delta*, not the next advantage, so that each token hears of one step only. The recursion
    adds gamma * lam times the next advantage, which holds everything behind it."""
    rewards, values = _clean(rewards, values, mask)

    def step(r, v, v_next, d_next):
        d = r + gamma * v_next - v
        return d + gamma * lam * d_next, d

    return _recursion(rewards, values, step)


@mistake("gae")
def forwards_in_time(rewards, values, mask, gamma, lam):
    """Your recursion runs forwards: a token is credited with what came *before* it. Start at the last token and go back."""
    rewards, values = _clean(rewards, values, mask)
    deltas = _gae(rewards, values, mask, gamma, 0.0)
    advantages, carried = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1]):
        carried = advantages[:, t] = deltas[:, t] + gamma * lam * carried
    return advantages.masked_fill(mask == 0, 0.0)


@mistake("gae")
def not_turned_round_again(rewards, values, mask, gamma, lam):
    """Your advantages come out in the wrong order: they were collected from the last token to the first. Turn the list
    round before you stack it."""
    return _gae(rewards, values, mask, gamma, lam).flip(1)


@mistake("gae")
def padding_multiplied_by_the_mask(rewards, values, mask, gamma, lam):
    """You multiply by the mask to be rid of the padding. But 0 times NaN is NaN, and the recursion carries it into the
    answer: replace these entries (masked_fill, torch.where)."""
    return _gae(rewards * mask, values * mask, torch.ones_like(mask), gamma, lam)


@mistake("gae")
def divided_by_the_length(rewards, values, mask, gamma, lam):
    """You divide by the length of the answer. Nothing is averaged here: an advantage is a sum of surprises."""
    return _gae(rewards, values, mask, gamma, lam) / mask.sum(1, keepdim=True)


@mistake("gae")
def already_whitened(rewards, values, mask, gamma, lam):
    """You whiten the advantages here. That is another exercise; the returns need them as they are."""
    return _whiten(_gae(rewards, values, mask, gamma, lam), mask)


@mistake("gae")
def rewards_of_the_next_token(rewards, values, mask, gamma, lam):
    """Your delta takes the reward of the *next* token. rewards[:, t] is what token t itself earned."""
    rewards, values = _clean(rewards, values, mask)
    later = torch.cat([rewards[:, 1:], torch.zeros_like(rewards[:, :1])], dim=1)
    return _gae(later, values, mask, gamma, lam)


# --- Exercise 4: whitening under a mask


def _moments(values, mask):
    values = values.masked_fill(mask == 0, 0.0)
    n = mask.sum()
    mean = values.sum() / n
    return values, n, mean, ((values - mean).square() * mask).sum() / n


def _finish(values, mask, mean, spread, shift_mean):
    whitened = (values - mean) / spread
    return (whitened if shift_mean else whitened + mean).masked_fill(mask == 0, 0.0)


def _whiten(values, mask):
    """As it should be."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), True)


@mistake("masked_whiten")
def padding_in_the_moments(values, mask, shift_mean=True):
    """Mean and variance are taken over all entries, padding included. What stands there is nobody's: use the entries whose
    mask is 1."""
    mean, variance = values.mean(), values.var(unbiased=False)
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def zeros_counted(values, mask, shift_mean=True):
    """You set the padding to 0 and then take mean and variance of everything: the zeros count as entries. Divide by the
    number of 1s in the mask."""
    values = values.masked_fill(mask == 0, 0.0)
    return _finish(values, mask, values.mean(), (values.var(unbiased=False) + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def zeros_in_the_variance(values, mask, shift_mean=True):
    """The mean is right, but the variance sums the zeros on padding too, at their distance from the mean. Mask the squared
    distances as well."""
    values, n, mean, _ = _moments(values, mask)
    variance = (values - mean).square().sum() / n
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def variance_over_all_places(values, mask, shift_mean=True):
    """You divide the sum of the squares by the number of all places. Only those under the mask were summed: divide by their
    number."""
    values, n, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, (variance * n / mask.numel() + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def divided_by_n_minus_one(values, mask, shift_mean=True):
    """You divide by n - 1 (torch's `var` does so unless told otherwise). Here the variance is the mean squared distance:
    divide by n."""
    values, n, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, (variance * n / (n - 1) + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def epsilon_outside_the_root(values, mask, shift_mean=True):
    """You add 1e-8 to the standard deviation. It belongs to the variance, under the root."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, variance.sqrt() + 1e-8, shift_mean)


@mistake("masked_whiten")
def no_epsilon(values, mask, shift_mean=True):
    """Nothing keeps you from dividing by 0: where all entries are the same you get NaN. Add 1e-8 to the variance."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, variance.sqrt(), shift_mean)


@mistake("masked_whiten")
def divided_by_the_variance(values, mask, shift_mean=True):
    """You divide by the variance. Whitened numbers have a spread of 1: divide by its square root."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, variance + 1e-8, shift_mean)


@mistake("masked_whiten")
def mean_not_removed(values, mask, shift_mean=True):
    """The mean is still there, with shift_mean=True as well: subtract it."""
    values, _, _, variance = _moments(values, mask)
    return _finish(values, mask, 0.0, (variance + 1e-8).sqrt(), True)


@mistake("masked_whiten")
def shift_mean_ignored(values, mask, shift_mean=True):
    """shift_mean changes nothing in your function. With False, the mean has to be added back at the end."""
    return _whiten(values, mask)


@mistake("masked_whiten")
def mean_never_shifted(values, mask, shift_mean=True):
    """You add the mean back in every case. Do it only with shift_mean=False."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), False)


@mistake("masked_whiten")
def shift_mean_upside_down(values, mask, shift_mean=True):
    """You add the mean back when shift_mean is True, and not when it is False. Look at the condition."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), not shift_mean)


@mistake("masked_whiten")
def mean_kept_by_not_subtracting(values, mask, shift_mean=True):
    """With shift_mean=False you divide the numbers as they are, so that the mean is divided as well. Subtract it, divide, and
    add it back: then it is where it was."""
    values, _, mean, variance = _moments(values, mask)
    return _finish(values, mask, mean if shift_mean else 0.0, (variance + 1e-8).sqrt(), True)


@mistake("masked_whiten")
def mean_square_for_variance(values, mask, shift_mean=True):
    """Your spread is the mean *square* of the numbers, taken before the mean is removed. The variance is the mean squared
    distance from the mean."""
    values, n, mean, _ = _moments(values, mask)
    return _finish(values, mask, mean, (values.square().sum() / n + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def row_by_row(values, mask, shift_mean=True):
    """You whiten every row by itself. Then each answer looks as good as every other: mean and variance are those of the
    whole batch."""
    values, n = values.masked_fill(mask == 0, 0.0), mask.sum(1, keepdim=True)
    mean = values.sum(1, keepdim=True) / n
    variance = ((values - mean).square() * mask).sum(1, keepdim=True) / n
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def column_by_column(values, mask, shift_mean=True):
    """You whiten every column by itself. Mean and variance are those of all entries of the batch together."""
    values, n = values.masked_fill(mask == 0, 0.0), mask.sum(0, keepdim=True).clamp(min=1)
    mean = values.sum(0, keepdim=True) / n
    variance = ((values - mean).square() * mask).sum(0, keepdim=True) / n
    return _finish(values, mask, mean, (variance + 1e-8).sqrt(), shift_mean)


@mistake("masked_whiten")
def padding_left_as_it_comes(values, mask, shift_mean=True):
    """Outside the mask your result is not 0: whatever stood there was shifted and divided too. Set it to 0 at the end."""
    _, _, mean, variance = _moments(values, mask)
    whitened = (values - mean) / (variance + 1e-8).sqrt()
    return whitened if shift_mean else whitened + mean


@mistake("masked_whiten")
def mask_as_a_factor(values, mask, shift_mean=True):
    """You multiply by the mask to be rid of what stands outside. But 0 times NaN or infinity is NaN: replace these entries
    (masked_fill, torch.where)."""
    n = mask.sum()
    mean = (values * mask).sum() / n
    variance = ((values - mean).square() * mask).sum() / n
    whitened = (values - mean) / (variance + 1e-8).sqrt()
    return (whitened if shift_mean else whitened + mean) * mask


# --- Exercise 5: what each model learns from


def _returns(advantages, values, mask):
    return (advantages + values).masked_fill(mask == 0, 0.0)


@mistake("advantages_and_returns")
def returns_from_whitened_advantages(rewards, values, mask, gamma, lam):
    """Your returns are made of the *whitened* advantages. Whitening changes mean and scale, so they are no sums of rewards
    any more: take the advantages as gae gave them."""
    advantages = _whiten(_gae(rewards, values, mask, gamma, lam), mask)
    return advantages, _returns(advantages, values, mask)


@mistake("advantages_and_returns")
def nothing_whitened(rewards, values, mask, gamma, lam):
    """Your advantages are not whitened. The policy's step should not depend on the scale of the rewards."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return advantages, _returns(advantages, values, mask)


@mistake("advantages_and_returns")
def both_whitened(rewards, values, mask, gamma, lam):
    """You whiten the returns too. The value model has to learn the rewards' own scale: leave them as they are."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), _whiten(_returns(advantages, values, mask), mask)


@mistake("advantages_and_returns")
def returns_without_values(rewards, values, mask, gamma, lam):
    """Your returns are the advantages. An advantage is the distance from what the value model said: add the values again."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), advantages


@mistake("advantages_and_returns")
def values_subtracted(rewards, values, mask, gamma, lam):
    """You subtract the values from the advantages. They were subtracted in `gae` already: add them to undo it."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), _returns(advantages, -values, mask)


@mistake("advantages_and_returns")
def the_other_order(rewards, values, mask, gamma, lam):
    """You return the two in the wrong order: first the advantages, then the returns."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _returns(advantages, values, mask), _whiten(advantages, mask)


@mistake("advantages_and_returns")
def plain_sums_of_rewards(rewards, values, mask, gamma, lam):
    """Your returns are the discounted sums of the rewards to come. They should be advantages plus values, which lean on the
    value model as much as lam says; the two agree at lam = 1 only."""
    sums = _gae(rewards, torch.zeros_like(values), mask, gamma, 1.0)
    return _whiten(_gae(rewards, values, mask, gamma, lam), mask), sums


@mistake("advantages_and_returns")
def reward_plus_value(rewards, values, mask, gamma, lam):
    """Your returns are rewards plus values. It is the *advantages* that are added to the values."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), _returns(rewards, values, mask)


@mistake("advantages_and_returns")
def values_on_the_padding(rewards, values, mask, gamma, lam):
    """On padding your returns are not 0: the values that stand there came in with the sum."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), advantages + values


@mistake("advantages_and_returns")
def masked_by_a_factor(rewards, values, mask, gamma, lam):
    """You multiply the returns by the mask. Where the values on padding are NaN, they stay NaN: replace them."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    return _whiten(advantages, mask), (advantages + values) * mask


@mistake("advantages_and_returns")
def mean_not_shifted(rewards, values, mask, gamma, lam):
    """Your whitened advantages kept their mean (shift_mean=False). Then most tokens are praised, or most are blamed: shift
    it to 0."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    values_, _, mean, variance = _moments(advantages, mask)
    return _finish(values_, mask, mean, (variance + 1e-8).sqrt(), False), _returns(advantages, values, mask)


@mistake("advantages_and_returns")
def whitened_over_padding(rewards, values, mask, gamma, lam):
    """The zeros on padding count in mean and variance of your whitening: hand the mask to masked_whiten."""
    advantages = _gae(rewards, values, mask, gamma, lam)
    whitened = _whiten(advantages, torch.ones_like(mask)).masked_fill(mask == 0, 0.0)
    return whitened, _returns(advantages, values, mask)


@mistake("advantages_and_returns")
def rewards_whitened_first(rewards, values, mask, gamma, lam):
    """You whiten the rewards before `gae`. Then they no longer fit the values, which are in the old scale: whiten the
    advantages."""
    advantages = _gae(_whiten(rewards, mask), values, mask, gamma, lam)
    return advantages, _returns(advantages, values, mask)


@mistake("advantages_and_returns")
def gamma_and_lam_swapped(rewards, values, mask, gamma, lam):
    """You hand gamma and lam to `gae` in the wrong order."""
    advantages = _gae(rewards, values, mask, lam, gamma)
    return _whiten(advantages, mask), _returns(advantages, values, mask)


# --- Exercise 6: the clipped objective


def _mean(x, mask):
    return (x * mask).sum() / mask.sum()


def _ratio(logps, old_logps):
    return (logps - old_logps.detach()).exp()


def _clip_loss(ratio, clipped, advantages, mask):
    return -_mean(torch.minimum(ratio * advantages, clipped * advantages), mask)


@mistake("clipped_policy_loss")
def max_for_min(logps, old_logps, advantages, mask, clip_range):
    """You take the larger of the two terms. The objective is to be pessimistic: the minimum stops a token that has gone far
    enough, and never one that went the wrong way. (With the minus sign inside, it is the *maximum* of the losses.)"""
    ratio = _ratio(logps, old_logps)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -_mean(torch.maximum(ratio * advantages, clipped * advantages), mask)


@mistake("clipped_policy_loss")
def ratio_upside_down(logps, old_logps, advantages, mask, clip_range):
    """Your ratio is inverted: it is the old probability over the new. It should be exp(logps - old_logps)."""
    ratio = (old_logps.detach() - logps).exp()
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def clip_in_log_space(logps, old_logps, advantages, mask, clip_range):
    """You clip the *logarithm* of the ratio to +-clip_range. That is another range, exp(-c) to exp(c): clip the ratio
    itself, to 1 - c and 1 + c."""
    log_ratio = logps - old_logps.detach()
    return _clip_loss(log_ratio.exp(), log_ratio.clamp(-clip_range, clip_range).exp(), advantages, mask)


@mistake("clipped_policy_loss")
def old_not_detached(logps, old_logps, advantages, mask, clip_range):
    """The gradient also flows through old_logps. Where old and new are one tensor, the two parts cancel and nothing is
    learned: detach the old ones."""
    ratio = (logps - old_logps).exp()
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def reciprocal_lower_bound(logps, old_logps, advantages, mask, clip_range):
    """Your lower bound is 1 / (1 + clip_range). PPO's range is symmetric about 1 in the ratio: it is 1 - clip_range."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio.clamp(1 / (1 + clip_range), 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def mean_with_padding(logps, old_logps, advantages, mask, clip_range):
    """You take the mean over all places, padding included. Use the answers' tokens only: sum under the mask, divided by
    the mask's sum."""
    ratio = _ratio(logps, old_logps)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


@mistake("clipped_policy_loss")
def divided_by_all_places(logps, old_logps, advantages, mask, clip_range):
    """Padding does not count in your sum, but it counts in the number you divide by. Divide by the number of answer
    tokens."""
    ratio = _ratio(logps, old_logps)
    loss = _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)
    return loss * mask.sum() / mask.numel()


@mistake("clipped_policy_loss")
def mean_of_the_means(logps, old_logps, advantages, mask, clip_range):
    """You take the mean of each answer first, and then the mean of those: tokens of short answers weigh more. Here all
    answer tokens of the batch weigh the same."""
    ratio = _ratio(logps, old_logps)
    objective = torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)
    return -((objective * mask).sum(1) / mask.sum(1)).mean()


@mistake("clipped_policy_loss")
def sum_over_tokens(logps, old_logps, advantages, mask, clip_range):
    """You sum over the tokens of each answer and take the mean over answers. The loss is a mean over all answer tokens."""
    ratio = _ratio(logps, old_logps)
    objective = torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)
    return -(objective * mask).sum(1).mean()


@mistake("clipped_policy_loss")
def no_division(logps, old_logps, advantages, mask, clip_range):
    """You sum over the tokens and do not divide by their number."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask) * mask.sum()


@mistake("clipped_policy_loss")
def objective_not_loss(logps, old_logps, advantages, mask, clip_range):
    """The sign is wrong: you return the objective, which is to be maximised. An optimiser minimises: minus."""
    ratio = _ratio(logps, old_logps)
    return -_clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def not_clipped(logps, old_logps, advantages, mask, clip_range):
    """Nothing is clipped: this is ratio times advantage, and a few steps on the same answers carry the policy far away."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio, advantages, mask)


@mistake("clipped_policy_loss")
def always_clipped(logps, old_logps, advantages, mask, clip_range):
    """You use the clipped ratio alone. Then a token that went the *wrong* way beyond the range has no gradient either and
    is never corrected: take the minimum with the unclipped term."""
    clipped = _ratio(logps, old_logps).clamp(1 - clip_range, 1 + clip_range)
    return _clip_loss(clipped, clipped, advantages, mask)


@mistake("clipped_policy_loss")
def min_of_the_ratios(logps, old_logps, advantages, mask, clip_range):
    """You take the minimum of the two *ratios* and multiply by A afterwards. With A < 0 that turns the choice round: take
    the minimum of the two products."""
    ratio = _ratio(logps, old_logps)
    smaller = torch.minimum(ratio, ratio.clamp(1 - clip_range, 1 + clip_range))
    return _clip_loss(smaller, smaller, advantages, mask)


@mistake("clipped_policy_loss")
def only_the_upper_bound(logps, old_logps, advantages, mask, clip_range):
    """Your range has no lower end. Bad tokens (A < 0) become rarer and rarer without a stop: clip at 1 - clip_range too."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio.clamp(max=1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def only_the_lower_bound(logps, old_logps, advantages, mask, clip_range):
    """Your range has no upper end. Good tokens become likelier without a stop: clip at 1 + clip_range too."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio.clamp(min=1 - clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def product_clipped(logps, old_logps, advantages, mask, clip_range):
    """You clip ratio times advantage. Only the ratio is clipped, before it meets A."""
    product = _ratio(logps, old_logps) * advantages
    return -_mean(torch.minimum(product, product.clamp(1 - clip_range, 1 + clip_range)), mask)


@mistake("clipped_policy_loss")
def range_around_zero(logps, old_logps, advantages, mask, clip_range):
    """You clip the ratio to -clip_range and +clip_range. It is 1 where nothing changed: the range lies around 1."""
    ratio = _ratio(logps, old_logps)
    return _clip_loss(ratio, ratio.clamp(-clip_range, clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def difference_for_ratio(logps, old_logps, advantages, mask, clip_range):
    """You use the difference of the log-probabilities as the ratio. Its exponential is the ratio."""
    ratio = logps - old_logps.detach()
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def quotient_of_logarithms(logps, old_logps, advantages, mask, clip_range):
    """You divide one log-probability by the other. A quotient of probabilities is the exponential of a *difference* of
    logarithms."""
    ratio = logps / old_logps.detach()
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


@mistake("clipped_policy_loss")
def plain_reinforce(logps, old_logps, advantages, mask, clip_range):
    """This is REINFORCE's surrogate, -A logps. At the first step its gradient is the same, but the ratio is missing, and with
    it everything that the later steps need."""
    return -_mean(logps * advantages, mask)


@mistake("clipped_policy_loss")
def ratio_of_the_answer(logps, old_logps, advantages, mask, clip_range):
    """You take one ratio for the whole answer: the log-probabilities are summed over its tokens first. In PPO each token has
    a ratio of its own."""
    ratio = ((logps - old_logps.detach()) * mask).sum(1, keepdim=True).exp()
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), advantages, mask)


# --- Exercise 7: how much the clip stops


def _is_stopped(ratio, advantages, clip_range):
    return ((advantages > 0) & (ratio > 1 + clip_range)) | ((advantages < 0) & (ratio < 1 - clip_range))


@mistake("clip_fraction")
def outside_the_range(logps, old_logps, advantages, mask, clip_range):
    """You count every ratio outside the range. A token that went the wrong way is not stopped: with A > 0 only a ratio
    above the range is, with A < 0 only one below."""
    return _mean(((_ratio(logps, old_logps) - 1).abs() > clip_range).float(), mask)


@mistake("clip_fraction")
def the_other_corners(logps, old_logps, advantages, mask, clip_range):
    """You count the two corners where the clip does *not* bite. A good token is stopped when it has become likelier, a bad
    one when it has become less likely."""
    return _mean(_is_stopped(_ratio(logps, old_logps), -advantages, clip_range).float(), mask)


@mistake("clip_fraction")
def above_the_range_only(logps, old_logps, advantages, mask, clip_range):
    """You count only good tokens that became likelier. Bad ones (A < 0) are stopped below the range."""
    return _mean(((advantages > 0) & (_ratio(logps, old_logps) > 1 + clip_range)).float(), mask)


@mistake("clip_fraction")
def below_the_range_only(logps, old_logps, advantages, mask, clip_range):
    """You count only bad tokens that became rarer. Good ones (A > 0) are stopped above the range."""
    return _mean(((advantages < 0) & (_ratio(logps, old_logps) < 1 - clip_range)).float(), mask)


@mistake("clip_fraction")
def above_whatever_the_sign(logps, old_logps, advantages, mask, clip_range):
    """You count every ratio above the range, whatever A is. The sign of A decides which end of the range stops a token."""
    return _mean((_ratio(logps, old_logps) > 1 + clip_range).float(), mask)


@mistake("clip_fraction")
def below_whatever_the_sign(logps, old_logps, advantages, mask, clip_range):
    """You count every ratio below the range, whatever A is. The sign of A decides which end of the range stops a token."""
    return _mean((_ratio(logps, old_logps) < 1 - clip_range).float(), mask)


@mistake("clip_fraction")
def share_of_all_places(logps, old_logps, advantages, mask, clip_range):
    """You take the share of all places, padding included, both above and below the line. Only answer tokens count."""
    return _is_stopped(_ratio(logps, old_logps), advantages, clip_range).float().mean()


@mistake("clip_fraction")
def padding_in_the_divisor(logps, old_logps, advantages, mask, clip_range):
    """You divide by the number of all places. Divide by the number of answer tokens."""
    return (_is_stopped(_ratio(logps, old_logps), advantages, clip_range) * mask).float().mean()


@mistake("clip_fraction")
def share_of_each_answer(logps, old_logps, advantages, mask, clip_range):
    """You take each answer's share and then the mean of those. Every token of the batch weighs the same."""
    stopped = _is_stopped(_ratio(logps, old_logps), advantages, clip_range)
    return ((stopped * mask).sum(1) / mask.sum(1)).mean()


@mistake("clip_fraction")
def number_of_tokens(logps, old_logps, advantages, mask, clip_range):
    """You return how many tokens are stopped. Their share is asked for."""
    return (_is_stopped(_ratio(logps, old_logps), advantages, clip_range) * mask).sum().float()


@mistake("clip_fraction")
def stopped_share_of_answers(logps, old_logps, advantages, mask, clip_range):
    """You divide by the number of answers. Divide by the number of answer tokens."""
    return (_is_stopped(_ratio(logps, old_logps), advantages, clip_range) * mask).sum() / len(mask)


@mistake("clip_fraction")
def share_that_is_not_stopped(logps, old_logps, advantages, mask, clip_range):
    """You return the share of tokens that are *not* stopped: 1 minus what is asked for."""
    return 1 - _mean(_is_stopped(_ratio(logps, old_logps), advantages, clip_range).float(), mask)


@mistake("clip_fraction")
def old_over_new(logps, old_logps, advantages, mask, clip_range):
    """Your ratio is inverted: the probability now belongs above the line, the old one below."""
    return _mean(_is_stopped(_ratio(old_logps, logps), advantages, clip_range).float(), mask)


@mistake("clip_fraction")
def range_of_the_logarithm(logps, old_logps, advantages, mask, clip_range):
    """You compare the logarithm of the ratio with the range. Compare the ratio itself, with 1 - c and 1 + c."""
    return _mean(_is_stopped(1 + logps - old_logps, advantages, clip_range).float(), mask)


@mistake("clip_fraction")
def times_one_hundred(logps, old_logps, advantages, mask, clip_range):
    """You return percent. A share lies between 0 and 1."""
    return 100 * _mean(_is_stopped(_ratio(logps, old_logps), advantages, clip_range).float(), mask)


# --- Exercise 8: the loss of the value model


def _clip_values(values, old_values, clip_range):
    return old_values + (values - old_values).clamp(-clip_range, clip_range)


def _larger(values, clipped, returns):
    return torch.maximum((values - returns).square(), (clipped - returns).square())


@mistake("value_loss")
def smaller_of_the_two(values, old_values, returns, mask, clip_range):
    """You take the smaller of the two squared errors: the value clip the wrong way. Then moving far away from the return
    costs nothing beyond the range. The larger one counts."""
    clipped = _clip_values(values, old_values, clip_range)
    return 0.5 * _mean(torch.minimum((values - returns).square(), (clipped - returns).square()), mask)


@mistake("value_loss")
def value_not_clipped(values, old_values, returns, mask, clip_range):
    """Nothing is clipped: this is the plain squared error. The second error, that of the clipped value, is missing."""
    return 0.5 * _mean((values - returns).square(), mask)


@mistake("value_loss")
def clipped_value_alone(values, old_values, returns, mask, clip_range):
    """You use the clipped value alone. A value that moved the wrong way beyond the range then has no gradient that brings it
    back: take the larger of both squared errors."""
    return 0.5 * _mean((_clip_values(values, old_values, clip_range) - returns).square(), mask)


@mistake("value_loss")
def no_half(values, old_values, returns, mask, clip_range):
    """The factor 1/2 is missing."""
    return _mean(_larger(values, _clip_values(values, old_values, clip_range), returns), mask)


@mistake("value_loss")
def mean_over_every_place(values, old_values, returns, mask, clip_range):
    """You take the mean over all places, padding included. The answers' tokens count, no others."""
    return 0.5 * _larger(values, _clip_values(values, old_values, clip_range), returns).mean()


@mistake("value_loss")
def divisor_with_padding(values, old_values, returns, mask, clip_range):
    """You divide by the number of all places. Divide by the number of answer tokens."""
    return 0.5 * (_larger(values, _clip_values(values, old_values, clip_range), returns) * mask).mean()


@mistake("value_loss")
def answers_weigh_the_same(values, old_values, returns, mask, clip_range):
    """You take the mean of each answer and then the mean of those. Here all answer tokens weigh the same."""
    squared = _larger(values, _clip_values(values, old_values, clip_range), returns)
    return 0.5 * ((squared * mask).sum(1) / mask.sum(1)).mean()


@mistake("value_loss")
def summed_over_each_answer(values, old_values, returns, mask, clip_range):
    """You sum over the tokens of each answer and take the mean over answers. The loss is a mean over all answer tokens."""
    squared = _larger(values, _clip_values(values, old_values, clip_range), returns)
    return 0.5 * (squared * mask).sum(1).mean()


@mistake("value_loss")
def summed_not_averaged(values, old_values, returns, mask, clip_range):
    """You sum over all tokens. Divide by their number."""
    return 0.5 * (_larger(values, _clip_values(values, old_values, clip_range), returns) * mask).sum()


@mistake("value_loss")
def absolute_errors(values, old_values, returns, mask, clip_range):
    """You use absolute errors. They are squared: the value that minimises a squared error is the *mean* of the returns."""
    clipped = _clip_values(values, old_values, clip_range)
    return 0.5 * _mean(torch.maximum((values - returns).abs(), (clipped - returns).abs()), mask)


@mistake("value_loss")
def larger_value_not_error(values, old_values, returns, mask, clip_range):
    """You take the larger of the two *values* and square its error. It is the larger of the two squared errors."""
    clipped = _clip_values(values, old_values, clip_range)
    return 0.5 * _mean((torch.maximum(values, clipped) - returns).square(), mask)


@mistake("value_loss")
def clipped_around_the_returns(values, old_values, returns, mask, clip_range):
    """You clip the value to the neighbourhood of the *return*. It is the old value that it should not leave too fast."""
    return 0.5 * _mean((_clip_values(values, returns, clip_range) - returns).square(), mask)


@mistake("value_loss")
def clipped_around_zero(values, old_values, returns, mask, clip_range):
    """You clip the value itself to +-clip_range. What is clipped is its distance from the old value."""
    return 0.5 * _mean(_larger(values, values.clamp(-clip_range, clip_range), returns), mask)


@mistake("value_loss")
def the_step_for_the_value(values, old_values, returns, mask, clip_range):
    """You clip the distance from the old value and forget to add the old value again."""
    return 0.5 * _mean(_larger(values, (values - old_values).clamp(-clip_range, clip_range), returns), mask)


@mistake("value_loss")
def clipped_like_a_ratio(values, old_values, returns, mask, clip_range):
    """You clip the *ratio* of new and old value, as in the policy's loss. Values may be negative or zero: clip their
    difference."""
    low, high = old_values * (1 - clip_range), old_values * (1 + clip_range)
    clipped = torch.minimum(torch.maximum(values, torch.minimum(low, high)), torch.maximum(low, high))
    return 0.5 * _mean(_larger(values, clipped, returns), mask)


@mistake("value_loss")
def no_lower_end(values, old_values, returns, mask, clip_range):
    """Your range has only an upper end: a value may fall as far as it likes. Clip at old - clip_range too."""
    return 0.5 * _mean(_larger(values, torch.minimum(values, old_values + clip_range), returns), mask)


@mistake("value_loss")
def no_upper_end(values, old_values, returns, mask, clip_range):
    """Your range has only a lower end: a value may rise as far as it likes. Clip at old + clip_range too."""
    return 0.5 * _mean(_larger(values, torch.maximum(values, old_values - clip_range), returns), mask)


@mistake("value_loss")
def both_added(values, old_values, returns, mask, clip_range):
    """You add the two squared errors. For each token, the larger of them counts."""
    clipped = _clip_values(values, old_values, clip_range)
    return 0.5 * _mean((values - returns).square() + (clipped - returns).square(), mask)


@mistake("value_loss")
def larger_of_the_means(values, old_values, returns, mask, clip_range):
    """You take both means first, and then the larger. Which of the two errors counts is decided for every token."""
    clipped = _clip_values(values, old_values, clip_range)
    plain, other = _mean((values - returns).square(), mask), _mean((clipped - returns).square(), mask)
    return 0.5 * torch.maximum(plain, other)


# --- Exercise 9: from a rollout to an update


def _policy_loss(logps, old, clip_range):
    ratio = _ratio(logps, old["logps"])
    return _clip_loss(ratio, ratio.clamp(1 - clip_range, 1 + clip_range), old["advantages"], old["mask"])


def _value_loss(values, old, clip_range):
    clipped = _clip_values(values, old["values"], clip_range)
    return 0.5 * _mean(_larger(values, clipped, old["returns"]), old["mask"])


def _parameters(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def _clip_all(optimizer, max_norm):
    torch.nn.utils.clip_grad_norm_(_parameters(optimizer), max_norm)


def _total(logps, values, old, clip_range, value_clip, value_coef):
    return _policy_loss(logps, old, clip_range) + value_coef * _value_loss(values, old, value_clip)


def _update(
    evaluate, batch, minibatches, optimizer, clip_range, value_clip, value_coef, max_norm=1.0,
    *, loss_of=_total, clip=_clip_all, old_of=lambda old, logps, values, rows: old, zero=True,
):  # fmt: skip
    """The loop as it should be, with one part exchanged. loss_of takes what _total takes."""
    losses = []
    for rows in minibatches:
        logps, values = evaluate(rows)
        old = old_of({name: tensor[rows] for name, tensor in batch.items()}, logps, values, rows)
        loss = loss_of(logps, values, old, clip_range, value_clip, value_coef)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        clip(optimizer, max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@mistake("ppo_update")
def old_logps_taken_now(*given, **options):
    """You take the *present* log-probabilities as the old ones at every step. The ratio is then always 1 and nothing is ever
    clipped: the old ones are those of the rollout, batch["logps"]."""
    return _update(*given, **options, old_of=lambda old, logps, values, rows: old | {"logps": logps.detach()})


@mistake("ppo_update")
def old_values_taken_now(*given, **options):
    """You take the *present* values as the old ones, so that no value is ever clipped. The old ones are those of the
    rollout, batch["values"]."""
    return _update(*given, **options, old_of=lambda old, logps, values, rows: old | {"values": values.detach()})


@mistake("ppo_update")
def first_rows_of_the_batch(evaluate, batch, *given, **options):
    """You compare the minibatch with the *first* rows of the batch. Old log-probabilities, advantages and returns must be
    those of the same answers: index them with the row numbers."""
    return _update(
        evaluate, batch, *given, **options,
        old_of=lambda old, logps, values, rows: {name: tensor[: len(rows)] for name, tensor in batch.items()},
    )  # fmt: skip


@mistake("ppo_update")
def rows_sorted(evaluate, batch, *given, **options):
    """The rows of the batch come sorted, those of evaluate in the order of the minibatch: use the same row numbers, in the
    same order, for both."""
    return _update(
        evaluate, batch, *given, **options,
        old_of=lambda old, logps, values, rows: {n: tensor[rows.sort().values] for n, tensor in batch.items()},
    )  # fmt: skip


@mistake("ppo_update")
def no_value_loss(*given, **options):
    """The value model's loss is missing, so it never learns."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, clip_range, value_clip, 0.0),
    )  # fmt: skip


@mistake("ppo_update")
def no_policy_loss(*given, **options):
    """The policy's loss is missing: only the value model learns."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: 0 * logps.sum() + value_coef * _value_loss(values, old, value_clip),
    )  # fmt: skip


@mistake("ppo_update")
def value_coef_ignored(*given, **options):
    """The value model's loss is added as it is. value_coef says how much it weighs."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, clip_range, value_clip, 1.0),
    )  # fmt: skip


@mistake("ppo_update")
def value_coef_halved(*given, **options):
    """The value model's loss weighs half as much as it should: the factor 1/2 is already in value_loss."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, clip_range, value_clip, value_coef / 2),
    )  # fmt: skip


@mistake("ppo_update")
def value_coef_on_the_policy(*given, **options):
    """You weigh the *policy's* loss with value_coef. It is the value model's that is weighed."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: value_coef * _policy_loss(logps, old, clip_range) + _value_loss(values, old, value_clip),
    )  # fmt: skip


@mistake("ppo_update")
def value_loss_subtracted(*given, **options):
    """You subtract the value model's loss, and so make it worse with every step. Both losses are minimised: add it."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, clip_range, value_clip, -value_coef),
    )  # fmt: skip


@mistake("ppo_update")
def one_clip_for_both(*given, **options):
    """You clip the values with the policy's clip_range. Their range is value_clip."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, clip_range, clip_range, value_coef),
    )  # fmt: skip


@mistake("ppo_update")
def clips_swapped(*given, **options):
    """You hand clip_range to the value loss and value_clip to the policy loss. It is the other way round."""
    return _update(
        *given, **options,
        loss_of=lambda logps, values, old, clip_range, value_clip, value_coef: _total(logps, values, old, value_clip, clip_range, value_coef),
    )  # fmt: skip


@mistake("ppo_update")
def gradients_pile_up(*given, **options):
    """The gradients are never set back to zero, so each step repeats all earlier ones: optimizer.zero_grad() before
    backward."""
    return _update(*given, **options, zero=False)


@mistake("ppo_update")
def never_clipped(*given, **options):
    """The gradient's norm is not clipped: torch.nn.utils.clip_grad_norm_ between backward and step."""
    return _update(*given, **options, clip=lambda optimizer, max_norm: None)


@mistake("ppo_update")
def group_by_group(*given, **options):
    """You clip each parameter group by itself. The norm of *all* parameters together is clipped to max_norm."""

    def clip(optimizer, max_norm):
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], max_norm)

    return _update(*given, **options, clip=clip)


@mistake("ppo_update")
def first_group_alone(*given, **options):
    """You clip the gradient of the first parameter group only. The optimizer holds the value model's parameters too: go
    through all of optimizer.param_groups."""
    return _update(
        *given, **options,
        clip=lambda optimizer, max_norm: torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_norm),
    )  # fmt: skip


@mistake("ppo_update")
def clipped_element_by_element(*given, **options):
    """You clip every element of the gradient (clip_grad_value_). That bends its direction: its norm is to be clipped."""
    return _update(
        *given, **options,
        clip=lambda optimizer, max_norm: torch.nn.utils.clip_grad_value_(_parameters(optimizer), max_norm),
    )  # fmt: skip


@mistake("ppo_update")
def always_norm_one(*given, **options):
    """You clip the gradient to 1 whatever max_norm says."""
    return _update(*given, **options, clip=lambda optimizer, max_norm: _clip_all(optimizer, 1.0))


@mistake("ppo_update")
def advantages_whitened_again(*given, **options):
    """You whiten the advantages of every minibatch anew. They came whitened over the whole batch; done again over a few
    rows, good answers among good ones would be blamed."""

    def again(old, logps, values, rows):
        return old | {"advantages": _whiten(old["advantages"], old["mask"])}

    return _update(*given, **options, old_of=again)


@mistake("ppo_update")
def one_step_for_all(evaluate, batch, minibatches, optimizer, clip_range, value_clip, value_coef, max_norm=1.0):
    """You add up the gradients of all minibatches and make one step at the end. Each minibatch is a step of its own."""
    losses = []
    optimizer.zero_grad()
    for rows in minibatches:
        old = {name: tensor[rows] for name, tensor in batch.items()}
        loss = _total(*evaluate(rows), old, clip_range, value_clip, value_coef)
        loss.backward()
        losses.append(loss.item())
    _clip_all(optimizer, max_norm)
    optimizer.step()
    return losses


@mistake("ppo_update")
def loss_after_the_step(evaluate, batch, minibatches, optimizer, *ranges, **options):
    """You report the loss after the step. Each loss is the one whose gradient was used, before the weights changed."""
    losses = []
    for rows in minibatches:
        _update(evaluate, batch, [rows], optimizer, *ranges, **options)
        with torch.no_grad():
            losses.append(_total(*evaluate(rows), {name: tensor[rows] for name, tensor in batch.items()}, *ranges).item())
    return losses


@mistake("ppo_update")
def policy_loss_reported(*given, **options):
    """You return the policy's part of the loss only. The loss of a step is all that was minimised."""
    losses = []

    def loss_of(logps, values, old, clip_range, value_clip, value_coef):
        losses.append(_policy_loss(logps, old, clip_range).item())
        return _total(logps, values, old, clip_range, value_clip, value_coef)

    _update(*given, **options, loss_of=loss_of)
    return losses
