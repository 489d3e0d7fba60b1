"""Correct answers to chapter 03 in other shapes, which every check must accept."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1: the objective


@alternative("exact_objective")
def objective_prompt_by_prompt(logits, ref_logits, rewards, beta):
    """A loop over the prompts, in float64, with torch.distributions."""
    total = 0
    for row, ref_row, reward in zip(logits.double(), ref_logits.double(), rewards.double()):
        policy, reference = (torch.distributions.Categorical(logits=x) for x in (row, ref_row))
        total = total + policy.probs @ reward - beta * torch.distributions.kl_divergence(policy, reference)
    return total / len(logits)


@alternative("exact_objective")
def objective_with_einsum(logits, ref_logits, rewards, beta):
    """einsum over both axes; the log-ratio from logsumexp."""
    logps = logits - logits.logsumexp(-1, keepdim=True)
    ratio = logps - (ref_logits - ref_logits.logsumexp(-1, keepdim=True))
    return torch.einsum("pa,pa->", logps.exp(), rewards - beta * ratio) / len(logits)


@alternative("exact_objective")
def objective_with_kl_div(logits, ref_logits, rewards, beta):
    """F.kl_div with log targets; reward and penalty apart."""
    logps = F.log_softmax(logits, dim=1)
    kl = F.kl_div(F.log_softmax(ref_logits, dim=1), logps, log_target=True, reduction="batchmean")
    return (F.softmax(logits, dim=1) * rewards).sum(dim=1).mean() - beta * kl


@alternative("exact_objective")
def objective_from_entropies(logits, ref_logits, rewards, beta):
    """KL as cross-entropy minus entropy; a tensor of one element comes back."""
    probs, logps = logits.softmax(-1), logits.log_softmax(-1)
    entropy = -(probs * logps).sum(-1, keepdim=True)
    cross = -(probs * ref_logits.log_softmax(-1)).sum(-1, keepdim=True)
    return ((probs * rewards).sum(-1, keepdim=True) - beta * (cross - entropy)).mean(0)


@alternative("exact_objective")
def objective_with_a_constant_ratio(logits, ref_logits, rewards, beta):
    """The log-ratio is held constant: its gradient is zero in expectation, so nothing changes."""
    logps = logits.log_softmax(1)
    shaped = rewards - beta * (logps - ref_logits.log_softmax(1)).detach()
    return (logps.exp() * shaped).sum() / len(rewards)


@alternative("exact_objective")
def objective_of_categoricals(logits, ref_logits, rewards, beta):
    """torch.distributions over the whole table, whose KL is infinite where a probability has become 0."""
    policy, reference = (torch.distributions.Categorical(logits=x) for x in (logits, ref_logits))
    kl = torch.distributions.kl_divergence(policy, reference)
    return torch.mean((policy.probs * rewards).sum(dim=1) - beta * kl)


# --- Exercise 2: the gradient


@alternative("score_function_gradient")
def gradient_by_autograd(logits, values):
    """Autograd of the expected value, at a detached copy of the logits."""
    theta = logits.detach().clone().requires_grad_()
    (theta.softmax(-1) * values.detach()).sum(-1).mean().backward()
    return theta.grad


@alternative("score_function_gradient")
def gradient_score_by_score(logits, values):
    """A loop over prompts and answers: p(a) f(a) (one-hot(a) - p), in NumPy and float64."""
    theta, f = logits.detach().double().numpy(), values.detach().double().numpy()
    gradient = np.zeros_like(theta)
    for row in range(len(theta)):
        probs = np.exp(theta[row] - theta[row].max())
        probs /= probs.sum()
        for a in range(len(probs)):
            gradient[row] += probs[a] * f[row, a] * ((np.arange(len(probs)) == a) - probs)
    return gradient / len(theta)


@alternative("score_function_gradient")
def gradient_with_the_jacobian(logits, values):
    """The softmax's Jacobian, diag(p) - p p^T, times the values."""
    probs = logits.detach().softmax(-1)
    jacobian = torch.diag_embed(probs) - probs.unsqueeze(2) * probs.unsqueeze(1)
    return torch.bmm(jacobian, values.detach().unsqueeze(2)).squeeze(2) / logits.size(0)


