"""Acceptance rules of chapter 06's open task: what a policy is truly worth, which only the judge knows."""

from functools import lru_cache

import numpy as np
import torch

from autograder.chapters.c06_dpo.few import BETA, MANNERS, PROMPTS, WORLDS, World, worlds
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _gain(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    logits = torch.as_tensor(np.asarray(data["logits"], dtype=np.float64)).reshape(WORLDS, PROMPTS, MANNERS)
    return checksum(np.asarray([seed])) | reaches("share of the possible gain", _share(logits, _possible_in(seed)), bar)


@lru_cache(maxsize=64)  # the same for a whole class
def _possible_in(seed: int) -> list[tuple[World, float, float]]:
    return _possible(worlds(seed))


def _possible(many: list[World]) -> list[tuple[World, float, float]]:
    """Of each world itself, what the reference is worth in it, and the best that a policy can be."""
    found = []
    for one in many:
        one = one._replace(ref_logps=one.ref_logps.double(), utilities=one.utilities.double())
        policies = one.ref_logps, one.ref_logps + one.utilities / BETA
        found.append((one, *(_objective(logits, one.ref_logps, one.utilities) for logits in policies)))
    return found


def _share(logits: torch.Tensor, possible_in: list[tuple[World, float, float]]) -> float:
    """What the policies of these worlds gain in E[utility] - β KL over the reference, as a share of the greatest possible gain.

    Gains are added up over the worlds first, so that one in which little can be gained counts for little.
    """
    gained = possible = 0.0
    for row, (one, start, most) in zip(logits, possible_in, strict=True):
        gained += _objective(row, one.ref_logps, one.utilities) - start
        possible += most - start
    return gained / possible


def _objective(logits: torch.Tensor, ref_logps: torch.Tensor, utilities: torch.Tensor) -> float:
    probs = logits.softmax(-1)
    kl = torch.special.xlogy(probs, probs) - probs * ref_logps
    return (probs * utilities - BETA * kl).sum(-1).mean().item()


PAIRS_BARS = {
    "gains_a_quarter_from_pairs": 0.25,  # something holds the policy back: IPO, smoothing, or few steps
    "gains_more_than_a_third": 0.36,  # rewards are drawn towards 0, as far as the pairs are few
    "gains_nearly_a_half": 0.46,  # something is learned from other prompts
    "gains_more_than_a_half": 0.5,  # both
}
bars(_gain, PAIRS_BARS)
