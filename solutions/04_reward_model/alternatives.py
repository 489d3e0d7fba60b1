"""Correct answers to chapter 04 in other shapes, which every check must accept."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1: who is preferred


@alternative("preference_probability")
def logistic_written_out(reward_first, reward_second, temperature=1.0):
    """1 / (1 + exp(-d))."""
    return 1 / (1 + torch.exp((reward_second - reward_first) / temperature))


@alternative("preference_probability")
def softmax_of_two(reward_first, reward_second, temperature=1.0):
    """The softmax of the two rewards, the larger one subtracted."""
    both = torch.stack(torch.broadcast_tensors(reward_first, reward_second), dim=-1)
    return ((both - both.amax(-1, keepdim=True)) / temperature).softmax(-1)[..., 0]


@alternative("preference_probability")
def half_a_tanh(reward_first, reward_second, temperature=1.0):
    """(1 + tanh(d / 2)) / 2."""
    return (1 + torch.tanh((reward_first - reward_second) / (2 * temperature))) / 2


@alternative("preference_probability")
def exponential_of_a_logarithm(reward_first, reward_second, temperature=1.0):
    """exp of logsigmoid, in float64."""
    return F.logsigmoid((reward_first.double() - reward_second.double()) / temperature).exp()


@alternative("preference_probability")
def inverse_temperature(reward_first, reward_second, temperature=1.0):
    """The difference times one over the temperature; expit, in float64."""
    return torch.special.expit(torch.sub(reward_first.double(), reward_second) * (1 / temperature))


@alternative("preference_probability")
def side_by_side(reward_first, reward_second, temperature=1.0):
    """Two formulas, for differences above zero and below."""
    d = (reward_first - reward_second) / temperature
    small = (-d.abs()).exp()
    return torch.where(d >= 0, 1 / (1 + small), small / (1 + small))


# --- Exercise 2: the loss of the pairs


@alternative("bradley_terry_loss")
def softplus(rewards_chosen, rewards_rejected):
    """softplus of the negative difference."""
    return F.softplus(rewards_rejected - rewards_chosen).mean()


@alternative("bradley_terry_loss")
def cross_entropy_of_two(rewards_chosen, rewards_rejected):
    """The cross-entropy of two classes, of which the first is right."""
    logits = torch.stack([rewards_chosen, rewards_rejected], dim=-1)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


@alternative("bradley_terry_loss")
def binary_cross_entropy(rewards_chosen, rewards_rejected):
    """binary_cross_entropy_with_logits with labels 1, in float64."""
    difference = rewards_chosen.double() - rewards_rejected.double()
    return F.binary_cross_entropy_with_logits(difference, torch.ones_like(difference))


@alternative("bradley_terry_loss")
def logaddexp(rewards_chosen, rewards_rejected):
    """log(exp(chosen) + exp(rejected)) - chosen, by logaddexp."""
    return (torch.logaddexp(rewards_chosen, rewards_rejected) - rewards_chosen).mean()


@alternative("bradley_terry_loss")
def loop_over_pairs(rewards_chosen, rewards_rejected):
    """A loop, pair by pair."""
    total = 0
    for chosen, rejected in zip(rewards_chosen, rewards_rejected):
        total = total - F.logsigmoid(chosen - rejected)
    return total / len(rewards_chosen)


@alternative("bradley_terry_loss")
def largest_taken_out(rewards_chosen, rewards_rejected):
    """max(-d, 0) + log(1 + exp(-|d|)), averaged by hand."""
    d = rewards_chosen - rewards_rejected
    return ((-d).clamp(min=0) + torch.log1p(torch.exp(-d.abs()))).sum() / d.numel()


@alternative("bradley_terry_loss")
def log_softmax_of_two(rewards_chosen, rewards_rejected):
    """The logarithm of a softmax over the two answers of each pair."""
    return -torch.stack([rewards_chosen, rewards_rejected]).log_softmax(0)[0].mean()



# --- Exercise 3: scores from a table of wins


@alternative("fit_scores")
def minorise_and_maximise(wins):
    """Hunter's algorithm on the strengths: no step size, no derivative."""
    wins = wins.double()
    games, strength = wins + wins.T, torch.ones(len(wins), dtype=torch.float64)
    for _ in range(2000):
        renewed = wins.sum(1) / (games / (strength[:, None] + strength[None])).sum(1)
        renewed = renewed / renewed.log().mean().exp()
        if (renewed - strength).abs().max() < 1e-10:
            break
        strength = renewed
    return strength.log() - strength.log().mean()


