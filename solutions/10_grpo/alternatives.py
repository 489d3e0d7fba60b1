"""Right answers to chapter 10 in other shapes: loops, regular expressions, autograd, float64, a library's call."""

import itertools
import math
import re
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1


@alternative("verify_answer")
def by_regular_expressions(text, truth):
    """One pattern for the form, one for the answer; integers are compared."""
    word = r"(?!</?(?:think|answer)>(?:\s|$))\S+"
    block = lambda name: rf"<{name}>(?:\s+{word})*\s+</{name}>"  # noqa: E731
    form = re.fullmatch(rf"\s*{block('think')}\s+{block('answer')}\s*", text) is not None
    found = re.findall(r"<answer>\s+(-?\d+)\s+</answer>", text)
    once = text.split().count("<answer>") == text.split().count("</answer>") == 1
    return form, once and len(found) == 1 and int(found[0]) == truth


@alternative("verify_answer")
def by_a_machine(text, truth):
    """Goes through the words with a state; booleans as numbers in a list."""
    order, state, form = ("<think>", "</think>", "<answer>", "</answer>"), 0, True
    for word in text.split():
        if word in order:
            form &= state < 4 and order[state] == word
            state += 1
        elif state in (0, 2, 4):
            form = False
    form &= state == 4
    _, opened, rest = text.partition("<answer>")
    inside, closed, behind = rest.partition("</answer>")
    clean = opened and closed and not any(m in x for x in (inside, behind) for m in ("<answer>", "</answer>"))
    clean = clean and "</answer>" not in _
    return [1.0 if form else 0.0, 1.0 if clean and re.fullmatch(r"-?\d+", inside.strip()) and int(inside) == truth else 0.0]


@alternative("verify_answer")
def by_splitting(text, truth):
    """Splits the text at the marks and looks at the pieces; numpy floats."""
    pieces = re.split(r"(</?think>|</?answer>)", text)
    marks, between = pieces[1::2], [piece.split() for piece in pieces[::2]]
    form = marks == ["<think>", "</think>", "<answer>", "</answer>"] and not (between[0] or between[2] or between[4])
    right = False
    if marks.count("<answer>") == 1 and marks.count("</answer>") == 1:
        first, last = marks.index("<answer>"), marks.index("</answer>")
        right = last == first + 1 and between[last] == [f"{truth}"]
    return np.float64(form), np.float64(right)


# --- Exercise 2


@alternative("group_advantages")
def group_by_group(rewards, eps=1e-4):
    """A loop over the groups, the standard deviation by hand."""
    rows = []
    for group in rewards:
        off = group - group.sum() / len(group)
        rows.append(off / ((off.square().sum() / (len(group) - 1)).sqrt() + eps))
    return torch.stack(rows)


@alternative("group_advantages")
def from_leave_one_out(rewards, eps=1e-4):
    """Chapter 3's leave-one-out advantages, made shorter by (k - 1) / k, then divided."""
    k = rewards.shape[1]
    others = (rewards.sum(1, keepdim=True) - rewards) / (k - 1)
    std, _ = torch.std_mean(rewards, dim=1, keepdim=True)
    return (rewards - others).mul((k - 1) / k).div(std + eps)


@alternative("group_advantages")
def in_double_precision_by_numpy(rewards, eps=1e-4):
    """numpy in float64, and back."""
    r = rewards.numpy().astype(float)
    a = (r - r.mean(1, keepdims=True)) / (r.std(1, ddof=1, keepdims=True) + eps)
    return torch.from_numpy(a).to(rewards.dtype)


# --- Exercise 3


