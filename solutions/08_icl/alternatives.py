"""Right answers to chapter 08 in other shapes: loops, padding, einsum, numpy, float64, a library's call."""

import math
from collections import defaultdict
from itertools import takewhile

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 1


@alternative("few_shot_prompt")
def line_by_line(examples, query, instruction="", input_name="Text", label_name="Label"):
    """A list of lines, empty ones among them."""
    lines = [instruction, ""] * bool(instruction)
    for text, label in examples:
        lines += [input_name + ": " + text, label_name + ": " + label, ""]
    return "\n".join([*lines, input_name + ": " + query, label_name + ":"])


@alternative("few_shot_prompt")
def with_an_empty_label_at_the_end(examples, query, instruction="", input_name="Text", label_name="Label"):
    """The query as an example with an empty label, whose space is taken off again."""
    block = "{}: {}\n{}: {}".format
    blocks = [block(input_name, text, label_name, label) for text, label in [*examples, (query, "")]]
    return "\n\n".join(filter(None, [instruction, *blocks])).removesuffix(" ")


@alternative("few_shot_prompt")
def added_up(examples, query, instruction="", input_name="Text", label_name="Label"):
    """A sum of strings, with the empty line behind each block."""
    shown = "".join(input_name + f": {x}\n" + label_name + f": {y}\n\n" for x, y in examples)
    return (f"{instruction}\n\n" if instruction else "") + shown + f"{input_name}: {query}\n{label_name}:"


# --- Exercise 2


@alternative("with_label")
def by_counting_equal_places(prompt, label, encode):
    """A running product of what is equal, in numpy."""
    whole, alone = list(encode(prompt + " " + label)), list(encode(prompt))
    n = min(len(whole), len(alone))
    return whole, np.cumprod(np.array(whole[:n]) == np.array(alone[:n])).sum()


@alternative("with_label")
def by_takewhile(prompt, label, encode):
    """Pairs of ids, taken while they are equal; a list for a tuple, a tensor for the ids."""
    whole = encode(f"{prompt} {label}")
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(encode(prompt), whole))
    return [torch.tensor(whole), sum(1 for _ in equal)]


@alternative("with_label")
def from_the_longest_on(prompt, label, encode):
    """Tries ever shorter beginnings of the prompt's ids."""
    whole, alone = tuple(encode(" ".join([prompt, label]))), tuple(encode(prompt))
    first = next(n for n in range(len(alone), -1, -1) if whole[:n] == alone[:n])
    return whole, first


# --- Exercise 3


def _parts(prompt, label, encode):
    whole, alone = list(encode(f"{prompt} {label}")), list(encode(prompt))
    return whole, next((i for i, pair in enumerate(zip(whole, alone)) if pair[0] != pair[1]), len(alone))


@alternative("label_scores")
def padded_on_the_right(model, prompt, labels, encode):
    """One batch, padded on the right; cross_entropy with -100 where nothing is scored."""
    rows = [_parts(prompt, label, encode) for label in labels]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in rows], device=model.device)
    targets = ids.clone()
    for i, (row, first) in enumerate(rows):
        targets[i, :first] = targets[i, len(row) :] = -100
    with torch.no_grad():
        logits = model(ids).logits[:, :-1].transpose(1, 2)
    return -F.cross_entropy(logits, targets[:, 1:], ignore_index=-100, reduction="none").sum(1)


@alternative("label_scores")
def padded_on_the_left(model, prompt, labels, encode):
    """One batch, padded on the left, with an attention mask; float64; a gradient may hang on the result."""
    rows = [_parts(prompt, label, encode) for label in labels]
    longest = max(len(ids) for ids, _ in rows)
    ids, mask, scored = torch.zeros(3, len(rows), longest, dtype=torch.long).unbind()
    for i, (row, first) in enumerate(rows):
        ids[i, longest - len(row) :], mask[i, longest - len(row) :] = torch.tensor(row), 1
        scored[i, longest - len(row) + first :] = 1
    logps = model(input_ids=ids, attention_mask=mask).logits.double().log_softmax(-1)
    own = logps[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)
    return torch.einsum("rs,rs->r", own, scored[:, 1:].double())


@alternative("label_scores")
def token_by_token(model, prompt, labels, encode):
    """Reads the row anew for each token of a label."""
    found = []
    for label in labels:
        ids, first = _parts(prompt, label, encode)
        total = 0.0
        for place in range(first, len(ids)):
            logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
            total += (logits[ids[place]] - logits.logsumexp(0)).item()
        found.append(total)
    return torch.tensor(found)


# --- Exercise 4


