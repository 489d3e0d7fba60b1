"""Right answers to chapter 11 in other shapes, as people who think differently write them."""

import itertools
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1


@alternative("win_rate_interval")
def loops_over_prompts_and_answers(ours, theirs, resamples, level):
    """Loops in plain Python."""
    shares = []
    for mine, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        points = [1.0 if a > b else 0.5 if a == b else 0.0 for a in mine for b in other]
        shares.append(sum(points) / len(points))
    rates = sorted(sum(shares[i] for i in row) / len(row) for row in resamples.tolist())

    def quantile(q):
        at = q * (len(rates) - 1)
        low = int(at)
        high = min(low + 1, len(rates) - 1)
        return rates[low] + (at - low) * (rates[high] - rates[low])

    return sum(shares) / len(shares), quantile((1 - level) / 2), quantile(1 - (1 - level) / 2)


@alternative("win_rate_interval")
def signs_and_numpy(ours, theirs, resamples, level):
    """The sign of each difference, in numpy; a list comes back."""
    signs = np.sign(ours.numpy()[:, :, None].astype(np.float64) - theirs.numpy()[:, None, :])
    shares = (signs.mean(axis=(1, 2)) + 1) / 2
    rates = shares[resamples.numpy()].mean(axis=1)
    return [float(shares.mean()), *np.quantile(rates, [0.5 - level / 2, 0.5 + level / 2]).tolist()]


@alternative("win_rate_interval")
def tensors_come_back(ours, theirs, resamples, level):
    """float32 throughout, and tensors of one number come back."""
    ahead = ours.repeat_interleave(theirs.shape[1], 1) - theirs.repeat(1, ours.shape[1])
    shares = torch.heaviside(ahead, torch.tensor(0.5)).mean(1)
    rates = torch.stack([shares.index_select(0, row).mean() for row in resamples])
    return shares.mean(), rates.quantile((1 - level) / 2), rates.quantile((1 + level) / 2)


# --- Exercise 2


@alternative("kl_with_error")
def answer_by_answer(logits, ref_logits, tokens, mask):
    """One answer after the other, cut to its own length, in float64."""
    drawn, exact = [], []
    for row, length in enumerate(mask.sum(1).tolist()):
        p = logits[row, :length].double().log_softmax(-1)
        q = ref_logits[row, :length].double().log_softmax(-1)
        place = torch.arange(length), tokens[row, :length]
        drawn.append((p[place] - q[place]).sum())
        exact.append(F.kl_div(q, p, log_target=True, reduction="sum"))
    found = {}
    for name, values in (("drawn", torch.stack(drawn)), ("by step", torch.stack(exact))):
        found[name] = values.mean().item(), (values.var() / len(values)).sqrt().item()
    return found


@alternative("kl_with_error")
def distributions_of_torch(logits, ref_logits, tokens, mask):
    """torch.distributions does both."""
    policy, reference = (torch.distributions.Categorical(logits=x) for x in (logits, ref_logits))
    keep = mask.bool()
    steps = {
        "by step": torch.distributions.kl_divergence(policy, reference),
        "drawn": policy.log_prob(tokens) - reference.log_prob(tokens),
    }
    sums = {name: torch.where(keep, x, torch.zeros_like(x)).sum(-1).numpy() for name, x in steps.items()}
    return {name: (x.mean(), x.std(ddof=1) / np.sqrt(x.size)) for name, x in sums.items()}


@alternative("kl_with_error")
def cross_entropies(logits, ref_logits, tokens, mask):
    """Cross entropies: with the drawn tokens, and with the policy's probabilities, minus the entropy."""
    p, m = logits.softmax(-1), mask.to(logits)
    rows, places, vocab = logits.shape

    def surprise(x, target):
        return F.cross_entropy(x.reshape(-1, vocab), target, reduction="none").view(rows, places)

    drawn = surprise(ref_logits, tokens.flatten()) - surprise(logits, tokens.flatten())
    exact = surprise(ref_logits, p.reshape(-1, vocab)) - surprise(logits, p.reshape(-1, vocab))
    pick = mask == 1
    sums = [torch.where(pick, x, 0.0).sum(1) for x in (drawn, exact)]
    return dict(zip(("drawn", "by step"), ((s.mean(), s.std() * len(m) ** -0.5) for s in sums), strict=True))


# --- Exercise 3