@alternative("grpo_loss")
def token_by_token(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None):
    """Loops over answers and tokens; nothing of the padding is ever looked at."""
    sums, counts, old_logps, advantages = [], [], old_logps.detach(), advantages.detach()
    for i in range(len(logps)):
        a, total = float(advantages[i]), 0.0
        for j in mask[i].nonzero()[:, 0].tolist():
            ratio = (logps[i, j] - float(old_logps[i, j])).exp()
            high, low = (1 + clip_high, 0.0) if a > 0 else (math.inf, 1 - clip_low)
            total = total - a * ratio.clamp(low, high) + (0.0 if extra is None else extra[i, j])
        sums.append(total)
        counts.append(int(mask[i].sum()))
    if per == "answer":
        return sum(s / n for s, n in zip(sums, counts)) / len(sums)
    return sum(sums) / (sum(counts) if per == "token" else max_tokens * len(sums))


@alternative("grpo_loss")
def as_a_weighted_sum(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None):
    """Each normalisation is a weight for each token; the loss is one sum, in float64."""
    keep = mask.bool()
    weight = {
        "answer": lambda: 1 / (mask.sum(1, keepdim=True) * len(mask)),
        "token": lambda: 1 / mask.sum(),
        "constant": lambda: torch.tensor(1 / (len(mask) * (max_tokens or 1))),
    }[per]().double().expand(mask.shape)[keep]
    a = advantages.detach().double()[:, None].expand(mask.shape)[keep]
    ratio = torch.exp(logps[keep].double() - old_logps.detach()[keep].double())
    loss = torch.maximum(-a * ratio, -a * ratio.clip(1 - clip_low, 1 + clip_high))
    loss = loss if extra is None else loss + extra[keep]
    return (loss * weight).sum()


@alternative("grpo_loss")
def by_the_four_corners(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None):
    """The ratio is clipped where a token went far enough, and nowhere else; einsum for the sums."""
    with torch.no_grad():
        a = advantages.reshape(-1, 1).expand(logps.shape)
        old = torch.where(mask > 0, old_logps, logps)
    ratio = torch.exp(torch.where(mask > 0, logps, old) - old)
    ratio = torch.where((a > 0) & (ratio > 1 + clip_high), torch.full_like(ratio, 1 + clip_high), ratio)
    ratio = torch.where((a < 0) & (ratio < 1 - clip_low), torch.full_like(ratio, 1 - clip_low), ratio)
    losses = -ratio * a + (torch.where(mask > 0, extra, 0.0) if extra is not None else 0.0)
    m = mask.to(losses)
    if per == "answer":
        return torch.einsum("ij,ij,i->", losses, m, 1 / m.sum(1)) / m.shape[0]
    return torch.einsum("ij,ij->", losses, m) / (m.sum() if per == "token" else m.shape[0] * max_tokens)


# --- Exercise 4


@alternative("kl_gradient")
def by_autograd(logits, ref_logits, estimator, use):
    """Autograd of the sum over all answers, with the chances of the draws held constant."""
    theta = logits.detach().clone().requires_grad_()
    logps, ref = F.log_softmax(theta, -1), F.log_softmax(ref_logits, -1)
    d = logps - ref
    k = {"k1": lambda: d, "k2": lambda: d.square() / 2, "k3": lambda: (-d).exp() - 1 + d}[estimator]()
    weights = logps.detach().exp()
    surrogate = {"loss": k, "reward": k.detach() * logps, "ratio": (logps - logps.detach()).exp() * k}[use]
    return torch.autograd.grad((weights * surrogate).sum(), theta)[0]


@alternative("kl_gradient")
def prompt_by_prompt_with_the_jacobian(logits, ref_logits, estimator, use):
    """The Jacobian of log_softmax written out, one prompt after the other."""
    rows = []
    for theta, reference in zip(logits, ref_logits):
        p = theta.softmax(0)
        jacobian = torch.eye(len(p), dtype=p.dtype) - p  # row y: ∇ log p(y)
        d = theta.log_softmax(0) - reference.log_softmax(0)
        value = dict(k1=d, k2=d.pow(2) * 0.5, k3=d.neg().exp() - 1 + d)[estimator]
        slope = dict(k1=d * 0 + 1, k2=d, k3=1 - d.neg().exp())[estimator]
        rows.append(torch.einsum("y,y,yb->b", p, value * (use != "loss") + slope * (use != "reward"), jacobian))
    return torch.stack(rows)


