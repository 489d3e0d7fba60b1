"""Acceptance rules of chapter 11's open task: an entry is read as data, and measured on prompts that nobody saw."""

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch

from autograder.chapters.c11_pipeline.entry import MAX_KL, SHAPES, WORLDS, World, prompts, world
from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import bars, bounded, checksum, reaches
from autograder.tensors import Refused, read_tensors

NEW_PROMPTS = 2000
LUCK = 0.05  # of the KL: new prompts are not the old ones


def _is_entered(data: dict, bar: float) -> Summary:
    seed = bounded(data["seed"], 2**62)
    files = [np.ascontiguousarray(x, dtype=np.uint8).tobytes() for x in list(data["checkpoints"])[:WORLDS]]
    if len(files) != WORLDS:
        raise ValueError(f"{len(files)} checkpoints for {WORLDS} worlds")
    try:
        found = [measured(content, seed + 10 * i) for i, content in enumerate(files)]
        says, kl, share = "", *np.mean(found, axis=0).tolist()
    except Refused as error:
        says, kl, share = str(error), math.nan, math.nan
    return (
        checksum(np.asarray([seed]))
        | {"the checkpoint can be read": Entry(not says, says=says)}
        | reaches("KL on new prompts", kl, MAX_KL * (1 + LUCK), lower_is_better=True)
        | reaches("share of the possible gain", share, bar)
    )


@lru_cache(maxsize=256)  # every bar asks for it
def measured(content: bytes, seed: int) -> tuple[float, float]:
    """The KL of an entry for the world of this seed, and its gain in true utility, as a share of the greatest possible one.

    The prompts are drawn from a seed that is made of the entry itself: whoever makes an entry cannot know them. Raises Refused.
    """
    weights = {name: torch.from_numpy(x).double() for name, x in read_tensors(content, SHAPES).items()}
    one = world(seed)
    new = prompts(int.from_bytes(hashlib.sha256(content).digest()[:6], "big"), NEW_PROMPTS)
    return share_and_kl(weights["lora_B"] @ weights["lora_A"], one, new)


def share_and_kl(change: torch.Tensor, one: World, features: torch.Tensor) -> tuple[float, float]:
    """(KL, share of the possible gain) of the reference with this change of its weights, (answers, features)."""
    features, reference, true = features.double(), one.reference.double(), one.utility.double()
    ref_logps, utilities = (features @ reference.T).log_softmax(-1), features @ true.T
    best = _within_budget(ref_logps, utilities)
    start, most = (_utility(logps, utilities) for logps in (ref_logps, best))
    logps = (ref_logps + features @ change.double().T).log_softmax(-1)
    return _kl(logps, ref_logps), (_utility(logps, utilities) - start) / (most - start)


def _utility(logps: torch.Tensor, utilities: torch.Tensor) -> float:
    return (logps.exp() * utilities).sum(-1).mean().item()


def _kl(logps: torch.Tensor, ref_logps: torch.Tensor) -> float:
    probs = logps.exp()
    return (torch.special.xlogy(probs, probs) - probs * ref_logps).sum(-1).mean().item()


def _within_budget(ref_logps: torch.Tensor, utilities: torch.Tensor) -> torch.Tensor:
    """The optimum, chapter 3's, for these utilities, with the smallest β that keeps the mean KL within the budget."""
    low, high = -6.0, 8.0  # log β
    for _ in range(40):
        middle = (low + high) / 2
        within = _kl((ref_logps + utilities / math.exp(middle)).log_softmax(-1), ref_logps) <= MAX_KL
        low, high = (low, middle) if within else (middle, high)
    return (ref_logps + utilities / math.exp(high)).log_softmax(-1)


BARS = {
    "entry_gains_two_fifths": 0.40,  # what is good everywhere, whatever the prompt
    "entry_gains_half": 0.55,  # also what suits which prompt
    "entry_gains_two_thirds": 0.65,  # with some caution
    "entry_gains_nearly_three_quarters": 0.72,  # with a shape, or comparisons of what the new policy says
}
bars(_is_entered, BARS)