@alternative("score_function_gradient")
def gradient_with_einsum_of_scores(logits, values):
    """einsum of probabilities, values and scores; nothing is detached, for nothing is differentiated."""
    probs = logits.softmax(-1)
    scores = torch.eye(logits.shape[-1]) - probs[:, None]
    return torch.einsum("pa,pa,pab->pb", probs, values, scores) / len(logits)


@alternative("score_function_gradient")
def gradient_of_a_surrogate(logits, values):
    """torch.autograd.grad of E[f log p] with detached weights."""
    theta = logits.detach().requires_grad_()
    with torch.enable_grad():
        logps = theta.log_softmax(-1)
        surrogate = (logps.exp().detach() * values.detach() * logps).sum() / len(theta)
    return torch.autograd.grad(surrogate, theta)[0]


@alternative("score_function_gradient")
def gradient_by_a_transform(logits, values):
    """torch.func.grad of the expected value."""
    constants = values.detach()
    return torch.func.grad(lambda theta: (theta.softmax(-1) * constants).sum(-1).mean())(logits.detach())


@alternative("score_function_gradient")
def gradient_as_a_covariance(logits, values):
    """p f minus p times the sum of p f, with a matrix product for the sum."""
    probs = F.softmax(logits, dim=1)
    weighted = probs * values
    return (weighted - probs * (weighted @ torch.ones(logits.shape[1], 1))) / logits.shape[0]


# --- Exercise 3: the gradient from samples


@alternative("policy_gradient_estimate")
def estimate_by_autograd(logits, rewards, k, generator):
    """Autograd of the mean of reward times log p of the samples."""
    theta = logits.detach().clone().requires_grad_()
    actions = torch.multinomial(theta.detach().softmax(-1), k, True, generator=generator)
    (rewards.gather(1, actions) * theta.log_softmax(-1).gather(1, actions)).mean().backward()
    return theta.grad


@alternative("policy_gradient_estimate")
def estimate_from_uniform_numbers(logits, rewards, k, generator):
    """Samples by inverting the cumulated probabilities, in float64; counts in place of a sum over samples."""
    probs = logits.double().softmax(-1)
    uniform = torch.rand(len(logits), k, generator=generator, dtype=torch.float64)
    actions = torch.searchsorted(probs.cumsum(-1), uniform).clamp(max=logits.shape[1] - 1)
    share = F.one_hot(actions, logits.shape[1]).double().mean(1)
    weighted = share * rewards
    return (weighted - weighted.sum(-1, keepdim=True) * probs) / len(logits)


@alternative("policy_gradient_estimate")
def estimate_with_the_gumbel_trick(logits, rewards, k, generator):
    """Samples as the argmax of logits plus Gumbel noise; scatter_add of the rewards."""
    uniform = torch.rand(k, *logits.shape, generator=generator).clamp(min=1e-12)
    actions = (logits - (-uniform.log()).log()).argmax(-1).T  # (prompts, k)
    drawn = rewards.gather(1, actions)
    hits = torch.zeros_like(logits).scatter_add(1, actions, drawn)
    return (hits - logits.softmax(-1) * drawn.sum(1, keepdim=True)) / (k * len(logits))


@alternative("policy_gradient_estimate")
def estimate_row_by_row(logits, rewards, k, generator):
    """A loop over the prompts, and within it one over samples drawn together."""
    gradient = torch.zeros_like(logits)
    for row, probs in enumerate(logits.softmax(-1)):
        for a in torch.multinomial(probs, k, replacement=True, generator=generator).tolist():
            gradient[row] -= rewards[row, a] * probs / k
            gradient[row, a] += rewards[row, a] / k
    return gradient.div_(len(logits))


