"""Correct answers to chapter 01 in other shapes, which every check must accept."""

import itertools
import math
import random
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1: labels, and what padding is not


@alternative("make_labels")
def chosen_with_where(input_ids, attention_mask):
    """torch.where with a boolean mask."""
    return torch.where(attention_mask.bool(), input_ids, -100)


@alternative("make_labels")
def written_into_a_copy(input_ids, attention_mask):
    """A clone, then an assignment by index."""
    labels = input_ids.clone()
    labels[attention_mask == 0] = -100
    return labels


@alternative("make_labels")
def by_arithmetic(input_ids, attention_mask):
    """A weighted sum of the two."""
    return input_ids * attention_mask - 100 * (1 - attention_mask)


@alternative("make_labels")
def token_by_token(input_ids, attention_mask):
    """Python lists, made into a tensor of 32-bit integers."""
    rows = zip(input_ids.tolist(), attention_mask.tolist())
    labels = [[token if real else -100 for token, real in zip(*row)] for row in rows]
    return torch.tensor(labels, dtype=torch.int32)


@alternative("make_labels")
def numpy_where(input_ids, attention_mask):
    """NumPy's where, and back."""
    return torch.from_numpy(np.where(attention_mask.numpy() != 0, input_ids.numpy(), -100))


@alternative("make_labels")
def filled_first(input_ids, attention_mask):
    """All -100, and the real tokens written into it."""
    labels = torch.full_like(input_ids, -100)
    real = attention_mask.bool()
    labels[real] = input_ids[real]
    return labels


# --- Exercise 2: the causal language-modelling loss


@alternative("causal_lm_loss")
def labels_moved_instead(logits, labels):
    """All logits, and labels moved to the left with -100 in the gap, as transformers does it."""
    moved = F.pad(labels[:, 1:], (0, 1), value=-100)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), moved.reshape(-1))


@alternative("causal_lm_loss")
def vocabulary_as_second_axis(logits, labels):
    """Cross-entropy's form for sequences, (batch, vocab, seq), with a mean of our own."""
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    return losses.sum() / (labels[:, 1:] != -100).sum()


@alternative("causal_lm_loss")
def gathered_log_probabilities(logits, labels):
    """log_softmax, gather, and a mask of weights."""
    targets = labels[:, 1:]
    weights = (targets != -100).to(logits.dtype)
    log_probs = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(log_probs * weights).sum() / weights.sum()


@alternative("causal_lm_loss")
def logsumexp_in_double(logits, labels):
    """logsumexp minus the target's logit, in float64."""
    predictions, targets = logits[:, :-1].double(), labels[:, 1:]
    kept = targets != -100
    chosen = predictions[kept].gather(-1, targets[kept][:, None])[:, 0]
    return (predictions[kept].logsumexp(-1) - chosen).mean()


@alternative("causal_lm_loss")
def position_by_position(logits, labels):
    """Two loops; returns a tensor with an axis of length one."""
    losses = []
    for row_logits, row_labels in zip(logits, labels):
        for t in range(len(row_labels) - 1):
            if row_labels[t + 1] != -100:
                losses.append(-row_logits[t].log_softmax(0)[row_labels[t + 1]])
    return torch.stack(losses).mean().reshape(1)


@alternative("causal_lm_loss")
def product_with_one_hot_targets(logits, labels):
    """einsum of log-probabilities and one-hot targets."""
    kept = labels[:, 1:] != -100
    targets = F.one_hot(labels[:, 1:][kept], logits.shape[-1]).to(logits.dtype)
    return -torch.einsum("nv,nv->", logits[:, :-1][kept].log_softmax(-1), targets) / kept.sum()


@alternative("causal_lm_loss")
def negative_log_likelihood(logits, labels):
    """log_softmax of everything and nll_loss, shifted with narrow."""
    length = labels.shape[1] - 1
    log_probs = F.log_softmax(logits, dim=-1).narrow(1, 0, length)
    return F.nll_loss(log_probs.permute(0, 2, 1), labels.narrow(1, 1, length), ignore_index=-100)


# --- Exercise 3: counting n-grams


