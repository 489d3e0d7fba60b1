"""Probes of chapter 07's second part: magnitude and direction, a prefix, and matrices that are orthogonal."""

import torch

from autograder.chapters.probing import TINY_LLAMA, as_tensor, gradients_of, mask_of, seeded, tiny_llama
from autograder.exercise import Exercise, Unexpected

TOPIC = "07_finetuning"


def _drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=seeded(seed))


# ---------------------------------------------------------------------------------------------------------------------
dora_weight = Exercise(
    "dora_weight", TOPIC, "Exercise 8: length and direction", gradients={"weight": 0, "A": 1, "B": 2, "magnitude": 4}
)


def _layer(seed: int, d_in: int, d_out: int, rank: int) -> list[torch.Tensor]:
    """weight, A and B."""
    return [_drawn(10 * seed + i, *shape) for i, shape in enumerate(((d_out, d_in), (rank, d_in), (d_out, rank)))]


def _lengths(seed: int, count: int) -> torch.Tensor:
    return 0.5 + 2 * torch.rand(count, generator=seeded(seed + 7))


@dora_weight.case
def rows_of_given_lengths(answer, seed):
    """Seven rows, five columns, rank 2, alpha 3."""
    return {"weight": as_tensor(answer(*_layer(seed, 5, 7, 2), 3.0, _lengths(seed, 7)), "The result")}


@dora_weight.case
def a_larger_rank(answer, seed):
    """Rank 4, alpha 2: the scale is alpha / rank, and it turns the rows, since the frozen weight is not scaled."""
    return {"weight": as_tensor(answer(*_layer(seed, 9, 6, 4), 2.0, _lengths(seed, 6)), "The result")}


@dora_weight.case
def as_many_rows_as_columns(answer, seed):
    """Four rows and four columns: nothing fails if rows and columns are mixed up."""
    return {"weight": as_tensor(answer(*_layer(seed, 4, 4, 4), 4.0, _lengths(seed, 4)), "The result")}


@dora_weight.case
def at_the_start(answer, seed):
    """B is 0, and the magnitude holds the lengths of the weight's rows: the result is the weight."""
    weight, A, B = _layer(seed, 6, 5, 2)
    return {"weight": as_tensor(answer(weight, A, 0 * B, 4.0, weight.norm(dim=1)), "The result")}


@dora_weight.case
def rows_that_are_tiny(answer, seed):
    """Weights near 1e-5: a row still gets the length that magnitude says."""
    weight, A, B = _layer(seed, 6, 5, 2)
    return {"weight": as_tensor(answer(1e-5 * weight, 1e-3 * A, 1e-2 * B, 2.0, _lengths(seed, 5)), "The result")}


@dora_weight.case
def its_gradients(answer, seed):
    """The gradients of A, B and magnitude: the length that a row is divided by counts as a constant."""
    weight, A, B = _layer(seed, 5, 7, 2)
    learning = [t.requires_grad_() for t in (A, B, _lengths(seed, 7))]
    found = as_tensor(answer(weight, *learning[:2], 3.0, learning[2]), "The result")
    value = (found * _drawn(seed + 1, 7, 5)).sum()
    gradients = gradients_of(value, *learning, what="The result", to="factors and the magnitude")
    return {f"gradient_of_{name}": g for name, g in zip(("A", "B", "magnitude"), gradients, strict=True)}


# ---------------------------------------------------------------------------------------------------------------------
prefix_logits = Exercise(
    "prefix_logits", TOPIC, "Exercise 9: keys and values before the text", needs=TINY_LLAMA, gradients={"prefix": 1}
)

_VOCAB, _HIDDEN, _LAYERS = 23, 12, 2