@alternative("policy_gradient_estimate")
def estimate_from_counts(logits, rewards, k, generator):
    """NumPy's multinomial counts, its own generator seeded by a draw from ours."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    probs = logits.detach().double().softmax(1).numpy()
    share = np.stack([rng.multinomial(k, p / p.sum()) for p in probs]) / k
    weighted = share * rewards.double().numpy()
    return torch.tensor((weighted - weighted.sum(1, keepdims=True) * probs) / len(probs), dtype=torch.float32)


@alternative("policy_gradient_estimate")
def estimate_with_unnormalised_weights(logits, rewards, k, generator):
    """multinomial normalises by itself; the mean over samples and prompts in one division."""
    actions = torch.multinomial(logits.exp(), k, True, generator=generator)
    scores = F.one_hot(actions, logits.shape[1]) - F.softmax(logits, -1).unsqueeze(1)
    return (torch.take_along_dim(rewards, actions, 1).unsqueeze(-1) * scores).sum(1).div(k * logits.shape[0])


@alternative("policy_gradient_estimate")
def estimate_by_counting_thresholds(logits, rewards, k, generator):
    """An answer's number is how many cumulated probabilities lie below a uniform number; a batched product."""
    probs = logits.softmax(1)
    below = probs.cumsum(1)[:, None] < torch.rand(len(logits), k, 1, generator=generator)
    actions = below.sum(-1).clamp(max=logits.shape[1] - 1)
    scores = F.one_hot(actions, logits.shape[1]).float() - probs[:, None]
    return torch.bmm(rewards.gather(1, actions)[:, None], scores)[:, 0] / (k * len(logits))


# --- Exercise 4: a loss with that gradient


@alternative("reinforce_loss")
def loss_answer_by_answer(logps, advantages, mask):
    """A loop over the answers, which are cut where their mask ends."""
    losses = [-row[keep.bool()].sum() * a.item() for row, a, keep in zip(logps, advantages, mask)]
    return torch.stack(losses).mean()


@alternative("reinforce_loss")
def loss_with_einsum(logps, advantages, mask):
    """einsum over batch and tokens, in float64."""
    weights = advantages.detach().double()
    return -torch.einsum("b,bt,bt->", weights, logps.double(), mask.double()) / len(weights)


@alternative("reinforce_loss")
def loss_with_masked_fill(logps, advantages, mask):
    """masked_fill in place of a product; a dot product over the batch; no detach, but a copy of the data."""
    answer_logps = logps.masked_fill(mask == 0, 0.0).sum(dim=1)
    return (answer_logps @ advantages.data.clone()).neg() / logps.shape[0]


@alternative("reinforce_loss")
def loss_through_a_custom_weight(logps, advantages, mask):
    """The advantage is put on every token, then everything is summed and divided by the batch size."""
    with torch.no_grad():
        weights = -advantages.unsqueeze(-1) * mask.to(logps.dtype) / logps.size(0)
    return torch.where(mask.bool(), weights * logps, torch.zeros(())).sum()


@alternative("reinforce_loss")
def loss_with_where(logps, advantages, mask):
    """torch.where in place of a product."""
    kept = torch.where(mask.bool(), logps, torch.zeros_like(logps))
    return -torch.mean(torch.sum(kept, 1) * advantages.detach())


@alternative("reinforce_loss")
def loss_over_the_kept_tokens(logps, advantages, mask):
    """Boolean indexing: only the tokens that count are touched, each with its row's advantage."""
    keep = mask == 1
    weights = advantages.detach()[:, None].expand_as(logps)[keep]
    return -(weights * logps[keep]).sum() / len(advantages)


# --- Exercise 5: a baseline


@alternative("leave_one_out_advantages")
def advantages_by_a_factor(rewards):
    """k/(k-1) times the difference to the full mean."""
    k = rewards.shape[-1]
    return k / (k - 1) * (rewards - rewards.mean(dim=-1, keepdim=True))


@alternative("leave_one_out_advantages")
def advantages_by_a_matrix(rewards):
    """A product with the matrix that takes the mean of the others."""
    k = rewards.shape[1]
    return rewards - rewards @ ((1 - torch.eye(k)) / (k - 1))


@alternative("leave_one_out_advantages")
def advantages_by_loops(rewards):
    """Loops over plain numbers; a list of lists, as a tensor of float64."""
    rows = rewards.tolist()
    result = [[r - sum(row[:i] + row[i + 1 :]) / (len(row) - 1) for i, r in enumerate(row)] for row in rows]
    return torch.tensor(result, dtype=torch.float64)