@alternative("kl_gradient")
def by_what_they_come_to(logits, ref_logits, estimator, use):
    """Both KLs' gradients in closed form, and what each use comes to; k2's square by hand."""
    p, q = logits.softmax(-1), ref_logits.softmax(-1)
    d = torch.log(p / q)
    score = lambda w: p * (w - (p * w).sum(-1, keepdim=True))  # noqa: E731
    forward, backward, half = score(d), p - q, score(d**2 / 2)
    return {
        ("k1", "loss"): 0 * p, ("k1", "reward"): forward, ("k1", "ratio"): forward,
        ("k2", "loss"): forward, ("k2", "reward"): half, ("k2", "ratio"): half + forward,
        ("k3", "loss"): backward, ("k3", "reward"): forward - backward, ("k3", "ratio"): forward,
    }[estimator, use]  # fmt: skip


# --- Exercise 5


@alternative("kl_term")
def as_three_terms(logps, old_logps, ref_logps):
    """p/old times the log-ratio, plus p_0/old, minus p/old."""
    old, ref = old_logps.detach(), ref_logps.detach()
    ratio = torch.exp(logps - old)
    return torch.addcmul(torch.exp(ref - old) - ratio, ratio, logps - ref)


@alternative("kl_term")
def as_a_bregman_distance(logps, old_logps, ref_logps):
    """How far -log lies above its tangent, weighed with the ratio; constants by no_grad."""
    with torch.no_grad():
        old, ref = old_logps.clone(), ref_logps.clone()
    d = logps - ref
    x = torch.exp(-d)
    return (logps - old).exp() * (x - torch.ones_like(x) - torch.log(x))


@alternative("kl_term")
def in_float64(logps, old_logps, ref_logps):
    """Double precision, and back to the dtype that came."""
    p, old, ref = logps.double(), old_logps.detach().double(), ref_logps.detach().double()
    return (torch.exp(p - old) * (torch.exp(ref - p) - 1 + (p - ref))).to(logps.dtype)


# --- Exercise 6


@alternative("drawn_logps")
def by_the_ranks(logits, tokens, temperature=1.0, top_p=1.0):
    """Sorted descending; how many are kept is counted, and who is among them by rank."""
    scaled = logits / temperature
    ordered = scaled.detach().softmax(-1).sort(-1, descending=True)
    count = (ordered.values.cumsum(-1) < top_p).sum(-1, keepdim=True) + 1
    rank = ordered.indices.argsort(-1)
    if top_p < 1:
        scaled = torch.where(rank < count, scaled, -math.inf)
    return torch.take_along_dim(F.log_softmax(scaled, -1), tokens.unsqueeze(-1), -1).squeeze(-1)


@alternative("drawn_logps")
def by_cross_entropy(logits, tokens, temperature=1.0, top_p=1.0):
    """cross_entropy of the kept logits, flattened."""
    flat = (logits / temperature).reshape(-1, logits.shape[-1])
    if top_p < 1:
        probs, order = flat.detach().softmax(-1).sort(-1, descending=True)
        drop = F.pad(probs.cumsum(-1)[:, :-1], (1, 0)) >= top_p
        flat = flat.masked_fill(drop.gather(-1, order.argsort(-1)), -torch.inf)
    return -F.cross_entropy(flat, tokens.reshape(-1), reduction="none").view(tokens.shape)


@alternative("drawn_logps")
def row_by_row(logits, tokens, temperature=1.0, top_p=1.0):
    """Python loops: each row's tokens from the most likely on, until the sum is there."""
    found = []
    for row, token in zip(logits.reshape(-1, logits.shape[-1]), tokens.reshape(-1).tolist()):
        row = row / temperature
        probs, kept, total = row.softmax(0).tolist(), [], 0.0
        for i in sorted(range(len(probs)), key=probs.__getitem__, reverse=True):
            if total < top_p - 1e-7 or not kept:
                kept.append(i)
                total += probs[i]
        kept = kept if top_p < 1 else list(range(len(probs)))
        found.append(row[token] - row[kept].logsumexp(0) if token in kept else row.new_tensor(-math.inf))
    return torch.stack(found).view(tokens.shape)