@alternative("count_ngrams")
def plain_dicts(documents, n):
    """Ordinary dicts instead of a defaultdict of Counters."""
    counts = {}
    for document in documents:
        for i, token in enumerate(document[1:], start=1):
            followers = counts.setdefault(tuple(document[max(0, i - (n - 1)) : i]), {})
            followers[token] = followers.get(token, 0) + 1
    return counts


@alternative("count_ngrams")
def ngrams_first(documents, n):
    """Whole n-grams counted first, then sorted into contexts."""
    ngrams = Counter(
        tuple(document[max(0, i - n + 1) : i + 1]) for document in documents for i in range(1, len(document))
    )
    counts = {}
    for (*context, token), count in ngrams.items():
        counts.setdefault(tuple(context), Counter())[token] = count
    return counts


@alternative("count_ngrams")
def growing_context(documents, n):
    """A context that grows and forgets its oldest token; a Counter of Counters, NumPy integers as ids."""
    counts = {}
    for document in documents:
        context = tuple(np.asarray(document[:1])) if n > 1 else ()
        for token in np.asarray(document[1:]):
            counts.setdefault(context, Counter()).update([token])
            context = (*context, token)[-(n - 1) :] if n > 1 else ()
    return counts


@alternative("count_ngrams")
def every_context_listed(documents, n):
    """All contexts present, with zero counts for what never followed."""
    vocabulary = sorted(set(itertools.chain(*documents)))
    counts = {}
    for document in documents:
        for i in range(1, len(document)):
            context = tuple(document[max(0, i - n + 1) : i])
            counts.setdefault(context, Counter({token: 0 for token in vocabulary}))[document[i]] += 1
    return counts


@alternative("count_ngrams")
def context_by_context(documents, n):
    """All lengths of context in turn; a defaultdict of defaultdicts."""
    counts = defaultdict(lambda: defaultdict(int))
    for size in range(n):
        for document in documents:
            last = size + 1 if size < n - 1 else len(document)
            for end in range(max(1, size), min(last, len(document))):
                if end - size == 0 or size == n - 1:
                    counts[tuple(document[end - size : end])][document[end]] += 1
    return counts


# --- Exercise 4: the loss of an n-gram model


@alternative("ngram_loss")
def sum_over_distinct_ngrams(counts, documents, n, vocab_size, alpha):
    """Each different n-gram once, weighted by how often it occurs; logarithms subtracted."""
    ngrams = Counter(tuple(d[max(0, i - n + 1) : i + 1]) for d in documents for i in range(1, len(d)))
    loss = 0.0
    for (*context, token), times in ngrams.items():
        followers = counts.get(tuple(context), {})
        above = followers.get(token, 0) + alpha
        if above == 0:
            return float("inf")
        loss += times * (math.log(sum(followers.values()) + alpha * vocab_size) - math.log(above))
    return loss / ngrams.total()


@alternative("ngram_loss")
def with_numpy(counts, documents, n, vocab_size, alpha):
    """Probabilities collected in an array; NumPy's log(0) is minus infinity."""
    probs = []
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]))
            if seen is None:
                probs.append(1 / vocab_size if alpha > 0 else 0.0)
            else:
                probs.append((seen[document[i]] + alpha) / (seen.total() + alpha * vocab_size))
    with np.errstate(divide="ignore"):
        return -np.log(np.array(probs)).mean()


@alternative("ngram_loss")
def whole_rows_in_torch(counts, documents, n, vocab_size, alpha):
    """A whole distribution for every context in float32, then cross-entropy; returns a tensor."""
    losses = []
    for document in documents:
        for i in range(1, len(document)):
            row = torch.full((vocab_size,), float(alpha))
            for token, count in counts.get(tuple(document[max(0, i - n + 1) : i]), {}).items():
                row[token] += count
            p = row[document[i]] / row.sum() if row.sum() > 0 else torch.tensor(0.0)
            losses.append(-p.log())
    return torch.stack(losses).mean()