@alternative("fit_scores")
def quasi_newton(wins):
    """LBFGS on the likelihood, in float64."""
    wins = wins.double()
    scores = torch.zeros(len(wins), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        loss = -(wins * F.logsigmoid(scores[:, None] - scores[None])).sum() / wins.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return scores.detach() - scores.detach().mean()


@alternative("fit_scores")
def plain_gradient_ascent(wins):
    """Six hundred steps of gradient ascent in float32, each player's as large as its number of games allows."""
    wins = wins.float()
    games, scores = wins + wins.T, torch.zeros(len(wins))
    for _ in range(600):
        probability = torch.sigmoid(scores[:, None] - scores[None])
        scores = scores + 1.9 * (wins - games * probability).sum(1) / games.sum(1)
        scores = scores - scores.mean()
    return scores


@alternative("fit_scores")
def regression_on_a_design(wins):
    """Logistic regression without intercept on rows of +1 and −1, by iterated least squares in numpy; an array comes back."""
    table = wins.numpy().astype(float)
    k = len(table)
    pairs = [(i, j) for i in range(k) for j in range(i) if table[i, j] + table[j, i] > 0]
    design = np.zeros((len(pairs), k))
    for row, (i, j) in enumerate(pairs):
        design[row, i], design[row, j] = 1, -1
    won = np.array([table[i, j] for i, j in pairs])
    games = np.array([table[i, j] + table[j, i] for i, j in pairs])
    scores = np.zeros(k)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ scores))
        weight = games * p * (1 - p)
        root = np.sqrt(weight)
        target = design @ scores + (won - games * p) / weight
        scores = np.linalg.lstsq(root[:, None] * design, root * target, rcond=None)[0]
    return scores - scores.mean()


@alternative("fit_scores")
def thousand_steps(wins):
    """The first hint, in a loop over Python numbers until nothing moves; a list comes back."""
    table = wins.tolist()
    k, scores = len(table), [0.0] * len(table)
    for _ in range(1000):
        pulls = [
            sum(table[i][j] - (table[i][j] + table[j][i]) / (1 + math.exp(scores[j] - scores[i])) for j in range(k))
            for i in range(k)
        ]
        games = [sum(table[i][j] + table[j][i] for j in range(k)) for i in range(k)]
        scores = [s + pull / n for s, pull, n in zip(scores, pulls, games)]
        if max(map(abs, pulls)) < 1e-6:
            break
    return [s - sum(scores) / k for s in scores]



# --- Exercise 4: what pairs cannot tell


@alternative("center_rewards")
def loop_over_prompts(rewards, prompt_ids):
    """A loop over the prompts, into a clone."""
    centered = rewards.clone()
    for p in set(prompt_ids.tolist()):
        centered[prompt_ids == p] -= rewards[prompt_ids == p].mean()
    return centered


@alternative("center_rewards")
def table_of_equals(rewards, prompt_ids):
    """A table of which answers belong together, as weights of a matrix product."""
    same = (prompt_ids[:, None] == prompt_ids[None]).to(rewards.dtype)
    return rewards - same @ rewards / same.sum(1)


@alternative("center_rewards")
def scatter_reduced(rewards, prompt_ids):
    """scatter_reduce with the mean, in float64."""
    _, group = prompt_ids.unique(return_inverse=True)
    means = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
    means = means.scatter_reduce(0, group, rewards.double(), "mean", include_self=False)
    return rewards.double() - means[group]