@alternative("leave_one_out_advantages")
def advantages_of_differences(rewards):
    """The mean of all differences to the others."""
    return (rewards[:, :, None] - rewards[:, None, :]).sum(-1) / (rewards.size(1) - 1)


@alternative("leave_one_out_advantages")
def advantages_in_numpy(rewards):
    """NumPy, with np.delete for each answer."""
    r = rewards.numpy()
    others = np.stack([np.delete(r, i, axis=1).mean(axis=1) for i in range(r.shape[1])], axis=1)
    return r - others


@alternative("leave_one_out_advantages")
def advantages_in_one_fraction(rewards):
    """(k r - sum) / (k - 1)."""
    k = rewards.shape[1]
    return (k * rewards - rewards.sum(1, keepdim=True)) / (k - 1)


@alternative("leave_one_out_advantages")
def advantages_by_leaving_columns_out(rewards):
    """Column by column, the others joined."""
    k = rewards.shape[1]
    others = [torch.cat([rewards[:, :j], rewards[:, j + 1 :]], dim=1).mean(1) for j in range(k)]
    return rewards - torch.stack(others, dim=1)


# --- Exercise 6: a KL that is never negative


@alternative("kl_estimate")
def estimate_from_the_ratio(logps, ref_logps):
    """From r = p_0 / p: r - 1 - log r."""
    log_r = ref_logps - logps
    return log_r.exp() - 1 - log_r


@alternative("kl_estimate")
def estimate_in_float64(logps, ref_logps):
    """In float64, the terms in another order."""
    d = logps.double() - ref_logps.double()
    return d + torch.exp(-d) - 1


@alternative("kl_estimate")
def estimate_from_probabilities(logps, ref_logps):
    """The ratio as a quotient of probabilities, in float64."""
    p, q = logps.double().exp(), ref_logps.double().exp()
    return q / p - 1 - (q / p).log()


@alternative("kl_estimate")
def estimate_as_a_bregman_distance(logps, ref_logps):
    """The gap between exp at -d and its tangent at 0."""
    x = ref_logps - logps
    tangent = 1 + x
    return torch.exp(x) - tangent


@alternative("kl_estimate")
def estimate_sample_by_sample(logps, ref_logps):
    """A loop over the samples, with tensors of no axes."""
    values = [(q - p).expm1() - (q - p) for p, q in zip(logps.flatten(), ref_logps.flatten())]
    return torch.stack(values).reshape(logps.shape)


@alternative("kl_estimate")
def estimate_never_below_zero_by_rounding(logps, ref_logps):
    """What rounding leaves below zero is cut."""
    d = torch.sub(logps, ref_logps)
    return (d.neg().exp().sub(1) + d).clamp_min(0.0)


# --- Exercise 7: the optimum


@alternative("optimal_policy")
def optimum_with_softmax(ref_logps, rewards, beta):
    """softmax and logsumexp of the same exponent."""
    exponent = torch.add(ref_logps, rewards, alpha=1 / beta)
    return exponent.softmax(dim=1), torch.logsumexp(exponent, dim=1)


@alternative("optimal_policy")
def optimum_with_the_largest_taken_out(ref_logps, rewards, beta):
    """The largest exponent is taken out by hand, in NumPy and float64."""
    exponent = ref_logps.double().numpy() + rewards.double().numpy() / beta
    top = exponent.max(axis=1, keepdims=True)
    weights = np.exp(exponent - top)
    total = weights.sum(axis=1, keepdims=True)
    return torch.from_numpy(weights / total), torch.from_numpy((top + np.log(total))[:, 0])


@alternative("optimal_policy")
def optimum_prompt_by_prompt(ref_logps, rewards, beta):
    """A loop over the prompts, with torch.distributions; a list of two comes back."""
    exponents = [row + reward / beta for row, reward in zip(ref_logps, rewards)]
    probs = [torch.distributions.Categorical(logits=e).probs for e in exponents]
    return [torch.stack(probs), torch.stack([e.logsumexp(0) for e in exponents])]


