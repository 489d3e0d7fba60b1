"""Acceptance rules of chapter 06's open task: what a policy is truly worth, which only the judge knows."""

import numpy as np
import torch

from autograder.chapters.c06_dpo.few import BETA, MANNERS, PROMPTS, WORLDS, worlds
from autograder.judging.compare import Summary
from autograder.judging.rules import bars, bounded, checksum, reaches


def _gain(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    logits = torch.as_tensor(np.asarray(data["logits"], dtype=np.float64)).reshape(WORLDS, PROMPTS, MANNERS)
    shares = [_share(row, one.ref_logps.double(), one.utilities.double()) for row, one in zip(logits, worlds(seed), strict=True)]
    return checksum(np.asarray([seed])) | reaches("share of the possible gain", sum(shares) / len(shares), bar)


def _share(logits: torch.Tensor, ref_logps: torch.Tensor, utilities: torch.Tensor) -> float:
    """The policy's gain in E[utility] - β KL over the reference, as a share of the greatest possible one."""
    start, most = (_objective(x, ref_logps, utilities) for x in (ref_logps, ref_logps + utilities / BETA))
    return (_objective(logits, ref_logps, utilities) - start) / (most - start)


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