@alternative("paired_differences")
def by_how_often_each_was_drawn(first, second, draws, generator):
    """Counts of a multinomial draw as weights."""
    n = len(first)
    drawn = torch.multinomial(torch.ones(n), draws * n, replacement=True, generator=generator).view(draws, n)
    counts = F.one_hot(drawn, n).sum(1).double()  # (draws, questions)
    return counts @ (second.double().mean(1) - first.double().mean(1)) / n


@alternative("paired_differences")
def one_draw_after_the_other(first, second, draws, generator):
    """A loop; uniform numbers made places."""
    found = torch.empty(draws)
    for i in range(draws):
        places = (torch.rand(len(first), generator=generator) * len(first)).long()
        found[i] = second[places].mean() - first[places].mean()
    return found


@alternative("paired_differences")
def with_numpy(first, second, draws, generator):
    """numpy's choice, seeded from the generator."""
    rng = np.random.default_rng(torch.randint(2**31, (), generator=generator).item())
    better = (second.mean(1) - first.mean(1)).numpy()
    return torch.from_numpy(rng.choice(better, (draws, len(better))).mean(1))


# --- Exercise 5


@alternative("calibrated")
def by_division(scores, neutral_scores):
    """As the formula is written."""
    probs = torch.exp(scores - scores.logsumexp(1, keepdim=True))
    ratio = probs / F.softmax(neutral_scores, dim=1).mean(dim=0, keepdim=True)
    return F.normalize(ratio, p=1, dim=1)


@alternative("calibrated")
def by_a_diagonal_matrix(scores, neutral_scores):
    """Zhao et al.'s W, a diagonal matrix; float64."""
    weight = torch.diag(1 / neutral_scores.double().softmax(-1).mean(0))
    found = scores.double().softmax(-1) @ weight
    return found / found.sum(-1, keepdim=True)


@alternative("calibrated")
def question_by_question(scores, neutral_scores):
    """Python numbers, the largest score taken off first."""
    share = lambda row: [math.exp(s - max(row)) / sum(math.exp(t - max(row)) for t in row) for s in row]  # noqa: E731
    texts = [share(row) for row in neutral_scores.tolist()]
    neutral = [sum(column) / len(texts) for column in zip(*texts)]
    found = []
    for row in scores.tolist():
        ratio = [p / q for p, q in zip(share(row), neutral)]
        found.append([r / sum(ratio) for r in ratio])
    return torch.tensor(found)


# --- Exercise 6


@alternative("bayes_predictions")
def pair_by_pair(xs, ys, tables, labels, noise, prior=None):
    """A loop along the rows in float64, made to sum to 1 at each pair."""
    belief = torch.full((len(tables),), 1 / len(tables)) if prior is None else prior
    belief = belief.double().repeat(len(xs), 1)
    chances = (1 - noise) * F.one_hot(tables, labels).double() + noise / labels  # (tables, inputs, labels)
    beliefs, predictions = [], []
    for x, y in zip(xs.T, ys.T):
        here = chances[:, x].transpose(0, 1)  # (rows, tables, labels)
        beliefs.append(belief)
        predictions.append(torch.bmm(belief[:, None], here)[:, 0])
        belief = belief * here[torch.arange(len(x)), :, y]
        belief = belief / belief.sum(1, keepdim=True)
    return torch.stack(beliefs, 1), torch.stack(predictions, 1)


@alternative("bayes_predictions")
def by_counted_hits(xs, ys, tables, labels, noise, prior=None):
    """Numbers of hits and misses before each pair, by a triangular matrix; xlogy for 0 times minus infinity."""
    prior = torch.ones(len(tables)).div(len(tables)) if prior is None else prior
    hit = (tables.T[xs] == ys[..., None]).double()  # (rows, pairs, tables)
    before = torch.ones(xs.shape[1], xs.shape[1], dtype=torch.double).tril(-1)
    hits, misses = before @ hit, before @ (1 - hit)
    wrong = torch.tensor(noise / labels, dtype=torch.double)
    logs = torch.special.xlogy(hits, 1 - noise + wrong) + torch.special.xlogy(misses, wrong) + prior.double().log()
    beliefs = (logs - logs.logsumexp(-1, keepdim=True)).exp()
    predictions = torch.full((*xs.shape, labels), noise / labels, dtype=torch.double)
    predictions.scatter_add_(2, tables.T[xs], (1 - noise) * beliefs)
    return beliefs.float(), predictions.float()