@alternative("optimal_policy")
def optimum_with_logaddexp(ref_logps, rewards, beta):
    """log Z by adding one answer after the other in logarithms."""
    exponent = ref_logps.double() + rewards.double() / beta
    log_z = exponent[:, 0]
    for column in exponent.T[1:]:
        log_z = torch.logaddexp(log_z, column)
    return torch.exp(exponent - log_z.unsqueeze(1)), log_z


@alternative("optimal_policy")
def optimum_with_log_softmax(ref_logps, rewards, beta):
    """log_softmax, and log Z as what it has taken off the likeliest answer."""
    exponent = ref_logps.double() + rewards.double() / beta
    log_probs = exponent.log_softmax(-1)
    best = exponent.argmax(-1, keepdim=True)
    return log_probs.exp(), (exponent.gather(1, best) - log_probs.gather(1, best)).squeeze(1)


@alternative("optimal_policy")
def optimum_with_finite_logarithms(ref_logps, rewards, beta):
    """Minus infinity becomes a very large negative number first."""
    exponent = ref_logps.clamp(min=-1e30) + rewards / beta
    return torch.softmax(exponent, 1), torch.logsumexp(exponent, 1)


# --- Exercise 8: all of it in one loss


@alternative("policy_loss")
def loss_answer_by_answer_of_a_prompt(logps, ref_logps, rewards, mask, beta):
    """Loops over prompts and answers, on plain numbers."""
    total, keep = 0.0, mask.bool()
    for row in range(len(rewards)):
        said = [logps[row, i][keep[row, i]].sum() for i in range(rewards.shape[1])]
        was = [ref_logps[row, i][keep[row, i]].sum().item() for i in range(rewards.shape[1])]
        shaped = [rewards[row, i].item() - beta * (said[i].item() - was[i]) for i in range(len(said))]
        for i, logp in enumerate(said):
            others = shaped[:i] + shaped[i + 1 :]
            total = total - (shaped[i] - sum(others) / len(others)) * logp
    return total / rewards.numel()


@alternative("policy_loss")
def loss_with_a_factor(logps, ref_logps, rewards, mask, beta):
    """k/(k-1) times the difference to the full mean; masked_fill; under no_grad."""
    behind, k = mask == 0, rewards.shape[1]
    with torch.no_grad():
        ratio = (logps - ref_logps).masked_fill(behind, 0.0).sum(-1)
        shaped = rewards - beta * ratio
        weights = (shaped - shaped.mean(1, keepdim=True)) * k / (k - 1)
    return -(weights * logps.masked_fill(behind, 0.0).sum(-1)).mean()


@alternative("policy_loss")
def loss_with_einsum_over_tokens(logps, ref_logps, rewards, mask, beta):
    """einsum over all three axes, in float64."""
    keep = mask.double()
    shaped = rewards.double() - beta * torch.einsum("pkt,pkt->pk", (logps - ref_logps).double(), keep)
    shaped, k = shaped.detach(), rewards.shape[1]
    advantages = shaped - shaped @ ((1 - torch.eye(k, dtype=torch.float64)) / (k - 1))
    return -torch.einsum("pk,pkt,pkt->", advantages, logps.double(), keep) / rewards.numel()


@alternative("policy_loss")
def loss_with_advantages_on_tokens(logps, ref_logps, rewards, mask, beta):
    """The advantage is put on every token; torch.where in place of a product."""
    zero = torch.zeros(())
    kept, old = torch.where(mask.bool(), logps, zero), torch.where(mask.bool(), ref_logps, zero)
    shaped = (rewards - beta * (kept.sum(-1) - old.sum(-1))).detach()
    others = (shaped.sum(1, keepdim=True) - shaped) / (shaped.size(1) - 1)
    return ((others - shaped).unsqueeze(-1) * kept).sum().div(rewards.numel())


@alternative("policy_loss")
def loss_prompt_by_prompt(logps, ref_logps, rewards, mask, beta):
    """A loop over the prompts."""
    losses = []
    for logp, old, reward, keep in zip(logps, ref_logps, rewards, mask.float()):
        answer = (logp * keep).sum(1)
        shaped = (reward - beta * (answer - (old * keep).sum(1))).data
        losses.append((shaped - (shaped.sum() - shaped) / (len(shaped) - 1)) @ answer / len(shaped))
    return -torch.stack(losses).mean()