# --- Exercise 7


@alternative("pass_at_k")
def by_binomials(right, drawn, k):
    """Whole numbers: how many choices there are, and how many of them are all wrong."""
    return 1 - math.comb(drawn - right, k) / math.comb(drawn, k)


@alternative("pass_at_k")
def by_numpy(right, drawn, k):
    """The product of Chen et al. 2021, who count down from the wrong ones."""
    if drawn - right < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(drawn - right + 1, drawn + 1)))


@alternative("pass_at_k")
def by_log_gamma(right, drawn, k):
    """Logarithms of factorials."""
    wrong = drawn - right
    if k > wrong:
        return 1.0
    log = lambda n: math.lgamma(n + 1)  # noqa: E731
    return -math.expm1(log(wrong) - log(wrong - k) - log(drawn) + log(drawn - k))


# --- Exercise 8


@alternative("rejection_sample")
def with_dictionaries(answers, rewards, most):
    """The first place of each right text, in a dictionary that keeps its order."""
    chosen = []
    for i, (texts, paid) in enumerate(zip(answers, rewards.tolist())):
        first = OrderedDict()
        for j, (text, reward) in enumerate(zip(texts, paid)):
            if reward:
                first.setdefault(text, (i, j))
        chosen.extend(itertools.islice(first.values(), most))
    return chosen


@alternative("rejection_sample")
def by_looking_back(answers, rewards, most):
    """A right answer counts if its text did not come before; lists for pairs."""
    fresh = [
        [j for j in range(len(texts)) if rewards[i, j].item() > 0 and texts.index(texts[j]) == j]
        for i, texts in enumerate(answers)
    ]
    return [[i, j] for i, places in enumerate(fresh) for j in places[:most]]


@alternative("rejection_sample")
def from_the_nonzero(answers, rewards, most):
    """Over the places of the ones in the tensor; a set of texts and a count for each prompt."""
    chosen, seen, count = [], set(), [0] * len(answers)
    for i, j in (rewards == 1).nonzero().tolist():
        if (i, answers[i][j]) not in seen and count[i] < most:
            seen.add((i, answers[i][j]))
            count[i] += 1
            chosen.append((i, j))
    return tuple(chosen)


# --- Exercise 9


def _grpo(logps, batch, advantages, clip_low, clip_high, per, max_tokens, beta):
    mask, old, ref = batch["mask"], batch["logps"], batch["ref_logps"]
    ratio = torch.where(mask == 1, (logps - old).exp(), 1.0)
    a = advantages.view(-1, 1)
    policy = torch.maximum(-a * ratio, -a * ratio.clamp(1 - clip_low, 1 + clip_high))
    kl = ratio * (torch.exp(ref - logps) - 1 - (ref - logps))
    losses = (policy + beta * kl) * mask
    if per == "answer":
        return (losses.sum(-1) / mask.sum(-1)).mean()
    return losses.sum() / (mask.sum() if per == "token" else max_tokens * len(mask))


def _compared(rewards):
    std, mean = torch.std_mean(rewards, 1, keepdim=True)
    return (rewards - mean) / (std + 1e-4)


@alternative("train_grpo")
def with_autograd_grad(
    policy, optimizer, sample, logps_of, updates, *, steps, clip_low, clip_high, per, max_tokens, beta, max_norm=1.0
):
    """torch.autograd.grad, the norm clipped by hand; the rewards' means from a comprehension's list."""
    parameters, batches = list(policy.parameters()), []
    for _ in range(updates):
        batches.append(batch := sample())
        advantages = _compared(batch["rewards"])
        for _ in range(steps):
            loss = _grpo(logps_of(batch), batch, advantages, clip_low, clip_high, per, max_tokens, beta)
            gradients = torch.autograd.grad(loss, parameters)
            norm = torch.cat([g.flatten() for g in gradients]).norm().item()
            for p, g in zip(parameters, gradients):
                p.grad = g * min(1.0, max_norm / (norm + 1e-6))
            optimizer.step()
    return [float(batch["rewards"].mean()) for batch in batches]