@alternative("ngram_loss")
def stops_at_the_impossible(counts, documents, n, vocab_size, alpha):
    """try and except around the logarithm and the look-up."""
    total, predicted = 0.0, 0
    for document in documents:
        for i in range(1, len(document)):
            context, token = tuple(document[max(0, i - n + 1) : i]), document[i]
            try:
                seen = counts[context]
            except KeyError:
                seen = {}
            try:
                total -= math.log((seen.get(token, 0) + alpha) / (sum(seen.values()) + alpha * vocab_size))
            except (ValueError, ZeroDivisionError):
                return math.inf
            predicted += 1
    return total / predicted


@alternative("ngram_loss")
def document_by_document(counts, documents, n, vocab_size, alpha):
    """The sum of each document, in exact fractions as far as the logarithm, added up with fsum."""
    alpha = Fraction(alpha)

    def cost(context, token):
        seen = counts[context] if context in counts else Counter()
        above = seen[token] + alpha
        if not above:
            return float("inf")
        return math.log(sum(seen.values()) + alpha * vocab_size) - math.log(above)

    sums = [math.fsum(cost(tuple(d[:i][max(0, i - n + 1) :]), d[i]) for i in range(1, len(d))) for d in documents]
    return math.fsum(sums) / (sum(map(len, documents)) - len(documents))


# --- Exercise 6: perplexity and bits per byte


@alternative("perplexity")
def in_plain_python(token_losses):
    """math.exp of a Python mean."""
    losses = token_losses.tolist()
    return math.exp(sum(losses) / len(losses))


@alternative("perplexity")
def by_way_of_bits(token_losses):
    """Two to the mean loss in bits; returns a tensor."""
    return 2 ** (token_losses / math.log(2)).mean()


@alternative("perplexity")
def inverse_geometric_mean(token_losses):
    """The n-th root of one over the product of the probabilities, in float64."""
    probs = (-token_losses.double()).exp()
    return probs.prod() ** (-1 / len(probs))


@alternative("perplexity")
def numpy_scalar(token_losses):
    """NumPy throughout."""
    return np.exp(np.mean(token_losses.numpy()))


@alternative("perplexity")
def mean_as_a_product(token_losses):
    """The mean as a product with a vector of equal weights; keeps an axis of length one."""
    weights = torch.full((len(token_losses), 1), 1 / len(token_losses))
    return (token_losses[None] @ weights)[0].exp()


@alternative("bits_per_byte")
def bits_of_each_token(token_losses, text):
    """log2 of each token's probability, in float64."""
    return -(-token_losses.double()).exp().log2().sum() / len(bytes(text, "utf-8"))


@alternative("bits_per_byte")
def mean_times_length(token_losses, text):
    """The mean loss, times tokens per byte, times log2(e)."""
    return float(token_losses.mean()) * math.log2(math.e) * len(token_losses) / len(text.encode())


@alternative("bits_per_byte")
def bytes_counted_by_character(token_losses, text):
    """The bytes of each character added up; returns a tensor."""
    return token_losses.sum() / sum(len(character.encode()) for character in text) / np.log(2)


@alternative("bits_per_byte")
def over_a_bytearray(token_losses, text):
    """Nats a byte first, then bits; NumPy."""
    return np.sum(token_losses.numpy(), dtype=np.float64) / len(bytearray(text, encoding="utf8")) / np.log(2)


# --- Exercise 7: choosing the next token


@alternative("next_token_probs")
def with_warpers_as_in_transformers(logits, temperature=1.0, top_k=None, top_p=None):
    """Filters that set logits to -inf one after another; top-p from the least likely upwards."""
    if temperature == 0:
        return (logits == logits.max(-1, keepdim=True).values).float()
    logits = logits / temperature
    if top_k is not None:
        top_k = min(top_k, logits.size(-1))
        logits = logits.masked_fill(logits < torch.topk(logits, top_k)[0][..., -1, None], -float("inf"))
    if top_p is not None:
        ascending, order = torch.sort(logits, descending=False)
        remove = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
        remove[..., -1:] = False
        logits = logits.masked_fill(remove.scatter(1, order, remove), -float("inf"))
    return logits.softmax(-1)


