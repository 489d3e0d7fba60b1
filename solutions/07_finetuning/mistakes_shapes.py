"""Wrong answers to chapter 07's second part: DoRA, a prefix, orthogonal matrices, and updates under a budget. Each text is the hint
that the student reads: what was done, why it is wrong, where to look."""

import torch
import torch.nn.functional as F
from transformers import DynamicCache

from autograder.judging.catalogue import changes, mistake

# --- Exercise 8: length and direction


def _dora_weight(weight, A, B, alpha, magnitude):
    rank = A.shape[0]
    frozen = weight.detach()
    turned = frozen + (alpha / rank) * (B @ A)
    lengths = torch.linalg.vector_norm(turned, dim=1, keepdim=True).detach()
    return magnitude.unsqueeze(1) * turned / lengths


_LENGTHS = "torch.linalg.vector_norm(turned, dim=1, keepdim=True).detach()"

changes("dora_weight", _dora_weight, [
    ("norm_over_the_wrong_axis", "You measure the lengths of the columns. With torch's weight, (d_out, d_in), each *row* belongs to one output, and "
     "has a magnitude.", _LENGTHS, "turned.norm(dim=0)[: len(turned)].repeat(1 + len(turned) // turned.shape[1])[: len(turned)].detach()[:, None]"),
    ("gradient_through_the_norm", "A gradient flows through the length that a row is divided by. In the paper it counts as a constant: detach it.",
     "keepdim=True).detach()", "keepdim=True)"),
    ("one_length_for_all", "You divide by the norm of the whole matrix. Each row has a length of its own.", _LENGTHS, "turned.detach().norm()"),
    ("length_of_the_frozen_rows", "You divide by the lengths of the frozen weight's rows. What is divided is the sum, by its own length.", "vector_norm(turned,",
     "vector_norm(frozen,"),
    ("not_divided", "You multiply with the magnitude and do not divide by the length.", "turned / lengths", "turned"),
    ("magnitude_left_out", "The magnitude is missing: your rows all have the length 1.", "magnitude.unsqueeze(1) * turned", "0 * magnitude.unsqueeze(1) + turned"),
    ("magnitude_over_columns", "You multiply the columns with the magnitude. It has a number for each row.", "magnitude.unsqueeze(1) * turned",
     "(magnitude * turned if turned.shape[0] == turned.shape[1] else magnitude.unsqueeze(1) * turned)"),
    ("magnitude_added_to_one", "You take the magnitude for a change: 1 + magnitude. It is the length itself.", "magnitude.unsqueeze(1) * turned",
     "(1 + magnitude).unsqueeze(1) * turned"),
    ("squared_lengths", "You divide by the squared length.", "turned / lengths", "turned / lengths**2"),
    ("sum_of_absolute_numbers", "You divide by the sum of the absolute values. The length is the root of the sum of the squares.",
     "turned, dim=1", "turned, 1, dim=1"),
    ("alpha_not_divided_in_dora", "The scale is alpha alone. It is alpha / rank, as with LoRA.", "alpha / rank", "alpha"),
    ("scale_left_out_in_dora", "The scale alpha / rank is missing.", "alpha / rank", "1.0"),
    ("factors_the_wrong_way_round", "A and B are in the wrong order, or transposed, where the shapes allow it. The update is B A.", "(B @ A)",
     "(A @ B if A.shape == B.shape else B @ A)"),
    ("update_left_out", "Your rows have the directions of the frozen weight. The factors are missing.", "frozen + (alpha / rank) * (B @ A)",
     "frozen + 0 * (B @ A)"),
    ("update_only_normalised", "You give a length to the update alone, and add the frozen weight. The *sum* is given a length.",
     "magnitude.unsqueeze(1) * turned / lengths", "frozen + magnitude.unsqueeze(1) * (turned - frozen) / lengths"),
    ("base_weight_learns", "A gradient flows to the frozen weight. Detach it.", "weight.detach()", "weight"),
    ("everything_detached", "No gradient flows to A and B: you detach the whole sum. Only its length counts as a constant.",
     "turned = frozen + (alpha / rank) * (B @ A)", "turned = (frozen + (alpha / rank) * (B @ A)).detach()"),
    ("a_small_number_in_the_length", "You add a small number to the length. Rows may be tiny; nothing has to be added.", "turned / lengths",
     "turned / (lengths + 1e-5)"),
])  # fmt: skip


# --- Exercise 9: keys and values before the text