@alternative("forgetting")
def document_by_document_losses(base, model, input_ids, attention_mask, size):
    """Tokens one by one from the log-probabilities, both models on one batch before the next."""
    sums = {"before": [], "after": []}
    with torch.inference_mode():
        for i in range(-(-len(input_ids) // size)):
            rows = slice(i * size, (i + 1) * size)
            given = {"input_ids": input_ids[rows], "attention_mask": attention_mask[rows]}
            for name, reader in (("before", base), ("after", model)):
                logps = reader(**given).logits.double().log_softmax(-1)
                for row, (ids, length) in enumerate(zip(given["input_ids"], given["attention_mask"].sum(1).tolist(), strict=True)):
                    sums[name].append(-sum(logps[row, t - 1, ids[t]].item() for t in range(1, length)))
    tokens = int(attention_mask[:, 1:].sum())
    worse = sum(b > a for a, b in zip(sums["before"], sums["after"], strict=True)) / len(input_ids)
    return {name: sum(values) / tokens for name, values in sums.items()} | {"worse": worse}


@alternative("forgetting")
def ignored_labels(base, model, input_ids, attention_mask, size):
    """Labels of -100, sums of cross entropies; tensors come back."""
    labels = torch.where(attention_mask.bool(), input_ids, -100)[:, 1:]
    totals = []
    for reader in (base, model):
        parts = []
        for ids, mask, label in zip(input_ids.split(size), attention_mask.split(size), labels.split(size), strict=True):
            with torch.no_grad():
                out = reader(attention_mask=mask, input_ids=ids).logits
            losses = F.cross_entropy(out[:, :-1].flatten(0, 1), label.flatten(), ignore_index=-100, reduction="none")
            parts.append(losses.view(len(ids), -1).sum(1))
        totals.append(torch.cat(parts))
    count = (labels != -100).sum()
    return {"before": totals[0].sum() / count, "after": totals[1].sum() / count, "worse": (totals[0] < totals[1]).double().mean()}


@alternative("forgetting")
def means_put_together_again(base, model, input_ids, attention_mask, size):
    """The mean of each batch, weighed by its tokens."""
    found, own = {}, []
    for name, reader in (("before", base), ("after", model)):
        total = count = 0
        each = []
        for begin in range(0, len(input_ids), size):
            ids, mask = (x[begin : begin + size] for x in (input_ids, attention_mask))
            keep = mask[:, 1:].bool()
            with torch.no_grad():
                p = reader(input_ids=ids, attention_mask=mask).logits[:, :-1].softmax(-1)
            surprise = -p.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1).log()
            total += surprise[keep].mean().item() * int(keep.sum())
            count += int(keep.sum())
            each += [row[k].sum().item() for row, k in zip(surprise, keep, strict=True)]
        found[name] = total / count
        own.append(each)
    return found | {"worse": float(np.mean(np.asarray(own[1]) > np.asarray(own[0])))}


# --- Exercise 4


@alternative("collect_preferences")
def an_iterator_of_texts(prompts, heldout, k, draw, prefers):
    """Texts are taken from an iterator, k at a time."""
    wanted = list(itertools.filterfalse(set(heldout).__contains__, prompts))
    texts = iter(draw(list(itertools.chain.from_iterable(itertools.repeat(p, k) for p in wanted))))
    pairs = []
    for prompt in wanted:
        said = list(dict.fromkeys(itertools.islice(texts, k)))
        if len(said) > 1:
            first, second = said[:2]
            order = (first, second) if prefers(prompt, first, second) else (second, first)
            pairs.append(dict(zip(("prompt", "chosen", "rejected"), (prompt, *order), strict=True)))
    return pairs


@alternative("collect_preferences")
def pairs_first_and_labels_after(prompts, heldout, k, draw, prefers):
    """All pairs first; the annotator afterwards."""
    asked = [prompt for prompt in prompts if not any(prompt == other for other in heldout)]
    many = [prompt for prompt in asked for _ in [None] * k]
    texts = draw(many)
    found = []
    for i in range(0, len(many), k):
        for j in range(1, k):
            if texts[i + j] != texts[i]:
                found.append((many[i], texts[i], texts[i + j]))
                break
    labels = [prefers(*one) for one in found]
    return [
        {"prompt": prompt, "chosen": a, "rejected": b} if label else {"prompt": prompt, "chosen": b, "rejected": a}
        for (prompt, a, b), label in zip(found, labels, strict=True)
    ]


@alternative("collect_preferences")
def arrays_of_texts(prompts, heldout, k, draw, prefers):
    """Texts as a table, a row for each prompt; nothing is asked where there is nothing to ask."""
    asked = [p for p in prompts if p not in heldout]
    if not asked:
        return []
    table = np.asarray(draw([p for p in asked for _ in range(k)]), dtype=object).reshape(len(asked), k)
    pairs = []
    for prompt, row in zip(asked, table, strict=True):
        others = np.flatnonzero(row != row[0])
        if others.size:
            a, b = row[0], row[others[0]]
            wins = bool(prefers(prompt, a, b))
            pairs.append({"rejected": (a, b)[wins], "chosen": (b, a)[wins], "prompt": prompt})
    return pairs


# --- Exercise 5


@alternative("train_in_rounds")
def flat_list_of_steps(policy, optimizer, collect, logps_of, ref_logps_of, loss_of, *, rounds, epochs, size, max_norm=1.0):
    """The steps of a round as a list of places; gradients are set to None."""
    result = []
    for number in range(rounds):
        pairs = collect(policy)
        result.append([])
        if not pairs:
            continue
        with torch.no_grad():
            yes, no = ref_logps_of(pairs)
        starts = [*range(0, len(pairs), size)] * epochs
        for start in starts:
            places = torch.arange(start, min(start + size, len(pairs)))
            chosen, rejected = logps_of([pairs[i] for i in places.tolist()])
            loss = loss_of(chosen, rejected, yes[places], no[places])
            for group in optimizer.param_groups:
                for p in group["params"]:
                    p.grad = None
            loss.backward()
            torch.nn.utils.clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), max_norm)
            optimizer.step()
            result[number].append(float(loss))
    return result


