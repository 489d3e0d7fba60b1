"""The worlds of chapter 04's open task: answers with features, and few comparisons by annotators, some of them careless.

The probe and the judge both build a world from its seed. An answer is given what it may learn from, and never the rest.
"""

from typing import NamedTuple

import torch

from autograder.chapters.probing import seeded

FEATURES, COMPARISONS, HELDOUT = 20, 160, 100
ANNOTATORS, CARELESS = 8, 4
SPREAD = 0.5  # standard deviation of a feature's price
WORLDS = 40  # one bar is measured on so many


class World(NamedTuple):
    """features: (answers, FEATURES); pairs: (comparisons, 2), rows of features, the chosen one first; annotators: (comparisons,).

    heldout: (HELDOUT, FEATURES). utilities: (HELDOUT,), true ones, which no answer is given.
    """

    features: torch.Tensor
    pairs: torch.Tensor
    annotators: torch.Tensor
    heldout: torch.Tensor
    utilities: torch.Tensor


def world(seed: int) -> World:
    """A world of this seed. All numbers are float64."""
    g = seeded(seed)
    prices = SPREAD * torch.randn(FEATURES, generator=g, dtype=torch.float64)
    features = torch.randn(2 * COMPARISONS, FEATURES, generator=g, dtype=torch.float64)
    pairs = torch.randperm(2 * COMPARISONS, generator=g).view(COMPARISONS, 2)
    annotators = torch.arange(COMPARISONS) % ANNOTATORS
    careless = torch.randperm(ANNOTATORS, generator=g)[:CARELESS]
    utilities = features @ prices
    first_wins = torch.sigmoid(utilities[pairs[:, 0]] - utilities[pairs[:, 1]])  # (comparisons,)
    first_wins = torch.where(torch.isin(annotators, careless), 0.5, first_wins)
    turned = torch.rand(COMPARISONS, generator=g, dtype=torch.float64) > first_wins
    pairs = torch.where(turned[:, None], pairs.flip(1), pairs)
    heldout = torch.randn(HELDOUT, FEATURES, generator=g, dtype=torch.float64)
    return World(features, pairs, annotators, heldout, heldout @ prices)


def worlds(seed: int) -> list[World]:
    """The worlds on which a bar is measured."""
    return [world(1000 * seed + i) for i in range(WORLDS)]