@alternative("center_rewards")
def by_one_hot(rewards, prompt_ids):
    """A one-hot matrix of the prompts and two einsums."""
    _, group = prompt_ids.unique(return_inverse=True)
    which = F.one_hot(group).to(rewards.dtype)
    means = torch.einsum("ap,a->p", which, rewards) / which.sum(0)
    return rewards - torch.einsum("ap,p->a", which, means)


@alternative("center_rewards")
def answer_by_answer(rewards, prompt_ids):
    """A list, answer by answer, stacked."""
    return torch.stack([r - rewards[prompt_ids == p].mean() for r, p in zip(rewards, prompt_ids)])


@alternative("center_rewards")
def sorted_and_split(rewards, prompt_ids):
    """Sorted by prompt, split by the counts, centred, and written back in the old order."""
    order = prompt_ids.argsort()
    _, counts = prompt_ids.unique(return_counts=True)
    parts = rewards[order].split(counts.tolist())
    centered = torch.empty_like(rewards)
    centered[order] = torch.cat([part - part.mean() for part in parts])
    return centered


@alternative("center_rewards")
def numpy_bincount(rewards, prompt_ids):
    """numpy: unique, bincount with weights; an array comes back."""
    r = rewards.numpy()
    _, group = np.unique(prompt_ids.numpy(), return_inverse=True)
    return r - (np.bincount(group, r) / np.bincount(group))[group]



# --- Exercise 5: one number for an answer


@alternative("last_token_rewards")
def flipped_mask(token_rewards, attention_mask):
    """argmax of the mask, flipped."""
    from_the_right = attention_mask.flip(1).long().argmax(1)
    return token_rewards[torch.arange(len(token_rewards)), attention_mask.shape[1] - 1 - from_the_right]


@alternative("last_token_rewards")
def loop_over_rows(token_rewards, attention_mask):
    """Row by row, the last of the real ones."""
    return torch.stack([row[mask.bool()][-1] for row, mask in zip(token_rewards, attention_mask)])


@alternative("last_token_rewards")
def one_hot_product(token_rewards, attention_mask):
    """A 1 where the mask is 1 and nothing real follows, times the outputs."""
    real = attention_mask.long()
    last = real * (real.flip(1).cumsum(1).flip(1) == 1)
    return torch.einsum("bs,bs->b", token_rewards, last.to(token_rewards.dtype))


@alternative("last_token_rewards")
def largest_place(token_rewards, attention_mask):
    """The largest place that is real, gathered."""
    places = torch.arange(attention_mask.shape[1]).expand_as(attention_mask)
    last = places.masked_fill(~attention_mask.bool(), -1).max(1, keepdim=True).values
    return token_rewards.gather(1, last).squeeze(1)


@alternative("last_token_rewards")
def cumulated_mask(token_rewards, attention_mask):
    """argmax of the cumulated mask: the first place at which all real tokens have been seen."""
    last = attention_mask.long().cumsum(1).argmax(1)
    return token_rewards[range(len(last)), last]


@alternative("last_token_rewards")
def ones_followed_by_zeros(token_rewards, attention_mask):
    """Where the mask falls from 1 to 0, with a 0 set behind each row; a boolean mask as the index."""
    mask = F.pad(attention_mask.long(), (0, 1))
    return token_rewards[(mask[:, :-1] - mask[:, 1:]) == 1]


@alternative("last_token_rewards")
def begin_and_length(token_rewards, attention_mask):
    """The first real place plus the number of real tokens, less one; in float64."""
    mask = attention_mask.to(torch.int32)
    last = mask.argmax(dim=1) + mask.sum(dim=1) - 1
    return torch.take_along_dim(token_rewards.double(), last[:, None], dim=1).flatten()



# --- Exercise 6: the training loop


