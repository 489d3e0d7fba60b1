"""Correct answers to chapter 07's second part in other shapes, which every check must accept."""

import math

import torch
import torch.nn.functional as F
from transformers import DynamicCache

from autograder.judging.catalogue import alternative

# --- Exercise 8: length and direction


@alternative("dora_weight")
def normalised_by_torch(weight, A, B, alpha, magnitude):
    """A diagonal matrix of magnitudes over lengths; no_grad for the lengths."""
    total = weight.detach() + torch.einsum("or,ri->oi", B, A) * (alpha / B.shape[1])
    with torch.no_grad():
        lengths = total.square().sum(1).sqrt()
    return torch.diag(magnitude / lengths) @ total


@alternative("dora_weight")
def row_by_row(weight, A, B, alpha, magnitude):
    """A loop over the rows, in double precision."""
    W, a, b = weight.detach().double(), A.double(), B.double()
    rows = []
    for i in range(len(W)):
        row = W[i] + alpha / len(A) * (b[i] @ a)
        rows.append(magnitude[i].double() * row / row.detach().norm())
    return torch.stack(rows)


@alternative("dora_weight")
def as_peft_writes_it(weight, A, B, alpha, magnitude):
    """W plus what DoRA adds to it."""
    frozen, scaling = weight.detach(), alpha / A.size(0)
    update = scaling * B @ A
    scale = (magnitude / torch.linalg.norm(frozen + update.detach(), dim=1)).view(-1, 1)
    return frozen + (scale - 1) * frozen + scale * update


# --- Exercise 9: keys and values before the text


@alternative("prefix_logits")
def with_a_cache_from_pairs(model, prefix, input_ids, attention_mask):
    """The cache made at once; positions by arange and the number of padded places."""
    rows, p = input_ids.shape[0], prefix.shape[3]
    pairs = [tuple(x.unsqueeze(0).expand(rows, *x.shape) for x in layer) for layer in prefix]
    positions = (F.pad(attention_mask, (p, 0), value=1).cumsum(1) - 1).clamp(min=0)[:, p:]
    mask = torch.cat((attention_mask.new_ones(rows, p), attention_mask), 1)
    return model(input_ids, attention_mask=mask, position_ids=positions, past_key_values=DynamicCache(pairs), use_cache=True)[0]


@alternative("prefix_logits")
def row_after_row(model, prefix, input_ids, attention_mask):
    """Each row alone, without its padding."""
    p, found = prefix.shape[3], []
    for ids, mask in zip(input_ids, attention_mask, strict=True):
        real = mask.nonzero()[:, 0]
        cache = DynamicCache()
        for layer, both in enumerate(prefix):
            cache.update(both[None, 0], both[None, 1], layer)
        places = torch.arange(p, p + len(real))[None]
        logits = model(input_ids=ids[real][None], position_ids=places, past_key_values=cache).logits[0]
        found.append(torch.zeros(len(ids), logits.shape[-1]).index_copy(0, real, logits))
    return torch.stack(found)


@alternative("prefix_logits")
def with_all_logits_in_double(model, prefix, input_ids, attention_mask):
    """torch.repeat_interleave over the rows; positions in a loop; logits in double precision."""
    p = prefix.shape[-2]
    many = prefix[:, :, None].repeat_interleave(len(input_ids), dim=2)  # (layers, 2, batch, heads, p, head_dim)
    cache = DynamicCache()
    for layer in range(many.shape[0]):
        cache.update(many[layer, 0], many[layer, 1], layer)
    positions = torch.zeros_like(input_ids)
    for row, mask in enumerate(attention_mask.tolist()):
        seen = p
        for t, real in enumerate(mask):
            positions[row, t] = seen
            seen += real
    mask = F.pad(attention_mask, (p, 0), value=1)
    return model(input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache).logits.double()


# --- Exercise 10: an orthogonal matrix


