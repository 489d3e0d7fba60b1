"""The worlds of chapter 07's open task, and its probes: several updates in few numbers.

The probe and the judge both build the updates and the inputs from the seed. An answer is given some of the inputs; what it
makes of the updates is measured on others.
"""

from typing import NamedTuple

import torch

from autograder.chapters.probing import as_pair, as_tensor, asked_once, coarse, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "07_finetuning"

compress_updates = Exercise("compress_updates", TOPIC, "Exercise 12: several updates under a budget", open=True)

SHAPES = ((48, 48), (80, 40), (40, 80), (64, 48), (48, 64), (56, 56))  # (d_out, d_in) of each update
BUDGET = 3000  # numbers in all factors together
GIVEN, FRESH = 300, 1000  # inputs of each layer: for the answer, and for the judge
WORLDS = 4  # one bar is measured on so many


class World(NamedTuple):
    """updates: one (d_out, d_in) a layer; given, fresh: one (tokens, d_in) a layer."""

    updates: list[torch.Tensor]
    given: list[torch.Tensor]
    fresh: list[torch.Tensor]


def world(seed: int) -> World:
    """Updates of different sizes and spectra, and inputs that are large in some directions and small in most."""
    g = seeded(seed)
    updates, given, fresh = [], [], []
    for i, (d_out, d_in) in enumerate(SHAPES):
        count = min(d_out, d_in)
        left, right, axes = (torch.linalg.qr(torch.randn(n, n, generator=g))[0] for n in (d_out, d_in, d_in))
        fall, size = (0.3, 0.6, 0.9, 1.2, 1.5, 0.5)[i], (0.5, 1.0, 0.7, 2.0, 1.2, 0.4)[i]
        spectrum = size * torch.arange(1.0, count + 1) ** -fall
        updates.append((left[:, :count] * spectrum) @ right[:count])
        spread = 3 * torch.arange(1.0, d_in + 1) ** -(0.4 + 0.1 * i)
        for inputs, tokens in ((given, GIVEN), (fresh, FRESH)):
            inputs.append(torch.randn(tokens, d_in, generator=g) * spread @ axes)
    return World(updates, given, fresh)


def worlds(seed: int) -> list[World]:
    """The worlds on which a bar is measured."""
    return [world(1000 * seed + i) for i in range(WORLDS)]


@asked_once
def _tried(answer, seed: int) -> dict:
    data: dict = {"seed": seed}
    for number, one in enumerate(worlds(seed)):
        data |= _factors(answer(one.updates, one.given, BUDGET), number)
    return data


def _factors(found, number: int) -> dict:
    """The factors that were found for a world, by name. Raises Unexpected where they are none, or too many numbers."""
    if not isinstance(found, (list, tuple)) or len(found) != len(SHAPES):
        many = f" of {len(found)}" if isinstance(found, (list, tuple)) else ""
        raise Unexpected(
            f"A list of {len(SHAPES)} pairs of factors should come back, one for each update; "
            f"what came is a {type(found).__name__}{many}."
        )
    data = {}
    for i, (pair, (d_out, d_in)) in enumerate(zip(found, SHAPES, strict=True)):
        B, A = (as_tensor(factor, "A factor").detach() for factor in as_pair(pair, "the factors B and A of an update"))
        if B.dim() != 2 or A.dim() != 2 or (len(B), A.shape[1]) != (d_out, d_in) or B.shape[1] != len(A):
            raise Unexpected(
                f"The factors of update {i}, ({d_out}, {d_in}), should be ({d_out}, rank) and (rank, {d_in}); "
                f"yours are {tuple(B.shape)} and {tuple(A.shape)}."
            )
        data |= {f"B_{number}_{i}": coarse(B), f"A_{number}_{i}": coarse(A)}
    numbers = sum(factor.numel() for factor in data.values())
    if numbers > BUDGET:
        raise Unexpected(f"Your factors hold {numbers} numbers; the budget is {BUDGET}.")
    return data


@compress_updates.case(rule="keeps_a_first_share")
def a_first_share(answer, seed):
    """At least 0.54 of what the updates do is kept."""
    return _tried(answer, seed, first=True)


@compress_updates.case(rule="keeps_a_second_share")
def a_second_share(answer, seed):
    """The same with a bar of 0.63."""
    return _tried(answer, seed)


@compress_updates.case(rule="keeps_a_third_share")
def a_third_share(answer, seed):
    """The same with a bar of 0.76."""
    return _tried(answer, seed)