@alternative("next_token_probs")
def row_by_row(logits, temperature=1.0, top_k=None, top_p=None):
    """Python numbers and sorted lists."""
    rows = []
    for row in logits.tolist():
        order = sorted(range(len(row)), key=lambda i: -row[i])
        if temperature == 0:
            kept = {order[0]: 1.0}
        else:
            kept = {i: math.exp((row[i] - row[order[0]]) / temperature) for i in order[:top_k]}
            total, held = sum(kept.values()), 0.0
            for i in list(kept):
                if top_p is not None and held >= top_p:
                    del kept[i]
                else:
                    held += kept[i] / total
        total = sum(kept.values())
        rows.append([kept.get(i, 0.0) / total for i in range(len(row))])
    return torch.tensor(rows)


@alternative("next_token_probs")
def numpy_in_double(logits, temperature=1.0, top_k=None, top_p=None):
    """NumPy in float64, results put back through the inverse of the sorting permutation."""
    x = logits.numpy().astype(np.float64)
    order = np.argsort(-x, axis=-1)
    x = np.take_along_axis(x, order, -1)
    if temperature == 0:
        probs = np.eye(x.shape[-1])[np.zeros(len(x), dtype=int)]
    else:
        probs = np.exp((x - x[:, :1]) / temperature)
        probs[:, top_k:] = 0 if top_k is not None else probs[:, top_k:]
        probs /= probs.sum(-1, keepdims=True)
        if top_p is not None:
            before = np.concatenate([np.zeros((len(x), 1)), probs.cumsum(-1)[:, :-1]], -1)
            probs[before >= top_p] = 0
    probs = np.take_along_axis(probs, np.argsort(order, axis=-1), -1)
    return torch.from_numpy(probs / probs.sum(-1, keepdims=True))


@alternative("next_token_probs")
def tiny_temperature_for_zero(logits, temperature=1.0, top_k=None, top_p=None):
    """Greedy as a very low temperature; the filters count how many tokens are more likely."""
    probs = (logits / max(temperature, 1e-6)).softmax(-1)
    if top_k is not None:
        rank = (logits[:, None, :] > logits[:, :, None]).sum(-1)  # (batch, vocab)
        probs = torch.where(rank < top_k, probs, 0)
        probs = probs / probs.sum(-1, keepdim=True)
    if top_p is not None:
        more_likely = (logits[:, None, :] > logits[:, :, None]).to(probs.dtype)
        held = torch.einsum("bij,bj->bi", more_likely, probs)
        probs = torch.where(held < top_p, probs, 0)
    return probs / probs.sum(-1, keepdim=True)


@alternative("next_token_probs")
def nucleus_by_a_count(logits, temperature=1.0, top_k=None, top_p=None):
    """The top-k tokens by scattering, the nucleus by how many tokens it needs."""
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()
    values, index = logits.topk(min(top_k or logits.shape[-1], logits.shape[-1]))
    probs = (values / temperature).softmax(-1)
    if top_p is not None:
        needed = (probs.cumsum(-1) < top_p).sum(-1, keepdim=True) + 1
        probs = probs * (torch.arange(probs.shape[-1]) < needed)
    return torch.zeros_like(logits).scatter(-1, index, probs / probs.sum(-1, keepdim=True))


@alternative("next_token_probs")
def cut_by_places(logits, temperature=1.0, top_k=None, top_p=None):
    """Sorted once; what goes is said by place, with a mask moved by one; sorted back."""
    ordered, order = logits.double().sort(dim=-1, descending=True, stable=True)
    place = torch.arange(ordered.shape[-1])
    if temperature == 0:
        probs = (place == 0).double().expand_as(ordered)
    else:
        goes = (place >= (top_k if top_k is not None else len(place))).expand_as(ordered)
        probs = (ordered / temperature).masked_fill(goes, float("-inf")).softmax(-1)
        if top_p is not None:
            goes = probs.cumsum(-1) >= top_p
            goes = torch.cat([torch.zeros_like(goes[:, :1]), goes[:, :-1]], dim=-1)
            probs = torch.where(goes, 0.0, probs)
            probs = probs / probs.sum(-1, keepdim=True)
    return probs.gather(-1, order.argsort(-1)).to(logits.dtype)