def _prefix_logits(model, prefix, input_ids, attention_mask):
    rows, places = len(input_ids), prefix.shape[3]
    cache = DynamicCache()
    for i in range(len(prefix)):
        keys, values = prefix[i, 0], prefix[i, 1]
        cache.update(keys[None].repeat(rows, 1, 1, 1), values[None].repeat(rows, 1, 1, 1), i)
    before = torch.ones(rows, places, dtype=attention_mask.dtype, device=attention_mask.device)
    mask = torch.cat([before, attention_mask], dim=1)
    positions = attention_mask.cumsum(1) - 1 + places
    return model(input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache).logits


_POSITIONS = "attention_mask.cumsum(1) - 1 + places"

changes("prefix_logits", _prefix_logits, [
    ("positions_not_shifted", "The first real token has the position 0. The prefix stands before it: its position is p.", _POSITIONS,
     "(attention_mask.cumsum(1) - 1).clamp(min=0)"),
    ("shifted_one_too_far", "Your positions are one too large. The first real token has the position p.", _POSITIONS, "attention_mask.cumsum(1) + places"),
    ("padding_counted", "You count padding on the left: the first *real* token of each row has the position p. (attention_mask.cumsum)", _POSITIONS,
     "(torch.arange(places, places + input_ids.shape[1])).expand_as(input_ids)"),
    ("shifted_by_the_layers", "You shift the positions by another dimension of the prefix. p is its fourth one.", _POSITIONS,
     "attention_mask.cumsum(1) - 1 + prefix.shape[2] + 2"),
    ("keys_and_values_exchanged", "Keys and values are exchanged: for each layer the keys come first.", "prefix[i, 0], prefix[i, 1]", "prefix[i, 1], prefix[i, 0]"),
    ("first_layer_everywhere", "All layers get the keys and values of the first one.", "prefix[i, 0], prefix[i, 1]", "prefix[0, 0], prefix[0, 1]"),
    ("layers_in_reverse", "The layers are in the wrong order.", "prefix[i, 0], prefix[i, 1]", "prefix[-1 - i, 0], prefix[-1 - i, 1]"),
    ("keys_twice", "You give the keys as values too.", "prefix[i, 0], prefix[i, 1]", "prefix[i, 0], prefix[i, 0]"),
    ("prefix_hidden", "Your attention mask has zeros over the prefix, so nobody sees it.", "torch.ones(rows, places,", "torch.zeros(rows, places,"),
    ("mask_the_wrong_way_round", "The ones for the prefix stand behind the mask of the row. They come first.", "[before, attention_mask]", "[attention_mask, before]"),
    ("padding_seen", "Your mask is 1 everywhere, so that padding is seen.", "[before, attention_mask]", "[before, torch.ones_like(attention_mask)]"),
    ("first_place_only", "Only the first place of the prefix is seen.", "mask = torch.cat([before, attention_mask], dim=1)",
     "before[:, 1:] = 0\n    mask = torch.cat([before, attention_mask], dim=1)"),
    ("prefix_cut_off", "No gradient flows to the prefix: look for detach, .data or no_grad.", "prefix[i, 0], prefix[i, 1]",
     "prefix[i, 0].detach() + 0 * prefix.sum(), prefix[i, 1].detach()"),
    ("prefix_not_used", "The prefix changes nothing.", "past_key_values=cache", "past_key_values=None",
     "attention_mask=mask", "attention_mask=attention_mask", "position_ids=positions", "position_ids=positions + 0 * (prefix.sum() > 0)"),
    ("probabilities_returned", "You return probabilities, or their logarithms. The logits are asked for.", ".logits", ".logits.log_softmax(-1)"),
])  # fmt: skip


# --- Exercise 10: an orthogonal matrix


def _cayley(entries):
    n, count = entries.shape
    b = 2
    while b * (b - 1) // 2 < count:
        b += 1
    places = [(i, j) for i in range(b) for j in range(i + 1, b)]
    S = torch.zeros(n, b, b).to(entries)
    for k, (i, j) in enumerate(places):
        S[:, i, j] = entries[:, k]
        S[:, j, i] = -entries[:, k]
    one = torch.eye(b).to(entries)
    return (one + S) @ torch.linalg.inv(one - S)


_FORMULA = "(one + S) @ torch.linalg.inv(one - S)"