@alternative("policy_loss")
def loss_with_half_of_the_pairs(logps, ref_logps, rewards, mask, beta):
    """Differences of all pairs of answers."""
    answer = (logps * mask).sum(-1)
    shaped = (rewards - beta * (answer - (ref_logps * mask).sum(-1))).detach()
    apart = shaped[:, :, None] - shaped[:, None]
    return -(apart.sum(2) / (shaped.shape[1] - 1) * answer).sum() / answer.numel()


# --- Exercise 9: the training loop


@alternative("train_on_reward")
def loop_that_scales_by_hand(policy, optimizer, sample, loss_of, rates):
    """The length of the gradient by hand; zero_grad of the policy; a mean of a list."""
    means = []
    for step in range(len(rates)):
        batch = sample()
        policy.zero_grad()
        loss_of(*batch).backward()
        grads = [p.grad for p in policy.parameters() if p.grad is not None]
        length = torch.sqrt(sum((g**2).sum() for g in grads))
        for g in grads:
            g *= min(1.0, 1.0 / (float(length) + 1e-12))
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.step()
        flat = batch[2].flatten().tolist()
        means.append(sum(flat) / len(flat))
    return means


@alternative("train_on_reward")
def loop_with_autograd_grad(policy, optimizer, sample, loss_of, rates):
    """torch.autograd.grad in place of backward; a tuple comes back."""
    parameters, means = list(policy.parameters()), []
    for rate in rates:
        logps, ref_logps, rewards, mask = sample()
        grads = torch.autograd.grad(loss_of(logps, ref_logps, rewards, mask), parameters)
        for parameter, grad in zip(parameters, grads):
            parameter.grad = grad.clone()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm=1)
        for group in optimizer.param_groups:
            group.update(lr=rate)
        optimizer.step()
        means.append(float(rewards.detach().mean()))
    return tuple(means)


@alternative("train_on_reward")
def loop_with_a_closure(policy, optimizer, sample, loss_of, rates):
    """The gradient is made in the closure that the optimizer calls."""
    means = []

    def closure():
        optimizer.zero_grad(set_to_none=False)
        logps, ref_logps, rewards, mask = sample()
        means.append(rewards.mean().item())
        loss = loss_of(logps, ref_logps, rewards, mask)
        loss.backward()
        return loss

    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        closure()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
    return means


@alternative("train_on_reward")
def loop_with_numpy_means(policy, optimizer, sample, loss_of, rates):
    """zero_grad at the beginning and behind each step; NumPy's numbers in the list."""
    optimizer.zero_grad()
    means = []
    for rate in rates:
        optimizer.param_groups = [{**group, "lr": rate} for group in optimizer.param_groups]
        batch = sample()
        (1.0 * loss_of(*batch)).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        means.append(batch[2].numpy().mean())
    return means


# --- Open task: the quietest gradient


@alternative("quiet_gradient")
def quiet_with_sets_prompt_by_prompt(logits, reward_of, k, generator):
    """Sets of different answers as if k draws had all been different; each pair divided by how often it is drawn. In NumPy."""
    probs = logits.double().softmax(-1).numpy()
    sets = np.array(list(itertools.combinations(range(probs.shape[1]), k)))
    chance = probs[:, sets].prod(-1)
    chance /= chance.sum(1, keepdims=True)
    places = torch.rand(len(probs), 1, generator=generator, dtype=torch.float64).numpy()
    chosen = sets[np.minimum((chance.cumsum(1) < places).sum(1), len(sets) - 1)]  # (prompts, k)
    rewards = reward_of(torch.from_numpy(chosen)).numpy()
    gradient = np.zeros_like(probs)
    has = np.zeros((len(sets), probs.shape[1]))
    np.put_along_axis(has, sets, 1.0, axis=1)
    for i, j in itertools.permutations(range(k), 2):
        a, b, rows = chosen[:, i], chosen[:, j], np.arange(len(probs))
        together = (chance * (has[:, a] * has[:, b]).T).sum(1)
        gradient[rows, a] += probs[rows, a] * probs[rows, b] / together * (rewards[:, i] - rewards[:, j])
    return torch.tensor(gradient)