@alternative("next_token_probs")
def nucleus_by_searching(logits, temperature=1.0, top_k=None, top_p=None):
    """searchsorted finds where the sum reaches top_p; rows one by one, written by index."""
    probs = torch.zeros_like(logits)
    for row, out in zip(logits, probs):
        if temperature == 0:
            out[row.argmax()] = 1.0
            continue
        kept = row.argsort(descending=True)[:top_k]
        p = torch.softmax(row[kept] / temperature, dim=0)
        if top_p is not None:
            needed = int(torch.searchsorted(p.cumsum(0), torch.tensor(top_p))) + 1
            kept, p = kept[:needed], p[:needed] / p[:needed].sum()
        out[kept] = p
    return probs


# --- Exercise 8: warm-up and cosine decay


@alternative("learning_rate")
def a_factor_times_max_lr(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """A multiplier between min_lr / max_lr and 1, as schedulers have it."""
    if step < warmup_steps:
        return max_lr * step / max(1, warmup_steps)
    progress = min(step - warmup_steps, total_steps - warmup_steps) / (total_steps - warmup_steps)
    least = min_lr / max_lr
    return max_lr * (least + (1 - least) * (math.cos(math.pi * progress) + 1) / 2)


@alternative("learning_rate")
def squared_cosine(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """cos² of half the angle; the end treated first."""
    if step >= total_steps:
        return min_lr
    if warmup_steps > 0 and step <= warmup_steps:
        return step / warmup_steps * max_lr
    angle = math.pi / 2 * (step - warmup_steps) / (total_steps - warmup_steps)
    return max_lr * math.cos(angle) ** 2 + min_lr * math.sin(angle) ** 2


@alternative("learning_rate")
def interpolated_with_numpy(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """NumPy's interpolation for both phases."""
    if step < warmup_steps:
        return np.interp(step, [0, warmup_steps], [0.0, max_lr])
    angle = np.interp(step, [warmup_steps, total_steps], [0, np.pi])
    return (max_lr + min_lr) / 2 + (max_lr - min_lr) / 2 * np.cos(angle)


@alternative("learning_rate")
def tensor_result(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """A 0-d tensor in float32."""
    if step < warmup_steps:
        return torch.tensor(max_lr) * step / warmup_steps
    done = torch.tensor((step - warmup_steps) / (total_steps - warmup_steps)).clamp(0, 1)
    return torch.lerp(torch.tensor(max_lr), torch.tensor(min_lr), (1 - torch.cos(torch.pi * done)) / 2)


@alternative("learning_rate")
def product_of_sine_and_cosine(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """The real part of a complex exponential; the step clipped to the end first."""
    step = min(step, total_steps)
    if warmup_steps and step <= warmup_steps:
        return max_lr / warmup_steps * step
    turn = np.exp(1j * np.pi * (step - warmup_steps) / (total_steps - warmup_steps)).real
    return float(np.interp(turn, [-1, 1], [min_lr, max_lr]))


# --- Exercise 9: the training loop


@alternative("train")
def cleared_at_the_end(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """zero_grad after the step, to zeros instead of None; the rate set just before the step."""
    model.train()
    losses = []
    for step, batch in zip(itertools.count(), batches):
        loss = compute_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group.update(lr=lr_at(step))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses += [float(loss.detach())]
        if after_step:
            after_step(step=step, loss=losses[-1])
    return losses


@alternative("train")
def clipped_by_hand(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """The norm and the scaling written out; training mode set at every step."""
    history = []
    for step, batch in enumerate(batches):
        model.train()
        model.zero_grad()
        loss = compute_loss(model, batch)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = math.sqrt(sum(float(g.pow(2).sum()) for g in gradients))
        if norm > max_norm:
            for gradient in gradients:
                gradient.mul_(max_norm / norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        history.append(loss.detach())
        if after_step is not None:
            after_step(step, loss.item())
    return [x.item() for x in history]


@alternative("train")
def gradients_from_autograd(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """torch.autograd.grad instead of backward; NumPy numbers in the list, a tensor for after_step."""
    model.train(True)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    losses = []
    for step, batch in enumerate(batches):
        loss = compute_loss(model, batch)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses.append(np.float32(loss.detach().numpy()))
        if after_step is not None:
            after_step(step, loss.detach())
    return losses


@alternative("train")
def with_a_closure(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """The optimizer calls a closure; a tuple comes back."""
    model.train()
    losses = ()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = compute_loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            return loss

        losses = (*losses, optimizer.step(closure).item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train")
def taken_with_next(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """An iterator and next; all gradients scaled by one factor, 1 where they are short."""
    iterator, losses, step = iter(batches), [], 0
    while (batch := next(iterator, None)) is not None:
        rate = lr_at(step)
        for i in range(len(optimizer.param_groups)):
            optimizer.param_groups[i]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = compute_loss(model.train(), batch)
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        norm = torch.stack([g.norm() for g in gradients]).norm()
        for g in gradients:
            g *= min(1.0, max_norm / float(norm + 1e-6))
        optimizer.step()
        losses.append(float(loss.detach()))
        if after_step:
            after_step(step, losses[-1])
        step += 1
    return losses


# --- Exercise 10: BERT's masking


@alternative("mask_tokens")
def bernoulli_draws_as_in_transformers(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """Bernoulli draws one after another: half of what [MASK] left over is replaced."""
    labels, inputs = input_ids.clone(), input_ids.clone()
    matrix = torch.full(labels.shape, rate).masked_fill(is_special, 0.0)
    chosen = torch.bernoulli(matrix, generator=generator).bool()
    labels[~chosen] = -100
    masked = torch.bernoulli(torch.full(labels.shape, 0.8), generator=generator).bool() & chosen
    inputs[masked] = mask_id
    replaced = torch.bernoulli(torch.full(labels.shape, 0.5), generator=generator).bool() & chosen & ~masked
    inputs[replaced] = torch.randint(vocab_size, labels.shape, generator=generator)[replaced]
    return inputs, labels


@alternative("mask_tokens")
def fixed_number(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """A fixed number of tokens of the batch, picked by a permutation; a list comes back."""
    ordinary = (~is_special).flatten().nonzero()[:, 0]
    picked = ordinary[torch.randperm(len(ordinary), generator=generator)[: round(rate * len(ordinary))]]
    corrupted, labels = input_ids.flatten().clone(), torch.full((input_ids.numel(),), -100)
    labels[picked] = input_ids.flatten()[picked]
    tenth = round(len(picked) / 10)
    corrupted[picked[2 * tenth :]] = mask_id
    corrupted[picked[:tenth]] = torch.randint(vocab_size, (tenth,), generator=generator)
    return [corrupted.view_as(input_ids), labels.view_as(input_ids)]


@alternative("mask_tokens")
def fate_from_a_multinomial(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """Only the chosen places are visited, in a loop; their fate is a draw among three; 32-bit integers come back."""
    corrupted, labels = input_ids.tolist(), torch.full_like(input_ids, -100).tolist()
    chosen = torch.empty(input_ids.shape).uniform_(generator=generator).lt(rate) & is_special.logical_not()
    places = chosen.nonzero().tolist()
    if places:
        fates = torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), len(places), replacement=True, generator=generator)
        for (row, column), fate in zip(places, fates.tolist()):
            labels[row][column] = corrupted[row][column]
            if fate == 0:
                corrupted[row][column] = mask_id
            elif fate == 1:
                corrupted[row][column] = int(torch.randint(0, vocab_size, (), generator=generator))
    return torch.tensor(corrupted, dtype=torch.int32), torch.tensor(labels, dtype=torch.int32)


@alternative("mask_tokens")
def one_draw_decides_everything(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """A single uniform draw for choice and fate; random tokens never equal the token they replace."""
    draw = torch.rand(input_ids.shape, generator=generator).masked_fill(is_special, 1.0) / rate
    others = torch.randint(1, vocab_size, input_ids.shape, generator=generator)
    corrupted = input_ids.masked_fill(draw < 0.8, mask_id)
    corrupted = torch.where((draw >= 0.8) & (draw < 0.9), (input_ids + others) % vocab_size, corrupted)
    return corrupted, torch.where(draw < 1, input_ids, torch.full_like(input_ids, -100))


@alternative("mask_tokens")
def numpy_seeded_by_the_generator(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """NumPy's generator, whose seed comes from the one that is given; the fates from whole numbers."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    ids = input_ids.numpy()
    chosen = (rng.random(ids.shape) < rate) & ~is_special.numpy()
    fate = rng.integers(10, size=ids.shape)
    corrupted = np.where(chosen & (fate < 8), mask_id, ids)
    corrupted = np.where(chosen & (fate == 8), rng.integers(vocab_size, size=ids.shape), corrupted)
    return torch.from_numpy(corrupted), torch.from_numpy(np.where(chosen, ids, -100))


# --- Exercise 11: pairs for next-sentence prediction


@alternative("nsp_pairs")
def candidates_listed(documents, generator):
    """All sentences that may come second are listed, and one is drawn; lists with 0/1 labels."""
    pairs = []
    for i, document in enumerate(documents):
        elsewhere = [s for j, other in enumerate(documents) if j != i for s in other]
        for t in range(len(document) - 1):
            if torch.rand((), generator=generator) < 0.5:
                pairs.append([document[t], document[t + 1], 1])
            else:
                fitting = [s for s in elsewhere if s != document[t + 1]]
                pairs.append([document[t], fitting[torch.randint(len(fitting), (), generator=generator)], 0])
    return pairs


@alternative("nsp_pairs")
def coins_in_advance(documents, generator):
    """All coins tossed first; labels are tensors; rejected draws repeated until they fit."""
    places = [(i, t) for i, document in enumerate(documents) for t in range(len(document) - 1)]
    coins = torch.rand(len(places), generator=generator) > 0.5
    pairs = []
    for (i, t), is_next in zip(places, coins):
        second = documents[i][t + 1]
        if not is_next:
            while True:
                j = int(torch.randint(len(documents), (1,), generator=generator))
                candidate = documents[j][int(torch.randint(len(documents[j]), (1,), generator=generator))]
                if j != i and candidate != second:
                    break
            second = candidate
        pairs.append((documents[i][t], second, is_next))
    return pairs


@alternative("nsp_pairs")
def exactly_half_in_random_order(documents, generator):
    """Exactly half of the pairs are real, which half is drawn; the pairs come back shuffled."""
    places = [(i, t) for i, document in enumerate(documents) for t in range(len(document) - 1)]
    pool = [(j, sentence) for j, document in enumerate(documents) for sentence in document]
    pairs = []
    for rank, k in enumerate(torch.randperm(len(places), generator=generator).tolist()):
        i, t = places[k]
        first, successor = documents[i][t : t + 2]
        if rank < len(places) / 2:
            pairs.append((first, successor, True))
            continue
        for k in torch.randint(len(pool), (1000,), generator=generator).tolist():
            j, second = pool[k]
            if j != i and second != successor:
                pairs.append((first, second, False))
                break
    return [pairs[k] for k in torch.randperm(len(pairs), generator=generator).tolist()]


@alternative("nsp_pairs")
def python_seeded_by_the_generator(documents, generator):
    """Python's random numbers, whose seed comes from the generator; labels by comparison."""
    rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
    pairs = []
    for number, document in enumerate(documents):
        rest = documents[:number] + documents[number + 1 :]
        for t, first in enumerate(document[:-1]):
            second = document[t + 1]
            is_next = rng.random() >= 0.5
            if not is_next:
                second = rng.choice(rng.choice(rest))
                while second == document[t + 1]:
                    second = rng.choice(rng.choice(rest))
            pairs.append((first, second, is_next))
    return pairs


# --- Exercise 5 (open): the best counts


@alternative("counting_model")
def kneser_ney_with_a_pointer(documents, contexts, vocab_size):
    """Kneser-Ney in NumPy by recursion; then what followed the longest match within the document gets a share."""
    seen_after, different = defaultdict(Counter), defaultdict(set)
    for document in documents:
        for i in range(1, len(document)):
            for size in range(min(5, i) + 1):
                context = tuple(document[i - size : i])
                seen_after[context][document[i]] += 1
                if i > size:
                    different[context, document[i]].add(document[i - size - 1])
    lower = defaultdict(dict)
    for (context, token), before in different.items():
        lower[context][token] = len(before)

    def probabilities(context, highest):
        counts = seen_after[context] if highest or context[:1] == (documents[0][0],) else lower[context]
        shorter = probabilities(context[1:], False) if context else np.full(vocab_size, 1 / vocab_size)
        if not counts:
            return shorter
        total, row = sum(counts.values()), 0.75 * len(counts) * shorter
        for token, count in counts.items():
            row[token] += max(count - 0.75, 0)
        return row / total if all(count >= 0.75 for count in counts.values()) else row / row.sum()

    rows = []
    for context in contexts:
        row = probabilities(tuple(context[-5:]), True)
        votes = np.zeros(vocab_size)
        for i in range(1, len(context)):
            match = 0
            while match < min(4, i) and context[i - 1 - match] == context[-1 - match]:
                match += 1
            votes[context[i]] += 6.0**match - 1
        rows.append(0.75 * row + 0.25 * votes / votes.sum() if votes.sum() else row)
    return np.array(rows)


@alternative("counting_model")
def discounts_by_count(documents, contexts, vocab_size):
    """Other discounts for counts of one, two and more; float32; the document's own counts are mixed in by their length."""
    tables = [defaultdict(Counter) for _ in range(6)]
    for document in documents:
        for i in range(1, len(document)):
            for n in range(1, 7):
                if i >= n - 1:
                    tables[n - 1][tuple(document[i - n + 1 : i])][document[i]] += 1
    for n in range(1, 6):
        kinds = defaultdict(Counter)
        for (_, *context), followers in tables[n].items():
            for token in followers:
                kinds[tuple(context)][token] += 1
        for context, followers in tables[n - 1].items():
            if context and context[0] == documents[0][0]:
                kinds[context] = followers
        tables[n - 1] = kinds

    def mixed(row, followers, discounts):
        total = sum(followers.values())
        kept = {token: count - discounts[min(count, 3) - 1] for token, count in followers.items()}
        row = row * (1 - sum(kept.values()) / total)
        for token, count in kept.items():
            row[token] += count / total
        return row

    rows = torch.full((len(contexts), vocab_size), 1 / vocab_size)
    for r, context in enumerate(contexts):
        for n, table in enumerate(tables, start=1):
            followers = table.get(tuple(context[len(context) - n + 1 :])) if len(context) >= n - 1 else None
            if followers:
                rows[r] = mixed(rows[r], followers, (0.7, 0.9, 1.1))
        for size, discounts in ((1, (0.9, 1.4, 1.8)), (2, (0.5, 0.5, 0.5))):
            end = context[len(context) - size :]
            own = Counter(context[i] for i in range(size, len(context)) if context[i - size : i] == end)
            if own:
                rows[r] = mixed(rows[r], own, discounts)
    return rows


@alternative("counting_model")
def plain_lists_with_witten_bell(documents, contexts, vocab_size):
    """Python lists; Witten and Bell's weights, kinds of contexts below the longest, and the document's own counts on top."""
    tables = []
    for n in range(1, 6):
        table = defaultdict(Counter)
        kinds = {tuple(d[max(0, i - n) : i + 1]) for d in documents for i in range(1, len(d))}
        grams = kinds if n < 5 else [tuple(d[max(0, i - 4) : i + 1]) for d in documents for i in range(1, len(d))]
        for gram in grams:
            table[gram[:-1][-(n - 1) :] if n > 1 else ()][gram[-1]] += 1
        tables.append(table)
    rows = []
    for context in contexts:
        row = [1 / vocab_size] * vocab_size
        own = [defaultdict(Counter), defaultdict(Counter)]
        for i in range(1, len(context)):
            for table, size in zip(own, (1, 2)):
                if i >= size:
                    table[tuple(context[i - size : i])][context[i]] += 1
        steps = [(table, n - 1, 2.0) for n, table in enumerate(tables, start=1)] + [(own[0], 1, 4.0), (own[1], 2, 0.7)]
        for table, size, strict in steps:
            followers = table.get(tuple(context[-size:]) if size else ())
            if followers:
                total, unknown = sum(followers.values()), strict * len(followers)
                row = [p * unknown / (total + unknown) for p in row]
                for token, count in followers.items():
                    row[token] += count / (total + unknown)
        rows.append(row)
    return rows
