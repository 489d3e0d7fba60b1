"""Acceptance rules of chapter 05's open task: the true utility of a policy, which only the judge knows."""

import math
from functools import lru_cache

import numpy as np
import torch

from autograder.chapters.c05_ppo.doubt import ANSWERS, MAX_KL, QUESTIONS, world
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches

ROUNDING = 1e-3  # of the KL, as a share of the budget


def _gains(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    ref_logps, utilities, _ = world(seed)
    logits = torch.as_tensor(np.asarray(data["logits"], dtype=np.float64)).reshape(QUESTIONS, ANSWERS)
    share, kl = _measured(logits, ref_logps.double(), utilities.double(), _possible_in(seed))
    return (
        checksum(np.asarray([seed]))
        | reaches("KL to the reference", kl, MAX_KL * (1 + ROUNDING), lower_is_better=True)
        | reaches("share of the possible gain", share, bar)
    )


def _measured(
    logits: torch.Tensor, ref_logps: torch.Tensor, utilities: torch.Tensor, possible: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The policy's gain in expected utility, as a share of the greatest possible one with the budget; and its KL.

    possible: what `_possible` says, where that is known.
    """
    start, most = possible or _possible(ref_logps, utilities)
    return (_utility(logits, utilities) - start) / (most - start), _kl(logits, ref_logps)


def _possible(ref_logps: torch.Tensor, utilities: torch.Tensor) -> tuple[float, float]:
    """The expected utility of the reference, and the greatest that the budget allows."""
    return _utility(ref_logps, utilities), _utility(_within_budget(ref_logps, utilities), utilities)


@lru_cache(maxsize=256)  # the same for a whole class
def _possible_in(seed: int) -> tuple[float, float]:
    ref_logps, utilities, _ = world(seed)
    return _possible(ref_logps.double(), utilities.double())


def _utility(logits: torch.Tensor, utilities: torch.Tensor) -> float:
    return (logits.softmax(-1) * utilities).sum(-1).mean().item()


def _kl(logits: torch.Tensor, ref_logps: torch.Tensor) -> float:
    probs = logits.softmax(-1)
    return (torch.special.xlogy(probs, probs) - probs * ref_logps).sum(-1).mean().item()


def _within_budget(ref_logps: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """The optimum for these rewards, with the smallest β that keeps the KL within the budget."""
    low, high = -10.0, 10.0  # log β
    for _ in range(60):
        middle = (low + high) / 2
        within = _kl(ref_logps + rewards / math.exp(middle), ref_logps) <= MAX_KL
        low, high = (low, middle) if within else (middle, high)
    return ref_logps + rewards / math.exp(high)


GAINS = {
    "gains_two_fifths": 0.40,  # the mean score, and the best β
    "gains_a_half": 0.54,  # some caution where the models disagree
    "gains_two_thirds": 0.64,  # shrinking scores by their own noise
    "gains_three_quarters": 0.75,  # seeing what the noise depends on
}
bars(_gains, GAINS)
