"""Chapter 07's functions agree with peft where it has them, and elsewhere with closed forms and second derivations, to 1e-5."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autograder.chapters.c07_finetuning import budget, rules
from autograder.chapters.probing import mask_of, tiny_llama
from autograder.judging.reference import Reference
from autograder.judging.rules import RULES
from course import adapters, costs, peft_layers

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
FAST = settings(max_examples=20, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**6)

functions = Reference("07_finetuning").functions
train_only, low_rank, lora_linear, add_lora, set_merged, linear_costs = (
    functions[n] for n in ("train_only", "low_rank", "lora_linear", "add_lora", "set_merged", "linear_costs")
)
fine_tune, dora_weight, prefix_logits, cayley, rotate, compress_updates = (
    functions[n] for n in ("fine_tune", "dora_weight", "prefix_logits", "cayley", "rotate", "compress_updates")
)


def drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear_of(seed: int, d_in: int, d_out: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(d_in, d_out, bias=bias)
    with torch.no_grad():
        for i, weight in enumerate(layer.parameters()):
            weight.copy_(drawn(seed + i, *weight.shape, scale=0.4))
    return layer


# --- peft


@pytest.mark.parametrize("rank, alpha", [(2, 4.0), (3, 1.0)])
def test_lora_is_that_of_peft_merged_or_not(rank, alpha):
    linear, x = linear_of(0, 9, 14), drawn(1, 2, 5, 9)
    A, B = drawn(2, rank, 9), drawn(3, 14, rank)
    ours = lora_linear(x, linear.weight, linear.bias, A, B, alpha)
    torch.testing.assert_close(ours, peft_layers.lora(x, linear, A, B, alpha), **CLOSE)
    layer = nn.Module()
    layer.weight, layer.A, layer.B, layer.alpha, layer.merged = nn.Parameter(linear.weight.detach().clone()), A, B, alpha, False
    assert set_merged(layer, True)
    merged = F.linear(x, layer.weight, linear.bias)
    torch.testing.assert_close(merged, peft_layers.lora(x, linear, A, B, alpha, merged=True), **CLOSE)
    torch.testing.assert_close(merged, ours, **CLOSE)


def test_dora_is_that_of_peft():
    linear, x = linear_of(0, 9, 14), drawn(1, 6, 9)
    A, B, magnitude = drawn(2, 3, 9), drawn(3, 14, 3), 0.5 + drawn(4, 14).abs()
    ours = F.linear(x, dora_weight(linear.weight, A, B, 5.0, magnitude), linear.bias)
    torch.testing.assert_close(ours, peft_layers.dora(x, linear, A, B, 5.0, magnitude), **CLOSE)


def test_gradients_of_dora_are_those_of_peft():
    from peft import LoraConfig

    linear, x = linear_of(0, 6, 8), drawn(1, 5, 6)
    A, B, magnitude = (t.requires_grad_() for t in (drawn(2, 2, 6), drawn(3, 8, 2), 0.5 + drawn(4, 8).abs()))
    F.linear(x, dora_weight(linear.weight, A, B, 4.0, magnitude), linear.bias).square().sum().backward()
    config = LoraConfig(r=2, lora_alpha=4.0, target_modules=["0"], use_dora=True)
    layer = peft_layers._wrapped(linear, config)
    peft_layers._put_factors(layer, A, B)
    layer.lora_magnitude_vector["default"].weight.data = magnitude.detach().clone()
    layer(x).square().sum().backward()
    theirs = (layer.lora_A["default"], layer.lora_B["default"], layer.lora_magnitude_vector["default"])
    for own, module in zip((A, B, magnitude), theirs, strict=True):
        torch.testing.assert_close(own.grad, module.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [2, 4, 6])
def test_oft_is_that_of_peft_with_inputs_turned(size):
    linear, x = linear_of(0, 24, 10), drawn(1, 3, 24)
    entries = drawn(2, 24 // size, size * (size - 1) // 2, scale=0.5)
    torch.testing.assert_close(linear(rotate(x, cayley(entries))), peft_layers.oft(x, linear, entries), **CLOSE)


@pytest.mark.parametrize("size, factors", [(4, 1), (4, 3), (2, 4), (8, 2)])
def test_boft_is_that_of_peft(size, factors):
    width = size * 2 ** (factors - 1) * (3 if size == 4 else 2)
    linear, x = linear_of(0, width, 7), drawn(1, 3, width)
    entries = [drawn(5 + i, width // size, size * (size - 1) // 2, scale=0.5) for i in range(factors)]
    turned = x
    for distance, chunk in adapters.rotation_plan("BOFT", width, size, factors):
        turned = rotate(turned, cayley(entries[distance.bit_length() - 1]), distance, chunk)
    torch.testing.assert_close(linear(turned), peft_layers.boft(x, linear, entries), **CLOSE)


@pytest.mark.parametrize("places", [1, 4])
def test_prefix_is_that_of_peft(places):
    model, mask = tiny_llama(0, 23, 12, 2), mask_of([6, 4], 6)
    ids = torch.randint(23, (2, 6), generator=torch.Generator().manual_seed(1))
    prefix = drawn(2, 2, 2, 2, places, 6)
    with torch.no_grad():
        ours, theirs = prefix_logits(model, prefix, ids, mask), peft_layers.prefix(model, prefix, ids, mask)
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], **CLOSE)


def test_a_prefix_read_from_a_text_is_that_text():
    """The keys and values of real tokens, put before a row, are what reading the tokens would have given."""
    model = tiny_llama(0, 23, 12, 2)
    ids = torch.randint(23, (1, 9), generator=torch.Generator().manual_seed(1))
    prefix = adapters.read_prefix(model, ids[0, :4].tolist())
    with torch.no_grad():
        whole = model(input_ids=ids).logits[:, 4:]
        torch.testing.assert_close(prefix_logits(model, prefix, ids[:, 4:], torch.ones(1, 5).long()), whole, rtol=1e-4, atol=1e-4)


# --- What learns, low rank


def test_counts_are_those_of_a_nano_model():
    from course.models import load_nano

    model = load_nano("sft")
    learning, everything = train_only(model, ["model.layers.2", "lm_head"])
    assert everything == sum(p.numel() for p in model.parameters()) == 632_448
    assert learning == sum(p.numel() for p in model.model.layers[2].parameters()) + model.lm_head.weight.numel()


@FAST
@given(SEEDS, st.integers(1, 5))
def test_no_matrix_of_this_rank_is_nearer(seed, rank):
    update = drawn(seed, 8, 6)
    B, A = low_rank(update, rank)
    error = (update - B @ A).square().sum()
    expected = torch.linalg.svdvals(update)[rank:].square().sum()  # Eckart, Young and Mirsky
    torch.testing.assert_close(error, expected, rtol=1e-3, atol=1e-4)
    other = B + 0.1 * drawn(seed + 1, *B.shape)
    best = torch.linalg.lstsq(other, update).solution
    assert (update - other @ best).square().sum() >= error - 1e-4


# --- What it costs


@pytest.mark.parametrize("rank", [None, 1, 4])
@pytest.mark.parametrize("tokens, d_in, d_out", [(30, 12, 20), (7, 33, 9)])
def test_costs_are_what_is_measured(tokens, d_in, d_out, rank):
    linear, x = linear_of(0, d_in, d_out, bias=False), drawn(1, tokens, d_in).requires_grad_()
    if rank is None:
        module, run = linear, lambda: linear(x)
    else:
        module = nn.Module()
        module.weight = linear.weight.requires_grad_(False)
        module.A, module.B = nn.Parameter(drawn(2, rank, d_in)), nn.Parameter(torch.zeros(d_out, rank))
        run = lambda: lora_linear(x, module.weight, None, module.A, module.B, 2.0)  # noqa: E731
    assert linear_costs(tokens, d_in, d_out, rank) == costs.measured(module, run)


def test_lora_saves_at_most_a_third_of_the_multiplications():
    for rank in (1, 8, 64):
        whole, beside = linear_costs(100, 512, 512), linear_costs(100, 512, 512, rank)
        share = (beside["forward"] + beside["backward"]) / (whole["forward"] + whole["backward"])
        assert share > 2 / 3


# --- Orthogonal matrices


@FAST
@given(SEEDS, st.integers(2, 9))
def test_cayley_is_orthogonal_with_determinant_one_and_comes_back(seed, b):
    entries = drawn(seed, 3, b * (b - 1) // 2).double()
    Q = cayley(entries)
    one = torch.eye(b, dtype=torch.double)
    torch.testing.assert_close(Q.mT @ Q, one.expand_as(Q), rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(Q), torch.ones(3, dtype=torch.double), rtol=0, atol=1e-9)
    S = torch.linalg.solve(Q + one, Q - one)  # the inverse map
    rows, columns = torch.triu_indices(b, b, 1)
    torch.testing.assert_close(S[:, rows, columns], entries, rtol=1e-6, atol=1e-6)


def matrix_of(plan, width: int, block: int, seed: int = 0) -> torch.Tensor:
    rows = torch.eye(width)
    for i, (distance, chunk) in enumerate(plan):
        rows = rotate(rows, cayley(drawn(seed + i, width // block, block * (block - 1) // 2)), distance, chunk)
    return rows.T


@pytest.mark.parametrize("kind, factors", [("OFT", 1), ("BOFT", 2), ("BOFT", 4), ("GSOFT", 2)])
def test_all_of_them_are_orthogonal_and_keep_singular_values(kind, factors):
    Q = matrix_of(adapters.rotation_plan(kind, 64, 8, factors), 64, 8)
    torch.testing.assert_close(Q.T @ Q, torch.eye(64), rtol=0, atol=1e-5)
    W = drawn(9, 64, 20)
    torch.testing.assert_close(torch.linalg.svdvals(Q @ W), torch.linalg.svdvals(W), **CLOSE)


def test_two_shuffled_factors_reach_everything_and_a_butterfly_needs_more():
    full = lambda kind, factors: (matrix_of(adapters.rotation_plan(kind, 64, 8, factors), 64, 8) != 0).float().mean().item()  # noqa: E731
    assert full("OFT", 1) == 1 / 8 and full("GSOFT", 2) == 1
    assert full("BOFT", 3) < 1 and full("BOFT", 4) == 1  # 1 + log2(64 / 8)


def test_gsoft_is_a_product_of_two_block_diagonals_with_a_shuffle_between():
    """Q = Pᵀ L P R, with P the permutation that takes number i to the place (i mod k) n / k + i // k."""
    n, b = 24, 4
    k = n // b
    R, L = (cayley(drawn(seed, k, 6)) for seed in (0, 1))
    P = torch.zeros(n, n)
    for i in range(n):
        P[(i % k) * (n // k) + i // k, i] = 1
    expected = P.T @ torch.block_diag(*L) @ P @ torch.block_diag(*R)
    found = rotate(rotate(torch.eye(n), R), L, n // b).T
    torch.testing.assert_close(found, expected, **CLOSE)


# --- Layers in a model


def test_every_layer_equals_the_model_at_the_start():
    model, mask = tiny_llama(0, 23, 16, 2), mask_of([6, 4], 6)
    ids = torch.randint(23, (2, 6), generator=torch.Generator().manual_seed(1))
    before = model(input_ids=ids, attention_mask=mask).logits[mask.bool()]
    makers = {
        "DoRA": lambda linear, A, B: adapters.DoRALinear(linear, A, B, 4.0, dora_weight),
        "OFT": None, "BOFT": None, "GSOFT": None,
    }  # fmt: skip
    for kind, make in makers.items():
        other = copy.deepcopy(model)
        if make:
            names = add_lora(other, ["q_proj", "o_proj"], 2, make, torch.Generator().manual_seed(0))
        else:
            names = adapters.turn_layers(other, ["q_proj", "o_proj"], 4, kind, cayley, rotate)
        assert len(names) == 4
        learning = {n.rpartition(".")[2] for n, p in other.named_parameters() if p.requires_grad}
        assert learning == ({"A", "B", "magnitude"} if make else {"0", "1"} - ({"1"} if kind == "OFT" else set())), kind
        after = other(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_factors_move_and_nothing_else():
    model = tiny_llama(0, 23, 12, 2)
    add_lora(model, ["q_proj", "v_proj"], 2, lambda linear, A, B: adapters.DoRALinear(linear, A, B, 4.0, dora_weight),
             torch.Generator().manual_seed(0))  # fmt: skip
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    ids = torch.randint(23, (3, 7), generator=torch.Generator().manual_seed(1))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    losses = fine_tune(model, [batch] * 12, 3e-2, weight_decay=0.1)
    assert losses[-1] < losses[0] - 0.1
    moved = {n.rpartition(".")[2] for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"A", "B", "magnitude"}


# --- Several updates under a budget


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233])
def test_the_reference_reaches_every_bar_with_room(seed):
    found = [compress_updates(one.updates, one.given, budget.BUDGET) for one in budget.worlds(seed)]
    assert rules.share_kept(found, seed) > max(rules.SHARES.values()) + 0.01


def test_a_share_is_that_of_the_definition():
    many = [one.updates for one in budget.worlds(3)]
    nothing = [[(torch.zeros(len(u), 1), torch.zeros(1, u.shape[1])) for u in updates] for updates in many]
    assert rules.share_kept(nothing, 3) == pytest.approx(0)
    large = [[(torch.zeros(len(u), 40), torch.zeros(40, u.shape[1])) for u in updates] for updates in many]
    assert not rules.share_kept(large, 3) >= 0, "beyond the budget nothing counts"
    assert set(rules.SHARES) <= set(RULES)