@alternative("quiet_gradient")
def quiet_in_order_without_replacement(logits, reward_of, k, generator):
    """Drawn one after the other without replacement; pairs weighted by Murthy's ratio, the order averaged out (Kool et al. 2020)."""
    probs = logits.double().softmax(-1)
    drawn = torch.multinomial(logits.softmax(-1), k, generator=generator)
    rewards, taken = reward_of(drawn).double(), probs.gather(1, drawn)

    def in_any_order(members, gone):
        total = torch.zeros(len(taken), dtype=torch.float64)
        for order in itertools.permutations(members):
            chance, left = torch.ones_like(total), 1 - gone
            for i in order:
                chance, left = chance * taken[:, i] / left, left - taken[:, i]
            total += chance
        return total

    whole = in_any_order(range(k), torch.zeros(len(taken), dtype=torch.float64))
    weights = torch.zeros_like(taken)
    for i, j in itertools.permutations(range(k), 2):
        rest = [other for other in range(k) if other not in (i, j)]
        ratio = in_any_order(rest, taken[:, i] + taken[:, j]) / whole
        weights[:, i] += taken[:, i] * taken[:, j] * ratio * (rewards[:, i] - rewards[:, j])
    return torch.zeros_like(probs).scatter_add(1, drawn, weights)


@alternative("quiet_gradient")
def quiet_with_bolder_sets(logits, reward_of, k, generator):
    """Sets weighted by the probabilities to the power 1.3; any design will do that is divided out."""
    probs = logits.softmax(-1)
    sets = torch.combinations(torch.arange(probs.shape[1]), k)
    chance = (1.3 * probs.log()[:, sets].sum(-1)).softmax(-1)
    member = torch.zeros(len(sets), probs.shape[1]).scatter_(1, sets, 1.0)
    together = torch.einsum("ps,sa,sb->pab", chance, member, member)
    drawn = sets[torch.multinomial(chance, 1, generator=generator)[:, 0]]
    rewards, taken = reward_of(drawn), probs.gather(1, drawn)
    rows = torch.arange(len(probs))[:, None, None]
    weights = taken[:, :, None] * taken[:, None] / together[rows, drawn[:, :, None], drawn[:, None]]
    apart = rewards[:, :, None] - rewards[:, None]
    scores = F.one_hot(drawn, probs.shape[1]) - probs[:, None]
    return torch.einsum("pij,pij,pia->pa", weights, apart, scores)


# --- Exercise 10: where an answer ends


@alternative("answer_mask")
def mask_row_by_row(tokens, end_id):
    """Loops over lists."""
    rows = tokens.tolist()
    lengths = [row.index(end_id) + 1 if end_id in row else len(row) for row in rows]
    return torch.tensor([[1.0] * n + [0.0] * (len(row) - n) for n, row in zip(lengths, rows)])


@alternative("answer_mask")
def mask_from_a_running_product(tokens, end_id):
    """A running product of "not the end", moved one to the right; booleans come back."""
    going_on = (tokens != end_id).long().cumprod(1)
    return torch.cat([torch.ones_like(going_on[:, :1]), going_on[:, :-1]], dim=1).bool()


@alternative("answer_mask")
def mask_from_places(tokens, end_id):
    """The place of the first end token, or a place beyond the row."""
    place = torch.arange(tokens.shape[1])
    ends = torch.where(tokens == end_id, place, tokens.shape[1]).amin(1, keepdim=True)
    return place <= ends


@alternative("answer_mask")
def mask_token_by_token(tokens, end_id):
    """As one would while generating: column by column, with a flag for each row."""
    going_on, columns = torch.ones(len(tokens), dtype=torch.bool), []
    for column in tokens.T:
        columns.append(going_on.int())
        going_on = going_on & (column != end_id)
    return torch.stack(columns, dim=1)