@alternative("train_in_rounds")
def gradients_by_autograd(policy, optimizer, collect, logps_of, ref_logps_of, loss_of, *, rounds, epochs, size, max_norm=1.0):
    """torch.autograd.grad, and the norm by hand; the reference's numbers are detached and cut beforehand."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    def one_round():
        pairs = collect(policy)
        with torch.inference_mode():
            numbers = [x.tolist() for x in ref_logps_of(pairs)]
        losses = []
        for _ in range(epochs):
            for i in range(0, len(pairs), size):
                ref = (torch.tensor(x[i : i + size]) for x in numbers)
                loss = loss_of(*logps_of(pairs[i : i + size]), *ref)
                gradients = torch.autograd.grad(loss, trained)
                norm = torch.cat([g.flatten() for g in gradients]).norm()
                shrink = min(1.0, max_norm / (norm.item() + 1e-6))
                for weight, gradient in zip(trained, gradients, strict=True):
                    weight.grad = gradient * shrink
                optimizer.step()
                losses += [loss.item()]
        return losses

    return [one_round() for _ in range(rounds)]


@alternative("train_in_rounds")
def cleared_before_and_after(policy, optimizer, collect, logps_of, ref_logps_of, loss_of, *, rounds, epochs, size, max_norm=1.0):
    """Gradients are cleared before the training and after each step; tuples come back."""
    optimizer.zero_grad()
    history = ()
    while len(history) < rounds:
        pairs, losses = collect(policy), []
        with torch.no_grad():
            ref = tuple(x.clone() for x in ref_logps_of(pairs))
        for start in list(range(0, len(pairs), size)) * epochs:
            stop = start + size
            loss = loss_of(*logps_of(pairs[start:stop]), *(x[start:stop] for x in ref))
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], max_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        history += (tuple(losses),)
    return history


# --- Exercise 6


@alternative("run_pipeline")
def spent_so_far(stages, policy, budget):
    """What has been spent so far is added up from the list."""
    ledger = []
    for stage in stages:
        if sum(tokens for _, tokens in ledger) + stage["most"] > budget:
            break
        policy, tokens = stage["run"](policy)
        if not tokens <= stage["most"]:
            raise ValueError("too many tokens: " + stage["name"])
        ledger.append([stage["name"], tokens])
    return [policy, ledger]


@alternative("run_pipeline")
def by_recursion(stages, policy, budget):
    """The first stage, and then a pipeline of the others with what is left."""
    if not stages or stages[0]["most"] > budget:
        return policy, []
    first, *others = stages
    policy, tokens = first["run"](policy)
    if first["most"] < tokens:
        raise ValueError(f"{first['name']}: {tokens} > {first['most']}")
    policy, spent = by_recursion(others, policy, budget - tokens)
    return policy, [(first["name"], tokens), *spent]


@alternative("run_pipeline")
def a_queue(stages, policy, budget):
    """A queue of stages; an error of its own kind, which is a ValueError too."""

    class Overspent(ValueError):
        pass

    queue, spent, left = list(stages), [], int(budget)
    while queue and queue[0]["most"] <= left:
        stage = queue.pop(0)
        policy, tokens = stage["run"](policy)
        if tokens > stage["most"]:
            raise Overspent(stage["name"])
        left = left - tokens
        spent += [(stage["name"], tokens)]
    return policy, spent


# --- Exercise 7


@alternative("best_under_budget")
def sorted_rows(rows, max_kl, max_tokens):
    """Rows sorted by what counts."""

    def middle(values):
        values, n = sorted(values), len(values)
        return (values[(n - 1) // 2] + values[n // 2]) / 2

    kept = [r for r in rows if all(kl <= max_kl for kl in r["kl"]) and not r["tokens"] > max_tokens]
    kept.sort(key=lambda r: (-middle(r["utility"]), r["tokens"]))
    return kept[0]["name"] if kept else ""


@alternative("best_under_budget")
def numpy_medians(rows, max_kl, max_tokens):
    """numpy's median, and two passes."""
    kept = [r for r in rows if np.max(r["kl"]) <= max_kl if r["tokens"] <= max_tokens]
    medians = [float(np.median(r["utility"])) for r in kept]
    best = [r for r, m in zip(kept, medians, strict=True) if m == max(medians)]
    return min(best, key=lambda r: r["tokens"])["name"] if best else ""