def _read(answer, seed: int, places: int, mask: torch.Tensor, prefix: torch.Tensor | None = None) -> torch.Tensor:
    model = tiny_llama(seed, _VOCAB, _HIDDEN, _LAYERS).requires_grad_(False)
    ids = torch.randint(_VOCAB, mask.shape, generator=seeded(seed + 1)).masked_fill(mask == 0, 0)
    if prefix is None:
        prefix = _drawn(seed + 2, _LAYERS, 2, 2, places, _HIDDEN // 2)
    logits = as_tensor(answer(model, prefix, ids, mask), "The result")
    if logits.shape != (*mask.shape, _VOCAB):
        raise Unexpected(f"Logits of shape {(*mask.shape, _VOCAB)} should come back; yours have {tuple(logits.shape)}.")
    return logits


def _of_real_tokens(logits: torch.Tensor, mask: torch.Tensor) -> dict:
    return {"logits": logits[mask.bool()]}


@prefix_logits.case
def three_places(answer, seed):
    """Two rows of six tokens, three places before them."""
    mask = mask_of([6, 6], 6)
    return _of_real_tokens(_read(answer, seed, 3, mask), mask)


@prefix_logits.case
def one_place_and_one_row(answer, seed):
    """One place, one row."""
    mask = mask_of([5], 5)
    return _of_real_tokens(_read(answer, seed, 1, mask), mask)


@prefix_logits.case
def padding_on_the_right(answer, seed):
    """Rows of different lengths, padded on the right."""
    mask = mask_of([4, 7, 2], 7)
    return _of_real_tokens(_read(answer, seed, 4, mask), mask)


@prefix_logits.case
def padding_on_the_left(answer, seed):
    """Padded on the left: the first real token of each row has the position p, and padding is not seen."""
    mask = mask_of([4, 7, 2], 7).flip(1)
    return _of_real_tokens(_read(answer, seed, 4, mask), mask)


@prefix_logits.case
def a_long_prefix(answer, seed):
    """Eleven places, more than the rows have tokens."""
    mask = mask_of([3, 4], 4)
    return _of_real_tokens(_read(answer, seed, 11, mask), mask)


@prefix_logits.case
def a_gradient_for_each_layer(answer, seed):
    """The gradient of the prefix, in both layers, keys and values."""
    mask = mask_of([5, 3], 5)
    prefix = _drawn(seed + 2, _LAYERS, 2, 2, 3, _HIDDEN // 2).requires_grad_()
    value = (_read(answer, seed, 3, mask, prefix).log_softmax(-1)[..., 3] * mask).sum()
    return {"gradient": gradients_of(value, prefix, what="The result", to="prefix")[0]}


@prefix_logits.case
def twice_the_same(answer, seed):
    """A second call gives the same: nothing of the first one is kept."""
    mask = mask_of([4], 4)
    prefix = _drawn(seed + 2, _LAYERS, 2, 2, 2, _HIDDEN // 2)
    _read(answer, seed, 2, mask, prefix)
    return _of_real_tokens(_read(answer, seed, 2, mask, prefix), mask)


# ---------------------------------------------------------------------------------------------------------------------
cayley = Exercise("cayley", TOPIC, "Exercise 10: an orthogonal matrix", gradients={"entries": 0})


def _matrices(answer, entries: torch.Tensor, b: int) -> torch.Tensor:
    Q = as_tensor(answer(entries), "The result")
    if Q.shape != (len(entries), b, b):
        raise Unexpected(f"Matrices of shape {(len(entries), b, b)} should come back; yours are {tuple(Q.shape)}.")
    return Q


def _is_orthogonal(Q: torch.Tensor) -> bool:
    return bool((Q.mT @ Q - torch.eye(Q.shape[-1])).abs().max() < 1e-4)


@cayley.case
def matrices_of_three(answer, seed):
    """Two matrices of three rows: the entries, and whether QᵀQ = I."""
    Q = _matrices(answer, _drawn(seed, 2, 3), 3)
    return {"Q": Q, "is_orthogonal": _is_orthogonal(Q)}


@cayley.case
def matrices_of_five(answer, seed):
    """Four matrices of five rows, ten entries each."""
    Q = _matrices(answer, _drawn(seed, 4, 10), 5)
    return {"Q": Q, "is_orthogonal": _is_orthogonal(Q)}


@cayley.case
def a_plane(answer, seed):
    """Two rows, one entry: a rotation of a plane."""
    return {"Q": _matrices(answer, _drawn(seed, 3, 1), 2)}


@cayley.case
def entries_of_zero(answer, seed):
    """All entries are 0: the matrix is the identity, and its gradient is not 0."""
    entries = torch.zeros(2, 6, requires_grad=True)
    Q = _matrices(answer, entries, 4)
    gradient = gradients_of(Q * _drawn(seed, 2, 4, 4), entries, what="The result", to="entries")[0]
    return {"Q": Q.detach(), "gradient": gradient}


@cayley.case
def large_entries(answer, seed):
    """Entries near 8: still orthogonal. A series in S would have gone astray."""
    Q = _matrices(answer, _drawn(seed, 2, 6, scale=8.0), 4)
    return {"Q": Q, "is_orthogonal": _is_orthogonal(Q)}


@cayley.case
def gradients_of_the_entries(answer, seed):
    """The gradient of the entries."""
    entries = _drawn(seed, 3, 6).requires_grad_()
    Q = _matrices(answer, entries, 4)
    return {"gradient": gradients_of(Q * _drawn(seed + 1, 3, 4, 4), entries, what="The result", to="entries")[0]}


# ---------------------------------------------------------------------------------------------------------------------
rotate = Exercise("rotate", TOPIC, "Exercise 11: blocks, butterflies, shuffles", gradients={"x": 0, "blocks": 1})


def _turned(answer, seed: int, before: tuple[int, ...], n: int, b: int, *given, **named) -> dict:
    x, blocks = _drawn(seed, *before, n * b), _drawn(seed + 1, n, b, b)
    return {"result": as_tensor(answer(x, blocks, *given, **named), "The result")}


@rotate.case
def neighbours(answer, seed):
    """Four blocks of three neighbours each, x (2, 5, 12)."""
    return _turned(answer, seed, (2, 5), 4, 3)


@rotate.case
def a_single_vector(answer, seed):
    """x is one vector of ten numbers, five blocks of two."""
    return _turned(answer, seed, (), 5, 2)


@rotate.case
def numbers_far_apart(answer, seed):
    """distance=4 with four blocks of three: a group has the numbers 0, 4 and 8, the next one 1, 5 and 9, and so on."""
    return _turned(answer, seed, (3,), 4, 3, 4)


@rotate.case
def several_stretches(answer, seed):
    """distance=2 with six blocks of three: the first two groups share the first six numbers, and so on."""
    return _turned(answer, seed, (2,), 6, 3, distance=2)


@rotate.case
def pieces_of_neighbours(answer, seed):
    """Pieces of three, six blocks of six, distance=2: a group is two pieces of three neighbours."""
    return _turned(answer, seed, (2, 2), 6, 6, 2, 3)


@rotate.case
def pieces_side_by_side(answer, seed):
    """Pieces of two with distance=1: the same groups as without pieces."""
    return _turned(answer, seed, (4,), 3, 4, chunk=2)


@rotate.case
def pieces_far_apart(answer, seed):
    """Pieces of two, distance=3, six blocks of four: one group has the numbers 0, 1, 6 and 7."""
    return _turned(answer, seed, (3,), 6, 4, distance=3, chunk=2)


@rotate.case
def which_way_round(answer, seed):
    """Blocks that only move numbers: block times group, and not group times block."""
    g = seeded(seed)
    blocks = torch.stack([torch.eye(5)[torch.randperm(5, generator=g)] for _ in range(2)])
    x = torch.arange(10.0).expand(3, 10).clone()
    return {"result": as_tensor(answer(x, blocks, 2), "The result")}