@alternative("bayes_predictions")
def row_by_row_in_numpy(xs, ys, tables, labels, noise, prior=None):
    """numpy, with logarithms and the largest taken off; lists put together at the end."""
    t, chance = tables.numpy(), np.full(len(tables), 1 / len(tables)) if prior is None else prior.double().numpy()
    all_beliefs, all_predictions = [], []
    with np.errstate(divide="ignore"):
        right, wrong, start = np.log(1 - noise + noise / labels), np.log(np.float64(noise / labels)), np.log(chance)
    for row_x, row_y in zip(xs.numpy(), ys.numpy()):
        logs, beliefs, predictions = start.copy(), [], []
        for x, y in zip(row_x, row_y):
            belief = np.exp(logs - logs.max())
            belief /= belief.sum()
            beliefs.append(belief)
            predictions.append((1 - noise) * np.bincount(t[:, x], belief, labels) + noise / labels)
            logs = logs + np.where(t[:, x] == y, right, wrong)
        all_beliefs.append(beliefs)
        all_predictions.append(predictions)
    return torch.tensor(np.array(all_beliefs)), torch.tensor(np.array(all_predictions))


# --- Exercise 7


@alternative("new_table_predictions")
def counted_by_input(xs, ys, labels, noise):
    """A dictionary of counts for each row; a hit and a miss differ by a constant in logarithms."""
    found = torch.empty(*xs.shape, labels, dtype=torch.double)
    right, wrong = 1 - noise + noise / labels, noise / labels
    for r, (row_x, row_y) in enumerate(zip(xs.tolist(), ys.tolist())):
        counts = defaultdict(lambda: torch.zeros(labels, dtype=torch.double))
        for i, (x, y) in enumerate(zip(row_x, row_y)):
            seen = counts[x]
            if wrong > 0:
                belief = (seen * math.log(right / wrong)).softmax(0)
            else:
                belief = (seen == seen.max()).double() / (seen == seen.max()).sum()
            found[r, i] = (1 - noise) * belief + noise / labels
            counts[x] = seen + F.one_hot(torch.tensor(y), labels)
    return found


@alternative("new_table_predictions")
def with_constant_tables_as_candidates(xs, ys, labels, noise):
    """Exercise 6 with one candidate a label, on the pairs with the same input alone."""
    right, wrong = 1 - noise + noise / labels, noise / labels
    chance = torch.where(F.one_hot(ys, labels) == 1, right, wrong).double()  # (rows, pairs, candidates)
    belief = torch.full((*xs.shape, labels), 1 / labels, dtype=torch.double)
    for j in range(xs.shape[1] - 1):
        same = xs[:, j + 1 :] == xs[:, j, None]
        later = belief[:, j + 1 :] * torch.where(same[..., None], chance[:, j, None], 1.0)
        belief[:, j + 1 :] = later / later.sum(-1, keepdim=True)
    return ((1 - noise) * belief + noise / labels).float()


@alternative("new_table_predictions")
def by_matrix_products(xs, ys, labels, noise):
    """Counts by a product with the matrix of equal inputs; the chance of 0 made as small as float64 has it."""
    n = xs.shape[1]
    same = torch.eq(xs.unsqueeze(1), xs.unsqueeze(2)).double() * torch.ones(n, n, dtype=torch.double).tril(-1)
    counts = same @ F.one_hot(ys, labels).double()
    step = math.log(1 - noise + noise / labels) - math.log(max(noise / labels, 1e-300))
    return (1 - noise) * torch.softmax(step * counts, -1) + noise / labels


# --- Exercise 8


@alternative("train_in_context")
def with_autograd_grad(model, optimizer, draw, updates, lr_at, max_norm=1.0):
    """torch.autograd.grad, the norm clipped by hand."""
    parameters, losses = list(model.parameters()), []
    for step in range(updates):
        ids = draw()
        logps = model(ids).logits.log_softmax(-1)
        pairs = ids.view(len(ids), -1, 2)
        loss = -logps[:, ::2].gather(2, pairs[..., 1:])[..., 0].mean()
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.cat([g.flatten() for g in gradients]).norm().item()
        for p, g in zip(parameters, gradients):
            p.grad = g * min(1.0, max_norm / (norm + 1e-6))
        for group in optimizer.param_groups:
            group.update(lr=lr_at(step))
        optimizer.step()
        losses.append(float(loss))
    return losses


@alternative("train_in_context")
def with_ignored_labels(model, optimizer, draw, updates, lr_at, max_norm=1.0):
    """Labels shifted by one, -100 at the inputs, as in chapter 2."""
    losses = []
    for step, ids in enumerate(draw() for _ in range(updates)):
        labels = ids.clone()
        labels[:, 0::2] = -100
        logits = model(ids).logits
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses.append(loss.detach().item())
    return losses


@alternative("train_in_context")
def without_the_last_token(model, optimizer, draw, updates, lr_at, max_norm=1.0):
    """The last label need not be read; the mean is a sum divided by a count."""
    losses = []
    for step in range(updates):
        rows = draw()
        logits = model(rows[:, :-1]).logits
        spoken = torch.arange(logits.shape[1]) % 2 == 0
        surprises = logits.logsumexp(-1) - logits.gather(2, rows[:, 1:, None]).squeeze(2)
        loss = (surprises * spoken).sum() / (spoken.sum() * len(rows))
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses += [loss.item()]
    return losses