@alternative("best_under_budget")
def torch_quantiles(rows, max_kl, max_tokens):
    """torch.quantile at one half, which takes the mean of the two in the middle."""
    best, name = (-float("inf"), -float("inf")), ""
    for row in rows:
        if torch.tensor(row["kl"], dtype=torch.float64).max() <= max_kl and row["tokens"] <= max_tokens:
            key = torch.quantile(torch.tensor(row["utility"], dtype=torch.float64), 0.5).item(), -row["tokens"]
            best, name = (key, row["name"]) if key > best else (best, name)
    return name


# --- Exercise 8


def _as_far_as_allowed(utility, features, reference, limit):
    """How far the utility, (answers, d), may be added to the reference's weights."""
    ref = (features @ reference.T).log_softmax(-1)
    low, high = 0.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        logps = (features @ (reference + middle * utility).T).log_softmax(-1)
        if (logps.exp() * (logps - ref)).sum(-1).mean() <= limit:
            low = middle
        else:
            high = middle
    return low


def _fit(features, seen, a, b, penalty, steps):
    x, yes, no = (torch.cat(parts) for parts in zip(*seen, strict=True))
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.Adam([a, b], lr=0.05)
    for _ in range(steps):
        utility = features[x] @ (b @ a).T
        margin = utility.gather(1, yes[:, None]) - utility.gather(1, no[:, None])
        optimizer.zero_grad()
        (-F.logsigmoid(margin).sum() + penalty * (a.square().sum() + b.square().sum())).backward()
        optimizer.step()
    return a.detach(), b.detach()


def _bytes_by_hand(a, b):
    """The format written by hand: eight bytes, a header, the numbers."""
    blobs = {"lora_B": b.numpy().astype("<f4"), "lora_A": a.numpy().astype("<f4")}
    header, at = {"__metadata__": {"made by": "hand"}}, 0
    for name, blob in blobs.items():
        header[name] = {"dtype": "F32", "shape": list(blob.shape), "data_offsets": [at, at + blob.nbytes]}
        at += blob.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blob.tobytes() for blob in blobs.values())


@alternative("best_entry")
def adam_and_a_file_by_hand(features, reference, compare, comparisons, max_kl, generator):
    """Three rounds, Adam, and a file that is written by hand."""
    answers, d = reference.shape
    a, b = 0.3 * torch.randn(3, d, generator=generator), 0.3 * torch.randn(answers, 3, generator=generator)
    scale, seen = 0.0, []
    for _ in range(3):
        x = torch.randperm(len(features), generator=generator)[: comparisons // 3]
        logits = features[x] @ (reference + scale * b @ a).T
        noise = -torch.log(-torch.log(torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)))
        first, second = (logits + noise).topk(2).indices.T
        better = compare(x, first, second)
        seen.append((x, torch.where(better, first, second), torch.where(better, second, first)))
        a, b = _fit(features, seen, a, b, 2.0, 150)
        scale = _as_far_as_allowed(b @ a, features, reference, 0.98 * max_kl)
    return _bytes_by_hand(a, scale * b)


@alternative("best_entry")
def many_small_rounds(features, reference, compare, comparisons, max_kl, generator):
    """Eight rounds, and half of the pairs from a flatter policy; a bytearray comes back."""
    from safetensors.torch import save

    answers, d = reference.shape
    a, b = 0.3 * torch.randn(3, d, generator=generator), 0.3 * torch.randn(answers, 3, generator=generator)
    scale, seen = 0.0, []
    for turn in range(8):
        x = torch.randint(len(features), (comparisons // 8,), generator=generator)
        logits = features[x] @ (reference + scale * b @ a).T
        first, second = torch.multinomial((logits * (1.0 if turn % 2 else 0.6)).softmax(-1), 2, generator=generator).T
        better = compare(x, first, second)
        seen.append((x, torch.where(better, first, second), torch.where(better, second, first)))
        a, b = _fit(features, seen, a, b, 2.0, 60)
        scale = _as_far_as_allowed(b @ a, features, reference, 0.97 * max_kl)
    return bytearray(save({"lora_B": (scale * b).contiguous(), "lora_A": a.contiguous()}))