@alternative("answer_mask")
def mask_from_a_running_maximum(tokens, end_id):
    """A running maximum of "is the end", moved one to the right; floats come back."""
    ended = (tokens == end_id).float().cummax(1).values
    return 1 - F.pad(ended[:, :-1], (1, 0))


@alternative("answer_mask")
def mask_by_looking_back(tokens, end_id):
    """Each place asks whether the end stands among the tokens before it; a list of lists, as a tensor."""
    return torch.tensor([[end_id not in row[:place] for place in range(len(row))] for row in tokens.tolist()])


# --- Exercise 11: log-probabilities of a rollout


@alternative("rollout_logps")
def logps_from_cross_entropy(model, input_ids, attention_mask, tokens, mask):
    """Minus the cross-entropy, with labels of -100 behind the end; the mask is joined as ones."""
    rows = torch.cat([input_ids, tokens], dim=-1)
    seen = F.pad(attention_mask, (0, tokens.shape[1]), value=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, -tokens.shape[1] - 1 : -1]
    labels = tokens.masked_fill(~mask.bool(), -100)
    return -F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")


@alternative("rollout_logps")
def logps_row_by_row(model, input_ids, attention_mask, tokens, mask):
    """One row at a time, without any padding."""
    result = []
    for ids, seen, said, keep in zip(input_ids, attention_mask.bool(), tokens, mask.bool()):
        prompt, answer = ids[seen], said[keep]
        logits = model(input_ids=torch.cat([prompt, answer])[None]).logits[0, len(prompt) - 1 : -1]
        logps = torch.distributions.Categorical(logits=logits).log_prob(answer)
        result.append(F.pad(logps, (0, len(said) - len(answer))))
    return torch.stack(result)


@alternative("rollout_logps")
def logps_without_the_last_token(model, input_ids, attention_mask, tokens, mask):
    """The last token is not fed, for nothing is predicted from it; logsumexp in float64."""
    rows = torch.cat([input_ids, tokens[:, :-1]], dim=1)
    seen = torch.cat([attention_mask, torch.ones_like(tokens[:, :-1])], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, input_ids.size(1) - 1 :].double()
    taken = torch.take_along_dim(logits, tokens.unsqueeze(2), dim=2).squeeze(2)
    return (taken - logits.logsumexp(2)) * mask


@alternative("rollout_logps")
def logps_with_one_hot(model, input_ids, attention_mask, tokens, mask):
    """A one-hot product in place of gather, position ids passed, and torch.where for the mask."""
    rows = torch.cat((input_ids, tokens), 1)
    seen = torch.cat((attention_mask, mask.long()), 1)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    logps = model(input_ids=rows, attention_mask=seen, position_ids=positions).logits.log_softmax(-1)
    logps = logps[:, input_ids.shape[1] - 1 : rows.shape[1] - 1]
    chosen = (logps * F.one_hot(tokens, logps.shape[-1])).sum(-1)
    return torch.where(mask.bool(), chosen, torch.zeros_like(chosen))


@alternative("rollout_logps")
def logps_token_by_token(model, input_ids, attention_mask, tokens, mask):
    """One pass a token, as in generating."""
    ids, seen, columns = input_ids, attention_mask, []
    for column in tokens.T:
        logits = model(input_ids=ids, attention_mask=seen).logits[:, -1]
        columns.append(logits.log_softmax(-1).gather(1, column[:, None]))
        ids, seen = torch.cat([ids, column[:, None]], dim=1), F.pad(seen, (0, 1), value=1)
    return torch.cat(columns, dim=1) * mask


@alternative("rollout_logps")
def logps_of_the_whole_row(model, input_ids, attention_mask, tokens, mask):
    """log p of every token of the row but the first, cut at the end; arguments by position, the answers' mask joined."""
    rows = torch.cat([input_ids, tokens], dim=1)
    logits = model(rows, torch.cat([attention_mask, mask], dim=1)).logits
    logps = logits[:, :-1].log_softmax(-1).gather(-1, rows[:, 1:].unsqueeze(-1)).squeeze(-1)
    return logps[:, -tokens.shape[1] :] * mask.float()
