"""Correct answers to chapter 06 in other shapes, which every check must accept."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1: the reward inside a policy


@alternative("recovered_rewards")
def prompt_by_prompt(logps, ref_logps, beta):
    """Two loops over Python numbers."""
    result = torch.zeros_like(logps)
    for x in range(len(logps)):
        there = [y for y in range(logps.shape[1]) if ref_logps[x, y].item() > -math.inf]
        values = {y: beta * (logps[x, y].item() - ref_logps[x, y].item()) for y in there}
        mean = sum(math.exp(ref_logps[x, y].item()) * values[y] for y in there)
        for y in there:
            result[x, y] = values[y] - mean
    return result


@alternative("recovered_rewards")
def by_nan_to_num(logps, ref_logps, beta):
    """NaN replaced afterwards, in double precision."""
    ratio = torch.nan_to_num((logps - ref_logps).double(), nan=0.0)
    mean = torch.einsum("xy,xy->x", ref_logps.double().exp(), ratio)
    return torch.where(torch.isneginf(ref_logps), 0.0, beta * (ratio - mean[:, None]))


@alternative("recovered_rewards")
def in_numpy_with_where(logps, ref_logps, beta):
    """numpy; the KL of the reference from the policy is the constant."""
    p, q = logps.numpy().astype(float), ref_logps.numpy().astype(float)
    there = q > -np.inf
    ratio = np.where(there, np.where(there, p, 0.0) - np.where(there, q, 0.0), 0.0)
    kl = -(np.exp(q) * ratio).sum(1, keepdims=True)
    return torch.from_numpy(beta * np.where(there, ratio + kl, 0.0))


# --- Exercise 2: the loss


@alternative("dpo_loss")
def by_cross_entropy(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing=0.0):
    """A classification with two classes and soft targets."""
    logits = beta * torch.stack([chosen_logps - ref_chosen_logps.detach(), rejected_logps - ref_rejected_logps.detach()], 1)
    targets = torch.tensor([1 - label_smoothing, label_smoothing]).expand_as(logits)
    return F.cross_entropy(logits, targets)


@alternative("dpo_loss")
def by_binary_cross_entropy(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing=0.0):
    """Binary cross-entropy with the target 1 - label_smoothing."""
    with torch.no_grad():
        shift = ref_chosen_logps - ref_rejected_logps
    margins = (chosen_logps - rejected_logps - shift) * beta
    return F.binary_cross_entropy_with_logits(margins, torch.full_like(margins, 1 - label_smoothing))


@alternative("dpo_loss")
def softplus_pair_by_pair(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing=0.0):
    """A loop, softplus, and the identity log σ(-m) = log σ(m) - m."""
    total = 0.0
    for w, l, rw, rl in zip(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, strict=True):  # noqa: E741
        m = beta * ((w - l) - (rw - rl).detach())
        total = total + F.softplus(-m) + label_smoothing * m
    return total / len(chosen_logps)


@alternative("dpo_loss")
def in_double(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing=0.0):
    """float64, logaddexp."""
    rewards = [beta * (a.double() - b.detach().double()) for a, b in (
        (chosen_logps, ref_chosen_logps), (rejected_logps, ref_rejected_logps))]  # fmt: skip
    norm = torch.logaddexp(*rewards)
    return (norm - (1 - label_smoothing) * rewards[0] - label_smoothing * rewards[1]).mean()


# --- Exercise 3: how hard a pair pulls


@alternative("pair_weights")
def from_softmax(margins, label_smoothing=0.0):
    """The second class of a softmax over (m, 0)."""
    return torch.stack([margins, torch.zeros_like(margins)]).softmax(0)[1] - label_smoothing


@alternative("pair_weights")
def by_autograd(margins, label_smoothing=0.0):
    """The derivative of the loss, by autograd after all, in double precision."""
    m = margins.detach().double().requires_grad_()
    loss = (1 - label_smoothing) * F.softplus(-m) + label_smoothing * F.softplus(m)
    return -torch.autograd.grad(loss.sum(), m)[0]


@alternative("pair_weights")
def one_by_one_in_python(margins, label_smoothing=0.0):
    """math.exp of a negative number only."""
    found = []
    for m in margins.tolist():
        small = math.exp(-abs(m))
        found.append((small if m > 0 else 1.0) / (1 + small) - label_smoothing)
    return torch.tensor(found)


# --- Exercise 4: implicit rewards


@alternative("implicit_rewards")
@torch.no_grad()
def without_a_graph(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta):
    """no_grad, heaviside for the accuracy."""
    chosen, rejected = beta * (chosen_logps - ref_chosen_logps), beta * (rejected_logps - ref_rejected_logps)
    margins = chosen - rejected
    right = torch.heaviside(margins, torch.tensor(0.5))
    return {"accuracy": right.mean(), "margins": margins, "rejected": rejected, "chosen": chosen}


@alternative("implicit_rewards")
def counted_in_python(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta):
    """Numbers; the accuracy is a Python float."""
    quads = zip(*(x.tolist() for x in (chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)), strict=True)
    rows = [(beta * (a - c), beta * (b - d)) for a, b, c, d in quads]
    right = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in rows) / len(rows)
    chosen, rejected = (torch.tensor(column) for column in zip(*rows, strict=True))
    return {"chosen": chosen, "rejected": rejected, "margins": chosen - rejected, "accuracy": right}


@alternative("implicit_rewards")
def stacked(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta):
    """One tensor of both, in double precision."""
    now, ref = torch.stack([chosen_logps, rejected_logps]), torch.stack([ref_chosen_logps, ref_rejected_logps])
    rewards = (now.detach().double() - ref.detach().double()) * beta
    margins = rewards[0] - rewards[1]
    accuracy = ((margins > 0).double() + (margins >= 0).double()).mean() / 2
    return dict(chosen=rewards[0], rejected=rewards[1], margins=margins, accuracy=accuracy)


# --- Exercise 5: all pairs at once


@alternative("expected_dpo_loss")
def pair_by_pair(logps, ref_logps, rewards, beta):
    """Loops over prompts and pairs of answers."""
    ref, r, total = ref_logps.detach(), rewards.detach(), 0.0
    for x in range(len(logps)):
        for i, j in itertools.product(range(logps.shape[1]), repeat=2):
            m = beta * (logps[x, i] - ref[x, i] - logps[x, j] + ref[x, j])
            wins = torch.sigmoid(r[x, i] - r[x, j])
            total = total + (ref[x, i] + ref[x, j]).exp() * (wins * F.softplus(-m) + (1 - wins) * F.softplus(m))
    return total / len(logps)


@alternative("expected_dpo_loss")
def by_symmetry(logps, ref_logps, rewards, beta):
    """A pair in the other order with the other label is the same loss: twice the first label, over all ordered pairs."""
    q, r = ref_logps.detach(), rewards.detach()
    h = logps - q
    chance = torch.sigmoid(r.unsqueeze(2) - r.unsqueeze(1))
    surprise = -F.logsigmoid(beta * (h.unsqueeze(2) - h.unsqueeze(1)))
    weights = (q.unsqueeze(2) + q.unsqueeze(1)).exp()
    return 2 * (weights * chance * surprise).sum() / len(logps)


@alternative("expected_dpo_loss")
def by_bce_in_double(logps, ref_logps, rewards, beta):
    """Binary cross-entropy with soft targets, weighted, in double precision."""
    with torch.no_grad():
        q, r = ref_logps.double(), rewards.double()
        targets = torch.sigmoid(r[..., :, None] - r[..., None, :])
        weights = q.exp()[..., :, None] @ q.exp()[..., None, :]
    h = beta * (logps.double() - q)
    margins = h[..., :, None] - h[..., None, :]
    return F.binary_cross_entropy_with_logits(margins, targets, weights, reduction="none").sum((1, 2)).mean()


@alternative("expected_dpo_loss")
def different_pairs_and_log_two(logps, ref_logps, rewards, beta):
    """Unordered pairs of different answers, and log 2 for every pair of equals."""
    q, r = ref_logps.detach(), rewards.detach()
    i, j = torch.triu_indices(logps.shape[1], logps.shape[1], 1)
    m = beta * ((logps - q)[:, i] - (logps - q)[:, j])
    wins = torch.sigmoid(r[:, i] - r[:, j])
    apart = 2 * (q[:, i] + q[:, j]).exp() * (F.softplus(-m) + (1 - wins) * m)
    return apart.sum(1).mean() + math.log(2) * (2 * q).exp().sum(1).mean()


# --- Exercise 6: the log-probabilities of pairs


def _padded(examples, pad_id, left=False):
    longest = max(len(ids) for ids, _ in examples)
    rows = []
    for ids, labels in examples:
        empty = longest - len(ids)
        one = ([pad_id] * empty, [0] * empty, [-100] * empty)
        full = (list(ids), [1] * len(ids), list(labels))
        rows.append([a + b if left else b + a for a, b in zip(one, full, strict=True)])
    return [torch.tensor(column) for column in zip(*rows, strict=True)]


@alternative("pair_logps")
def padded_on_the_left_side(model, chosen, rejected, pad_id):
    """Padding on the left, cross-entropy by token."""
    ids, mask, labels = _padded([*chosen, *rejected], pad_id, left=True)
    logits = model(input_ids=ids, attention_mask=mask).logits
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none", ignore_index=-100)
    sums = -losses.view(len(ids), -1).sum(1)
    return sums[: len(chosen)], sums[len(chosen) :]


@alternative("pair_logps")
def row_by_row_after_one_pass(model, chosen, rejected, pad_id):
    """One forward pass, then a loop over rows and places."""
    ids, mask, labels = _padded([*chosen, *rejected], pad_id)
    logps = torch.log_softmax(model(input_ids=ids, attention_mask=mask).logits.double(), -1)
    sums = []
    for row in range(len(ids)):
        places = [t for t in range(1, ids.shape[1]) if labels[row, t] != -100]
        sums.append(sum(logps[row, t - 1, labels[row, t]] for t in places))
    return torch.stack(sums[: len(chosen)]), torch.stack(sums[len(chosen) :])


@alternative("pair_logps")
def by_gather_and_mask(model, chosen, rejected, pad_id):
    """Labels clamped, gathered, masked; a view of two rows."""
    ids, mask, labels = _padded([*chosen, *rejected], pad_id)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    targets = labels[:, 1:]
    found = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0] - logits.logsumexp(-1)
    both = torch.where(targets != -100, found, 0.0).sum(-1).view(2, len(chosen))
    return [both[0], both[1]]


@alternative("pair_logps")
def other_order_in_the_batch(model, chosen, rejected, pad_id):
    """Chosen and rejected rows alternate in the batch, and are taken apart again."""
    mixed = [example for pair in zip(chosen, rejected, strict=True) for example in pair]
    ids, mask, labels = _padded(mixed, pad_id)
    logits = model(input_ids=ids, attention_mask=mask).logits
    sums = -F.cross_entropy(logits[:, :-1].mT, labels[:, 1:], ignore_index=-100, reduction="none").sum(1)
    return sums[0::2], sums[1::2]


# --- Exercise 7: the reference, once


@alternative("reference_logps")
@torch.no_grad()
def with_a_decorator(model, chosen, rejected, pad_id, size):
    """no_grad as a decorator; the parts in training mode are noted and put back by name."""
    trained = {name for name, part in model.named_modules() if part.training}
    model.eval()
    first, second = [], []
    for begin in range(0, len(chosen), size):
        some = slice(begin, begin + size)
        a, b = by_gather_and_mask(model, chosen[some], rejected[some], pad_id)
        first.append(a)
        second.append(b)
    for name, part in model.named_modules():
        part.training = name in trained
    return torch.cat(first), torch.cat(second)


@alternative("reference_logps")
def filled_in_place(model, chosen, rejected, pad_id, size):
    """inference_mode, empty tensors filled group by group, try and finally."""
    first, second = torch.zeros(len(chosen)), torch.zeros(len(chosen))
    before = [part.training for part in model.modules()]
    try:
        model.train(False)
        with torch.inference_mode():
            for begin in range(0, len(chosen), size):
                end = min(begin + size, len(chosen))
                found = by_gather_and_mask(model, chosen[begin:end], rejected[begin:end], pad_id)
                first[begin:end], second[begin:end] = found[0].clone(), found[1].clone()
    finally:
        for part, training in zip(model.modules(), before, strict=True):
            part.training = training
    return first, second


@alternative("reference_logps")
def on_a_copy(model, chosen, rejected, pad_id, size):
    """Each part is switched by itself; numbers are collected in lists."""
    switched = [part for part in model.modules() if part.training]
    for part in switched:
        part.training = False
    found = ([], [])
    with torch.set_grad_enabled(False):
        pairs = list(zip(chosen, rejected, strict=True))
        while pairs:
            some, pairs = pairs[:size], pairs[size:]
            logps = by_gather_and_mask(model, [a for a, _ in some], [b for _, b in some], pad_id)
            for into, values in zip(found, logps, strict=True):
                into.extend(values.tolist())
    for part in switched:
        part.training = True
    return torch.tensor(found[0]), torch.tensor(found[1])


# --- Exercise 8: the training loop


def _seen(m):
    return (torch.sign(m).mean().item() + 1) / 2


@alternative("train_dpo")
def clipped_by_hand(
    logps_of, ref_chosen, ref_rejected, batches, optimizer, lr_at, *, beta, label_smoothing=0.0, max_norm=1.0, after_step=None
):  # fmt: skip
    """torch.autograd.grad, the norm by hand."""
    groups, history = optimizer.param_groups, []
    weights = [p for group in groups for p in group["params"]]
    for step, batch in enumerate(batches):
        chosen, rejected = logps_of(batch)
        m = beta * (chosen - rejected - (ref_chosen - ref_rejected)[batch])
        loss = (F.softplus(-m) + label_smoothing * m).mean()
        gradients = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for p, g in zip(weights, gradients, strict=True):
            p.grad = g * min(1.0, max_norm / (norm + 1e-6))
        for group in groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        history += [{"loss": loss.item(), "margin": m.mean().item(), "accuracy": _seen(m.detach())}]
        if after_step:
            after_step(step)
    return history


@alternative("train_dpo")
def kept_in_columns(
    logps_of, ref_chosen, ref_rejected, batches, optimizer, lr_at, *, beta, label_smoothing=0.0, max_norm=1.0, after_step=None
):  # fmt: skip
    """index_select, columns of numbers that become rows at the end, in double precision."""
    losses, margins, accuracies = [], [], []
    for batch in batches:
        for group in optimizer.param_groups:
            group.update(lr=lr_at(len(losses)))
        now = torch.stack([*logps_of(batch)]).double()
        ref = torch.stack([ref_chosen.index_select(0, batch), ref_rejected.index_select(0, batch)]).double()
        rewards = beta * (now - ref)
        logps = rewards.log_softmax(0)
        loss = -((1 - label_smoothing) * logps[0] + label_smoothing * logps[1]).mean()
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], max_norm)
        m = (rewards[0] - rewards[1]).detach()
        optimizer.step()
        losses.append(loss.item())
        margins.append(m.mean().item())
        accuracies.append(_seen(m))
        if after_step is not None:
            after_step(len(losses) - 1)
    return [dict(loss=a, margin=b, accuracy=c) for a, b, c in zip(losses, margins, accuracies, strict=True)]


@alternative("train_dpo")
def by_an_iterator(
    logps_of, ref_chosen, ref_rejected, batches, optimizer, lr_at, *, beta, label_smoothing=0.0, max_norm=1.0, after_step=None
):  # fmt: skip
    """while and next; numpy counts what is in order."""
    iterator, history = iter(batches), []
    while (batch := next(iterator, None)) is not None:
        step = len(history)
        optimizer.zero_grad()
        pair = zip(logps_of(batch), (ref_chosen, ref_rejected), strict=True)
        yes, no = (beta * (logps - ref[batch]) for logps, ref in pair)
        loss = F.binary_cross_entropy_with_logits(yes - no, torch.full_like(yes, 1.0 - label_smoothing))
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        torch.nn.utils.clip_grad_norm_(itertools.chain(*(g["params"] for g in optimizer.param_groups)), max_norm)
        optimizer.step()
        m = (yes - no).detach().numpy()
        accuracy = float(np.mean(np.where(m > 0, 1.0, np.where(m == 0, 0.5, 0.0))))
        history.append({"accuracy": accuracy, "loss": loss.item(), "margin": float(m.mean())})
        if after_step is not None:
            after_step(step)
    return history


# --- Exercise 9: few pairs


def _rewards_by_newton(ref_logps, pairs, spread_of_manners=1.0, spread_of_own=1.0):
    """The most probable rewards, (prompts, answers), by Adam on both parts."""
    x, yes, no = pairs.T
    manner, own = torch.zeros(ref_logps.shape[1], requires_grad=True), torch.zeros_like(ref_logps, requires_grad=True)
    optimizer = torch.optim.Adam([manner, own], lr=0.1)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 250)
        optimizer.zero_grad()
        rewards = manner + own
        loss = F.softplus(rewards[x, no] - rewards[x, yes]).sum()
        (loss + manner.square().sum() / (2 * spread_of_manners) + own.square().sum() / (2 * spread_of_own)).backward()
        optimizer.step()
    return (manner + own).detach()


@alternative("policy_from_pairs")
def by_adam(ref_logps, pairs, beta):
    """The same most probable rewards, by Adam."""
    return ref_logps + _rewards_by_newton(ref_logps, pairs) / beta


@alternative("policy_from_pairs")
def a_little_bolder(ref_logps, pairs, beta):
    """Wider normals than the true ones, as somebody would who did not read about them."""
    return ref_logps + _rewards_by_newton(ref_logps, pairs, 2.0, 1.5) / beta


@alternative("policy_from_pairs")
def manners_first_then_the_rest(ref_logps, pairs, beta):
    """Manners from all pairs, then each prompt's own part with the manners held: two problems, one after the other."""
    x, yes, no = pairs.T
    manner = torch.zeros(ref_logps.shape[1])
    for _ in range(60):  # gradient steps, scaled by how much each manner was compared
        p = torch.sigmoid(manner[no] - manner[yes])
        gradient = torch.zeros_like(manner).index_add(0, yes, p).index_add(0, no, -p) - manner / 2
        games = torch.zeros_like(manner).index_add(0, yes, torch.ones(len(x))).index_add(0, no, torch.ones(len(x)))
        manner = manner + 2 * gradient / games
    own = torch.zeros_like(ref_logps, requires_grad=True)
    optimizer = torch.optim.LBFGS([own], max_iter=60, line_search_fn="strong_wolfe")

    def surprise():
        optimizer.zero_grad()
        rewards = 1.1 * manner + own
        loss = -F.logsigmoid(rewards[x, yes] - rewards[x, no]).sum() + own.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(surprise)
    return (ref_logps + (1.1 * manner + own.detach()) / beta).double()