changes("cayley", _cayley, [
    ("symmetric_for_skew", "Your S is symmetric. Below the diagonal stand the entries with the *other sign*; only then is Q orthogonal.",
     "-entries[:, k]", "entries[:, k]"),
    ("upper_triangle_alone", "Below the diagonal of your S stand zeros. S is skew-symmetric: Sᵀ = -S.", "-entries[:, k]", "0 * entries[:, k]"),
    ("the_transposed_matrix", "You compute Qᵀ: the signs of S in the formula, or in S itself, are exchanged.", _FORMULA, "(one - S) @ torch.linalg.inv(one + S)"),
    ("entries_column_by_column", "You fill the entries in column by column. They stand row by row.", "for i in range(b) for j in range(i + 1, b)",
     "for j in range(b) for i in range(j)"),
    ("inverse_forgotten", "You multiply with I - S. Its inverse is asked for.", "torch.linalg.inv(one - S)", "(one - S)"),
    ("only_the_inverse", "I + S is missing: you return the inverse alone.", _FORMULA, "torch.linalg.inv(one - S)"),
    ("first_order", "You return I + 2 S, or a few terms of a series. That is orthogonal only where S is tiny.", _FORMULA, "one + 2 * S"),
    ("exponential", "You take the matrix exponential. It is orthogonal too, but another map.", _FORMULA, "torch.linalg.matrix_exp(S)"),
    ("halved_entries", "You halve the entries, as where S is made of a whole matrix, (P - Pᵀ)/2. Here they stand in S as they are.",
     "S = torch.zeros(n, b, b).to(entries)", "entries = entries / 2\n    S = torch.zeros(n, b, b).to(entries)"),
    ("doubled_entries", "Your S is twice too large.", "S = torch.zeros(n, b, b).to(entries)", "entries = entries * 2\n    S = torch.zeros(n, b, b).to(entries)"),
    ("without_the_identity", "You return Q - I.", _FORMULA, "(one + S) @ torch.linalg.inv(one - S) - one"),
    ("all_matrices_alike", "All matrices are the first one.", "entries[:, k]\n        S[:, j, i] = -entries[:, k]", "entries[0, k]\n        S[:, j, i] = -entries[0, k]"),
    ("entries_cut_off", "No gradient flows to the entries: they were copied as numbers.", "n, count = entries.shape",
     "n, count = entries.shape\n    entries = entries.detach().requires_grad_()"),
    ("by_gram_and_schmidt", "You orthogonalise I + S. The result is orthogonal, but not this one.", _FORMULA, "torch.linalg.qr(one + S)[0]"),
])  # fmt: skip


# --- Exercise 11: blocks, butterflies, shuffles