@alternative("train_reward_model")
def two_forward_passes(model, batches, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Chosen and rejected answers go through the model one after the other."""
    losses = []
    for step, batch in enumerate(batches):
        model.train()
        half = len(batch["input_ids"]) // 2
        for p in model.parameters():
            p.grad = None
        chosen = model(**{k: v[:half] for k, v in batch.items()})
        rejected = model(**{k: v[half:] for k, v in batch.items()})
        loss = F.softplus(rejected - chosen).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters()], max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses.append(float(loss))
        if after_step:
            after_step(step, float(loss))
    return losses


@alternative("train_reward_model")
def clipped_by_hand(model, batches, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Losses by a loop with a counter, gradients by torch.autograd.grad, clipped by hand."""
    model.train()
    parameters, losses = [p for p in model.parameters()], []
    for batch in batches:
        rewards = model(**batch)
        pairs = rewards.view(2, -1)
        loss = -torch.log_softmax(pairs, 0)[0].mean()
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))
        share = min(1.0, max_norm / (float(norm) + 1e-6))
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g * share
        for group in optimizer.param_groups:
            group["lr"] = lr_at(len(losses))
        optimizer.step()
        losses.append(loss.detach().item())
        if after_step is not None:
            after_step(len(losses) - 1, losses[-1])
    return losses


# --- Exercise 7: does it know how sure it may be


@alternative("calibration_bins")
def loop_over_bins(probabilities, outcomes, num_bins):
    """A loop over the bins with masks; Python floats and lists."""
    edges = torch.linspace(0, 1, num_bins + 1)
    found = {"predicted": [], "observed": [], "count": []}
    error = 0.0
    for b in range(num_bins):
        above = probabilities >= edges[b]
        inside = above & (probabilities < edges[b + 1]) if b < num_bins - 1 else above
        count = inside.sum().item()
        found["count"].append(count)
        found["predicted"].append(probabilities[inside].mean().item() if count else math.nan)
        found["observed"].append(outcomes[inside].float().mean().item() if count else math.nan)
        if count:
            error += count / len(probabilities) * abs(found["predicted"][-1] - found["observed"][-1])
    return found | {"error": error}


@alternative("calibration_bins")
def bucketized(probabilities, outcomes, num_bins):
    """torch.bucketize and bincount."""
    inner = torch.linspace(0, 1, num_bins + 1)[1:-1]
    which = torch.bucketize(probabilities, inner, right=True)
    count = torch.bincount(which, minlength=num_bins)
    predicted = torch.bincount(which, probabilities, minlength=num_bins) / count
    observed = torch.bincount(which, outcomes.float(), minlength=num_bins) / count
    error = torch.nansum((predicted - observed).abs() * count) / count.sum()
    return {"predicted": predicted, "observed": observed, "count": count, "error": error}


@alternative("calibration_bins")
def numpy_histograms(probabilities, outcomes, num_bins):
    """np.histogram, whose last bin holds both its edges; float64 arrays."""
    p, y = probabilities.numpy().astype(np.float64), outcomes.numpy()
    count, edges = np.histogram(p, bins=num_bins, range=(0, 1))
    with np.errstate(invalid="ignore"):
        predicted = np.histogram(p, bins=edges, weights=p)[0] / count
        observed = np.histogram(p, bins=edges, weights=y)[0] / count
    error = np.nansum(np.abs(predicted - observed) * count) / len(p)
    return {"predicted": predicted, "observed": observed, "count": count, "error": error}


@alternative("calibration_bins")
def one_hot_bins(probabilities, outcomes, num_bins):
    """A one-hot matrix of bins and matrix products; the error from the sums."""
    which = torch.floor(probabilities * num_bins).clamp(0, num_bins - 1).long()
    inside = F.one_hot(which, num_bins).double()
    count, predicted, observed = inside.sum(0), probabilities.double() @ inside, outcomes.double() @ inside
    error = (predicted - observed).abs().sum() / len(probabilities)
    return {"predicted": predicted / count, "observed": observed / count, "count": count.int(), "error": error}