@alternative("cayley")
def by_an_inverse(entries):
    """The inverse, on the other side, in double precision."""
    b = int((1 + math.isqrt(1 + 8 * entries.shape[1])) // 2)
    upper = torch.zeros(len(entries), b * b, dtype=torch.double)
    i, j = torch.triu_indices(b, b, offset=1)
    upper = upper.index_add(1, i * b + j, entries.double()).view(-1, b, b)
    S = upper - upper.transpose(1, 2)
    one = torch.eye(b, dtype=torch.double).expand_as(S)
    return (one + S).bmm(torch.linalg.inv(one - S))


@alternative("cayley")
def one_after_the_other(entries):
    """A loop over the matrices, masks for the triangle."""
    b = next(b for b in range(2, 100) if b * (b - 1) // 2 == entries.shape[1])
    above = torch.ones(b, b).triu(1).bool()
    found = []
    for numbers in entries:
        upper = torch.zeros(b, b).masked_scatter(above, numbers)
        S = upper - upper.T
        found.append(torch.linalg.solve(torch.eye(b) - S, torch.eye(b) + S, left=False))
    return torch.stack(found)


@alternative("cayley")
def as_twice_an_inverse(entries):
    """Q = 2 (I - S)⁻¹ - I."""
    count = entries.shape[1]
    b = round(0.5 + math.sqrt(0.25 + 2 * count))
    i, j = torch.triu_indices(b, b, 1)
    basis = torch.zeros(count, b, b, dtype=entries.dtype)
    basis[torch.arange(count), i, j], basis[torch.arange(count), j, i] = 1, -1
    S = torch.einsum("nk,kij->nij", entries, basis)
    one = torch.eye(b, dtype=entries.dtype)
    return 2 * torch.linalg.inv(one - S) - one


# --- Exercise 11: blocks, butterflies, shuffles


def _order(n, b, distance, chunk):
    """The places of the numbers, group by group."""
    order = []
    for first in range(n * b // chunk):
        if (first // distance) % (b // chunk) == 0:
            for k in range(b // chunk):
                piece = first + k * distance
                order += range(piece * chunk, (piece + 1) * chunk)
    return torch.tensor(order)


@alternative("rotate")
def by_one_large_matrix(x, blocks, distance=1, chunk=1):
    """The whole matrix, with a block_diag inside."""
    n, b, _ = blocks.shape
    P = torch.eye(n * b)[_order(n, b, distance, chunk)]
    return x @ (P.T @ torch.block_diag(*blocks) @ P).T


@alternative("rotate")
def group_by_group(x, blocks, distance=1, chunk=1):
    """A loop over the groups, put back by index_copy."""
    n, b, _ = blocks.shape
    result = torch.zeros_like(x)
    for block, places in zip(blocks, _order(n, b, distance, chunk).split(b), strict=True):
        result = result.index_copy(-1, places, x[..., places] @ block.mT)
    return result


@alternative("rotate")
def by_permuting_and_bmm(x, blocks, distance=1, chunk=1):
    """reshape, permute, bmm, in double precision."""
    n, b, _ = blocks.shape
    shape = x.shape
    parts = x.double().reshape(-1, n // distance, b // chunk, distance, chunk)  # (tokens, stretches, pieces, distance, chunk)
    groups = parts.permute(1, 3, 2, 4, 0).reshape(n, b, -1)  # (n, b, tokens)
    turned = torch.bmm(blocks.double(), groups).view(n // distance, distance, b // chunk, chunk, -1)
    return turned.permute(4, 0, 2, 1, 3).reshape(shape)


# --- Exercise 12: several updates under a budget


def _bought(gains, prices, budget):
    """How many ranks each layer gets: always the one that keeps most a number."""
    ranks = [0] * len(gains)
    while True:
        offers = [
            (gains[i][ranks[i]] / prices[i], i)
            for i in range(len(gains))
            if ranks[i] < len(gains[i]) and prices[i] <= budget
        ]  # fmt: skip
        if not offers:
            return ranks
        i = max(offers)[1]
        ranks[i] += 1
        budget -= prices[i]


@alternative("compress_updates")
def by_cholesky(updates, inputs, budget):
    """A Cholesky factor of the second moments in the place of their root."""
    parts = []
    for u, x in zip(updates, inputs, strict=True):
        moments = x.double().T @ x.double() / len(x)
        L = torch.linalg.cholesky(moments + 1e-6 * moments.diag().mean() * torch.eye(len(moments), dtype=torch.double))
        left, s, right = torch.linalg.svd(u.double() @ L, full_matrices=False)
        parts.append((left, s, torch.linalg.solve_triangular(L, right, upper=False, left=False)))
    ranks = _bought([s.square().tolist() for _, s, _ in parts], [sum(u.shape) for u in updates], budget)
    return [(left[:, :r] * s[:r], A[:r]) for r, (left, s, A) in zip(ranks, parts, strict=True)]


@alternative("compress_updates")
def by_the_outputs(updates, inputs, budget):
    """The principal directions of what the updates give: B of them, and A = Bᵀ update."""
    bases, gains = [], []
    for u, x in zip(updates, inputs, strict=True):
        out = x @ u.T
        values, axes = torch.linalg.eigh((out.T @ out / len(x)).double())
        bases.append(axes.flip(1).float())
        gains.append(values.flip(0).clamp(min=0).tolist()[: min(u.shape)])
    ranks = _bought(gains, [sum(u.shape) for u in updates], budget)
    return [(axes[:, :r], axes[:, :r].T @ u) for axes, r, u in zip(bases, ranks, updates, strict=True)]


@alternative("compress_updates")
def moments_drawn_towards_their_mean(updates, inputs, budget):
    """A little of the identity in the second moments, as one would with few inputs."""
    found, parts = [], []
    for u, x in zip(updates, inputs, strict=True):
        C = x.T.double() @ x.double() / len(x)
        C = 0.98 * C + 0.02 * C.diag().mean() * torch.eye(len(C), dtype=torch.double)
        values, axes = torch.linalg.eigh(C)
        S, back = axes * values.sqrt() @ axes.T, axes / values.sqrt() @ axes.T
        parts.append((*torch.linalg.svd(u.double() @ S, full_matrices=False), back))
    ranks = _bought([s.square().tolist() for _, s, _, _ in parts], [sum(u.shape) for u in updates], budget)
    for r, (left, s, right, back) in zip(ranks, parts, strict=True):
        found.append([(left[:, :r] * s[:r]).float(), (right[:r] @ back).float()])
    return found