@alternative("train_grpo")
def with_a_closure(
    policy, optimizer, sample, logps_of, updates, *, steps, clip_low, clip_high, per, max_tokens, beta, max_norm=1.0
):
    """The optimizer calls a closure for each step."""
    earned = ()
    for _ in range(updates):
        batch = dict(sample())
        advantages = _compared(batch["rewards"])

        def closure(batch=batch, advantages=advantages):
            optimizer.zero_grad(set_to_none=False)
            loss = _grpo(logps_of(batch), batch, advantages, clip_low, clip_high, per, max_tokens, beta)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(policy.parameters()), max_norm)
            return loss

        for _ in range(steps):
            optimizer.step(closure)
        earned += (batch["rewards"].mean().item(),)
    return earned


@alternative("train_grpo")
def zeroed_after_each_step(
    policy, optimizer, sample, logps_of, updates, *, steps, clip_low, clip_high, per, max_tokens, beta, max_norm=1.0
):
    """Policy loss and KL backwards one after the other; gradients are forgotten after each step, and before the first."""
    policy.zero_grad()
    earned = [0.0] * updates
    for u in range(updates):
        batch = sample()
        advantages, none = _compared(batch["rewards"]), torch.zeros(batch["rewards"].numel())
        for _ in range(steps):
            logps = logps_of(batch)
            setting = clip_low, clip_high, per, max_tokens
            _grpo(logps, batch, advantages, *setting, 0.0).backward(retain_graph=True)
            _grpo(logps, batch, none, *setting, beta).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
            optimizer.step()
            policy.zero_grad()
        earned[u] = batch["rewards"].double().mean().item()
    return earned


# --- Exercise 10


def _likelihood(features, weights, asked, drawn, right, rounds=25, lr=0.1, decay=0.0):
    weights = weights.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=lr, weight_decay=decay)
    for _ in range(rounds):
        p = (features[asked] @ weights).softmax(-1).gather(1, drawn[:, None])[:, 0].clamp(1e-6, 1 - 1e-4)
        optimizer.zero_grad()
        F.binary_cross_entropy(p, right).backward()
        optimizer.step()
    return weights.detach()


@alternative("learn_from_checks")
def binary_cross_entropy_of_all_checks(features, start, check_answers, budget, generator):
    """Many small rounds; whether an answer was right is a label, and its chance the prediction."""
    weights, asked, drawn, right = start, *(torch.zeros(0, dtype=torch.long) for _ in range(2)), torch.zeros(0)
    for _ in range(10):
        prompts = torch.randperm(len(features), generator=generator)[: budget // 10]
        answers = torch.multinomial((features[prompts] @ weights).softmax(-1), 1, generator=generator).squeeze(1)
        right = torch.cat([right, check_answers(prompts, answers)])
        asked, drawn = torch.cat([asked, prompts]), torch.cat([drawn, answers])
        weights = _likelihood(features, weights, asked, drawn, right)
    return weights


@alternative("learn_from_checks")
def the_best_guess_is_checked(features, start, check_answers, budget, generator):
    """First by chance, then the likeliest answer to new prompts; the likelihood of everything seen."""
    order = torch.randperm(len(features), generator=generator)
    weights, parts = start, []
    for i, prompts in enumerate(order.repeat(2)[:budget].split(20)):
        scores = features[prompts] @ weights
        noise = -torch.log(-torch.log(torch.rand(scores.shape, generator=generator).clamp(1e-9, 1 - 1e-7)))
        answers = (scores + noise * (1.0 if i < 7 else 0.5)).argmax(1)
        parts.append((prompts, answers, check_answers(prompts, answers)))
        weights = _likelihood(features, weights, *map(torch.cat, zip(*parts)), rounds=30)
    return weights