@alternative("calibration_bins")
def lists_of_pairs(probabilities, outcomes, num_bins):
    """Python lists, pair by pair; a prediction is compared with the edges as fractions."""
    bins = [[] for _ in range(num_bins)]
    for p, y in zip(probabilities.tolist(), outcomes.tolist()):
        bins[min(int(p * num_bins), num_bins - 1)].append((p, y))
    mean = lambda values: sum(values) / len(values) if values else math.nan  # noqa: E731
    predicted, observed = ([mean([pair[k] for pair in b]) for b in bins] for k in (0, 1))
    gaps = [abs(p - o) * len(b) for p, o, b in zip(predicted, observed, bins) if b]
    found = {"predicted": torch.tensor(predicted), "observed": torch.tensor(observed)}
    return found | {"count": torch.tensor([len(b) for b in bins]), "error": torch.tensor(sum(gaps) / len(probabilities))}


@alternative("calibration_bins")
def table_of_bins(probabilities, outcomes, num_bins):
    """A table (bins, pairs) of booleans; nanmean."""
    edges = torch.arange(num_bins + 1) / num_bins
    inside = (probabilities >= edges[:-1, None]) & (probabilities < edges[1:, None])
    inside[-1] |= probabilities == 1
    predicted = torch.where(inside, probabilities, torch.nan).nanmean(1)
    observed = torch.where(inside, outcomes.float(), torch.nan).nanmean(1)
    weights = inside.float().mean(1)
    error = ((predicted - observed).abs().nan_to_num() * weights).sum()
    return {"observed": observed, "predicted": predicted, "error": error, "count": inside.sum(1).float()}



# --- Exercise 8: what best of n is worth


@alternative("best_of_n_utility")
def by_differences(rewards, utilities, n):
    """The probability that all of n come from the lowest i, minus the same for i - 1."""
    m = rewards.shape[1]
    below = [math.comb(i, n) / math.comb(m, n) for i in range(m + 1)]
    weights = torch.tensor(below, dtype=utilities.dtype).diff()
    order = rewards.sort(1).indices
    return (torch.take_along_dim(utilities, order, 1) * weights).sum(1)


@alternative("best_of_n_utility")
def by_a_product(rewards, utilities, n):
    """The weight of each place from that of the one above it, so that no large number occurs."""
    m = rewards.shape[1]
    downwards = utilities.gather(1, rewards.argsort(dim=1, descending=True))
    weight, total = n / m, torch.zeros(len(rewards), dtype=torch.float64)
    for place in range(m):
        total += weight * downwards[:, place].double()
        weight *= max(0, m - n - place) / max(1, m - 1 - place)
    return total


@alternative("best_of_n_utility")
def prompt_by_prompt(rewards, utilities, n):
    """Sorted pairs and binomials, in Python, for one prompt after the other."""
    result = []
    for row, worth in zip(rewards.tolist(), utilities.tolist(), strict=True):
        ranked = sorted(zip(row, worth, strict=True))
        ways = [math.comb(i, n - 1) for i in range(len(ranked))]
        result.append(sum(w * u for w, (_, u) in zip(ways, ranked, strict=True)) / sum(ways))
    return torch.tensor(result)


@alternative("best_of_n_utility")
def logarithms_of_factorials(rewards, utilities, n):
    """Binomials by lgamma, in float64."""
    m = rewards.shape[1]
    i = torch.arange(m, dtype=torch.float64)
    log_comb = lambda a, b: torch.lgamma(a + 1) - torch.lgamma(b + 1) - torch.lgamma(a - b + 1)  # noqa: E731
    b = torch.tensor(float(n - 1), dtype=torch.float64)
    log_ways = torch.where(i >= b, log_comb(torch.maximum(i, b), b), -torch.inf)
    return utilities.double().gather(1, rewards.argsort(1)) @ log_ways.softmax(0)


# --- Exercise 9: what best of n samples from