def _places(n, b, distance, chunk):
    """The numbers of each group, (n, b)."""
    pieces = torch.arange(n * b).view(-1, chunk)  # (pieces, chunk)
    firsts = [i for i in range(len(pieces)) if i // distance % (b // chunk) == 0]
    return torch.stack([torch.cat([pieces[i + k * distance] for k in range(b // chunk)]) for i in firsts])


def _rotate(x, blocks, distance=1, chunk=1):
    n, b = blocks.shape[:2]
    places = _places(n, b, distance, chunk)
    groups = x[..., places]
    products = torch.einsum("nij,...nj->...ni", blocks, groups)
    back = places.flatten().argsort()
    return products.flatten(-2)[..., back]


changes("rotate", _rotate, [
    ("block_transposed", "You multiply with the transposed blocks: group times block. It is block times group.", "nij,...nj->...ni", "nji,...nj->...ni"),
    ("not_put_back", "The products do not go back to the places of their numbers.", "products.flatten(-2)[..., back]", "products.flatten(-2)"),
    ("put_back_the_wrong_way", "You use the order itself to put the products back. It takes the inverse order.", "places.flatten().argsort()", "places.flatten()"),
    ("distance_ignored", "distance changes nothing: your groups are neighbours.", "_places(n, b, distance, chunk)", "_places(n, b, 1, chunk)"),
    ("chunk_ignored", "chunk changes nothing: your pieces are single numbers.", "_places(n, b, distance, chunk)", "_places(n, b, distance * (b % chunk + 1), 1)"),
    ("distance_in_numbers", "You count the distance in numbers. It is counted in pieces.", "_places(n, b, distance, chunk)",
     "_places(n, b, max(1, distance // chunk), chunk)"),
    ("distance_and_groups_exchanged", "You exchange the distance with the number of stretches: d = stretches * pieces * distance * chunk.",
     "_places(n, b, distance, chunk)", "_places(n, b, n // distance, chunk)"),
    ("groups_in_another_order", "Your groups are in another order: they go by their first pieces.", 'torch.einsum("nij,...nj->...ni", blocks, groups)',
     'torch.einsum("nij,...nj->...ni", blocks.view(distance, -1, b, b).transpose(0, 1).reshape(n, b, b), groups)'),
    ("pieces_inside_out", "Inside a group you take the first numbers of all pieces, then the second ones. A piece stays together.",
     "places = _places(n, b, distance, chunk)", "places = _places(n, b, distance, chunk).view(n, -1, chunk).mT.reshape(n, b)"),
    ("first_block_for_all", "All groups are multiplied with the first block.", "blocks, groups)", "blocks[:1].expand_as(blocks), groups)"),
    ("blocks_in_reverse", "The blocks are in reverse order.", "blocks, groups)", "blocks.flip(0), groups)"),
    ("added_to_x", "You add x to the products.", "products.flatten(-2)[..., back]", "x + products.flatten(-2)[..., back]"),
    ("blocks_cut_off", "No gradient flows to the blocks.", "blocks, groups)", "blocks.detach(), groups)"),
    ("input_is_cut_off", "No gradient flows to x. The layers before need it.", "groups = x[..., places]", "groups = x.detach()[..., places]"),
    ("numbers_of_one_product", "You multiply number by number and do not sum.", 'torch.einsum("nij,...nj->...ni", blocks, groups)',
     "groups * blocks.diagonal(dim1=1, dim2=2)"),
])  # fmt: skip


# --- Exercise 12: several updates under a budget (weak answers: none is named)


def _nearest(update, rank):
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    return u[:, :rank] * s[:rank], vt[:rank]


@mistake("compress_updates")
def the_same_rank_for_all(updates, inputs, budget):
    """The nearest matrices of one rank."""
    rank = int(budget // sum(sum(u.shape) for u in updates))
    return [_nearest(u, rank) for u in updates]


@mistake("compress_updates")
def all_for_the_largest(updates, inputs, budget):
    """As much as fits for the first updates, nothing for the others."""
    found = []
    for u in updates:
        rank = min(budget // sum(u.shape), *u.shape)
        budget -= rank * sum(u.shape)
        found.append(_nearest(u, rank))
    return found


@mistake("compress_updates")
def by_singular_values_alone(updates, inputs, budget):
    """Ranks where the singular values are large, without a look at the inputs."""
    offers = sorted(((s * s / sum(u.shape), i) for i, u in enumerate(updates) for s in torch.linalg.svdvals(u).tolist()), reverse=True)
    ranks = [0] * len(updates)
    for _, i in offers:
        if sum(updates[i].shape) <= budget:
            ranks[i] += 1
            budget -= sum(updates[i].shape)
    return [_nearest(u, r) for u, r in zip(updates, ranks, strict=True)]


@mistake("compress_updates")
def inputs_seen_but_ranks_equal(updates, inputs, budget):
    """The nearest in what comes out, with the same rank in each layer."""
    rank, found = int(budget // sum(sum(u.shape) for u in updates)), []
    for u, x in zip(updates, inputs, strict=True):
        values, axes = torch.linalg.eigh((x.T @ x / len(x)).double())
        root = values.clamp(min=1e-9).sqrt()
        B, A = _nearest(u.double() @ (axes * root), rank)
        found.append((B.float(), (A / root @ axes.T).float()))
    return found


@mistake("compress_updates")
def random_directions(updates, inputs, budget):
    """A drawn at random, and the best B for it."""
    rank, found = int(budget // sum(sum(u.shape) for u in updates)), []
    for u in updates:
        A = torch.randn(rank, u.shape[1])
        found.append((u @ torch.linalg.pinv(A), A))
    return found


@mistake("compress_updates")
def only_zeros(updates, inputs, budget):
    """Nothing is kept."""
    return [(torch.zeros(len(u), 1), torch.zeros(1, u.shape[1])) for u in updates]


@mistake("compress_updates")
def over_the_budget(updates, inputs, budget):
    """Twice the ranks that fit."""
    rank = 2 * int(budget // sum(sum(u.shape) for u in updates))
    return [_nearest(u, rank) for u in updates]


@mistake("compress_updates")
def few_numbers_of_the_update(updates, inputs, budget):
    """Its largest columns, kept as they are."""
    rank, found = int(budget // sum(sum(u.shape) for u in updates)), []
    for u in updates:
        columns = u.norm(dim=0).topk(rank).indices
        found.append((u[:, columns], F.one_hot(columns, u.shape[1]).float()))
    return found