# --- Exercise 9


@alternative("induction_scores")
def by_einsum(attentions, xs):
    """One einsum with the table of equal inputs, in float64."""
    n = xs.shape[1]
    same = torch.eq(xs[:, :, None], xs[:, None]).double() * torch.ones(n, n, dtype=torch.double).tril(-1)
    total = torch.einsum("lrhij,rij->lh", attentions[:, :, :, ::2, 1::2].double(), same)
    return total / same.sum(-1).count_nonzero()


@alternative("induction_scores")
def input_by_input(attentions, xs):
    """Loops; a list of what was found, and its mean."""
    found = []
    for r, row in enumerate(xs.tolist()):
        for i, x in enumerate(row):
            places = [2 * j + 1 for j in range(i) if row[j] == x]
            if places:
                found.append(attentions[:, r, :, 2 * i][..., places].sum(-1))
    return torch.stack(found).mean(0)


@alternative("induction_scores")
def with_a_mask_over_all_places(attentions, xs):
    """A mask of all places, (rows, 2 * pairs, 2 * pairs)."""
    rows, n = xs.shape
    mask = torch.zeros(rows, 2 * n, 2 * n, dtype=torch.bool)
    mask[:, 0::2, 1::2] = (xs[:, :, None] == xs[:, None, :]) & (torch.arange(n)[:, None] > torch.arange(n))
    looked = attentions.masked_fill(~mask[None, :, None], 0.0).sum(-1)  # (layers, rows, heads, places)
    chosen = looked.transpose(1, 2)[:, :, mask.any(-1)]  # (layers, heads, repeated inputs)
    return chosen.mean(-1)


# --- Exercise 10


def _tables_by_em(train_xs, train_ys, labels, inputs, kinds, generator, starts):
    cells = F.one_hot(train_xs * labels + train_ys, inputs * labels).sum(1).double()
    found = []
    for _ in range(starts):
        # A start from rows: each kind begins as one row that was read.
        chosen = torch.randperm(len(cells), generator=generator)[:kinds]
        table = cells[chosen] + 0.3
        for _ in range(50):
            chances = (table.view(kinds, inputs, labels) + 0.05)
            chances = (chances / chances.sum(-1, keepdim=True)).view(kinds, -1)
            logps = cells @ chances.log().T
            table = logps.softmax(1).T @ cells
        found.append((logps.logsumexp(1).sum().item(), table.view(kinds, inputs, labels)))
    return max(found, key=lambda pair: pair[0])[1]


@alternative("predict_from_rows")
def from_rows_that_were_read(train_xs, train_ys, xs, ys, labels, generator):
    """Starts from rows instead of chance, more kinds, and the noise from the misses; double precision."""
    inputs = int(max(train_xs.max(), xs.max())) + 1
    table = _tables_by_em(train_xs, train_ys, labels, inputs, 12, generator, 15)
    noise = (1 - table.amax(-1).sum() / table.sum()) * labels / (labels - 1)
    said, share = table.argmax(-1), table.sum((1, 2)) / table.sum()
    chances = (1 - noise) * F.one_hot(said, labels) + noise / labels  # (kinds, inputs, labels)
    logs = share.log()[:, None] + chances[:, xs[:, :-1], ys].log().sum(-1)
    return torch.einsum("kn,knl->nl", logs.softmax(0), chances[:, xs[:, -1]]).float()


@alternative("predict_from_rows")
def tables_merged(train_xs, train_ys, xs, ys, labels, generator):
    """As before, and kinds that say the same are made one."""
    inputs = int(max(train_xs.max(), xs.max())) + 1
    table = _tables_by_em(train_xs, train_ys, labels, inputs, 10, generator, 20)
    merged = {}
    for one in table:
        said = tuple(one.argmax(-1).tolist())
        near = next((other for other in merged if sum(a == b for a, b in zip(said, other)) > 0.7 * inputs), said)
        merged[near] = merged.get(near, 0) + one
    table = torch.stack(list(merged.values()))
    noise = (1 - table.amax(-1).sum() / table.sum()) * labels / (labels - 1)
    chances = (1 - noise) * F.one_hot(table.argmax(-1), labels) + noise / labels
    logs = (table.sum((1, 2)) / table.sum()).log()[:, None] + chances[:, xs[:, :-1], ys].log().sum(-1)
    return torch.einsum("kn,knl->nl", logs.softmax(0), chances[:, xs[:, -1]])