@alternative("best_of_n_probs")
def sorted_by_reward(probs, rewards, n):
    """Groups of equal reward in ascending order, cumulated."""
    values, group = rewards.unique(return_inverse=True)
    mass = torch.zeros(len(values), dtype=probs.dtype).index_add(0, group, probs)
    upto = mass.cumsum(0)
    below = torch.cat([torch.zeros(1, dtype=probs.dtype), upto[:-1]])
    share = torch.where(mass > 0, (upto**n - below**n) / mass.clamp(min=1e-300), 0.0)
    return probs * share[group]


@alternative("best_of_n_probs")
def which_draw_is_kept(probs, rewards, n):
    """The first of the best is draw i: those before it are worse, those behind it no better; summed over i."""
    upto = torch.stack([probs[rewards <= r].sum() for r in rewards])
    below = torch.stack([probs[rewards < r].sum() for r in rewards])
    return probs * sum(below**i * upto ** (n - 1 - i) for i in range(n))


@alternative("best_of_n_probs")
def answer_by_answer_in_python(probs, rewards, n):
    """Python numbers, answer by answer."""
    p, r = probs.tolist(), rewards.tolist()
    result = []
    for mine, reward in zip(p, r):
        worse = math.fsum(q for q, s in zip(p, r) if s < reward)
        equal = math.fsum(q for q, s in zip(p, r) if s == reward)
        result.append(0.0 if equal == 0 else mine / equal * ((worse + equal) ** n - worse**n))
    return torch.tensor(result, dtype=torch.float64)


@alternative("best_of_n_probs")
def draw_after_draw(probs, rewards, n):
    """Best of n from best of n - 1: the new draw replaces the old best only where it is better. In numpy."""
    p, r = probs.numpy(), rewards.numpy()
    best = p.copy()
    better = r[:, None] > r[None, :]
    for _ in range(n - 1):
        best = p * (better @ best) + best * (~better.T @ p)
    return torch.from_numpy(best)


@alternative("best_of_n_probs")
def quantile_intervals(probs, rewards, n):
    """numpy: cumulated in sorted order, the last of a tie and the first of it by searchsorted; float64."""
    p, r = probs.numpy(), rewards.numpy()
    order = np.argsort(r, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(p[order])])
    below, upto = (cumulated[np.searchsorted(r[order], r, side)] for side in ("left", "right"))
    tied = upto - below
    return p * np.divide(upto**n - below**n, tied, out=np.zeros_like(p), where=p > 0)


# --- Exercise 10: few comparisons, careless annotators


@alternative("scores_from_few")
def gradient_of_a_mixture(features, pairs, annotators, heldout):
    """The posterior of the prices, with careful and careless annotators summed out, climbed by its gradient."""
    d = features[pairs[:, 0]] - features[pairs[:, 1]]
    people = F.one_hot(annotators, int(annotators.max()) + 1).double()
    games = people.sum(0)
    prices = torch.zeros(d.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([prices], max_iter=80, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        careful = F.logsigmoid(d @ prices) @ people
        careless = games * math.log(0.5)
        value = 2 * prices.square().sum() - torch.logaddexp(careful, careless).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return heldout @ prices.detach()


@alternative("scores_from_few")
def doubtful_choices_weigh_less(features, pairs, annotators, heldout):
    """Ridge first; then each annotator's weight is found again and again, by plain gradient steps on the prices."""
    d = (features[pairs[:, 0]] - features[pairs[:, 1]]).numpy()
    who, prices, careful = annotators.numpy(), np.zeros(d.shape[1]), np.full(8, 0.5)
    for step in range(600):
        p = 1 / (1 + np.exp(-d @ prices))
        prices = prices + 0.02 * (d.T @ (careful[who] * (1 - p)) - 4 * prices)
        if step >= 100 and step % 10 == 0:
            log_p = -np.logaddexp(0, -d @ prices)
            evidence = np.array([(log_p[who == a] + np.log(2)).sum() for a in range(8)])
            careful = 1 / (1 + np.exp(-evidence))
    return torch.from_numpy(heldout.numpy() @ prices)
