"""Probes of chapter 05's second half: PPO's two losses, and what the clip stops."""

import torch

from autograder.chapters.probing import as_number, gradients_of, mask_of, seeded
from autograder.exercise import Exercise

TOPIC = "05_ppo"


def _old_logps(seed: int, rows: int, seq: int) -> torch.Tensor:
    return -1.5 - 2 * torch.rand(rows, seq, generator=seeded(seed))


def _between(seed: int, low: float, high: float, rows: int, seq: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(rows, seq, generator=seeded(seed))


def _gradient(loss, at: torch.Tensor, what: str) -> torch.Tensor:
    return gradients_of(loss, at, to=what)[0]


def _counts(mask: torch.Tensor) -> dict[str, int]:
    tokens, answers = int(mask.sum()), len(mask)
    return {"the number of answer tokens": tokens, "the number of answers": answers, "the number of places": mask.numel()}


# ---------------------------------------------------------------------------------------------------------------------
clipped_policy_loss = Exercise(
    "clipped_policy_loss", TOPIC, "Exercise 5: the clipped objective", gradients={"logps": 0, "old_logps": 1}
)


def _clipped(answer, seed: int, ratio: tuple[float, float], advantage: tuple[float, float], clip_range: float = 0.2):
    """Loss and gradient where all ratios, and all advantages, of the answers lie between two numbers."""
    old_logps, mask = _old_logps(seed, 3, 7), mask_of([7, 3, 5], 7)
    logps = (old_logps + _between(seed + 1, *ratio, 3, 7).log()).requires_grad_()
    advantages = _between(seed + 2, *advantage, 3, 7)
    loss = answer(logps, old_logps, advantages, mask, clip_range)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


@clipped_policy_loss.case
def a_mixed_batch(answer, seed):
    """Answers of different lengths, ratios inside and outside: the mean goes over all answer tokens of the batch."""
    old_logps, mask = _old_logps(seed, 4, 9), mask_of([9, 2, 4, 6], 9)
    logps = (old_logps + 0.6 * torch.randn(4, 9, generator=seeded(seed + 1))).requires_grad_()
    advantages = torch.randn(4, 9, generator=seeded(seed + 2)) + 0.3
    advantages[0, 4] = 0.0  # a token like any other: it counts in the mean
    loss = answer(logps, old_logps, advantages, mask, 0.3)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


@clipped_policy_loss.case
def good_and_already_likelier(answer, seed):
    """A > 0 and the ratio above the range: enough was gained from these tokens, the gradient is 0."""
    return _clipped(answer, seed, (1.3, 1.7), (0.5, 2.0))


@clipped_policy_loss.case
def good_and_less_likely(answer, seed):
    """A > 0 and the ratio below the range: good tokens that became rarer are pulled back with all their weight."""
    return _clipped(answer, seed, (0.4, 0.75), (0.5, 2.0))


@clipped_policy_loss.case
def bad_and_likelier(answer, seed):
    """A < 0 and the ratio above the range: bad tokens that became likelier are pushed down with all their weight."""
    return _clipped(answer, seed, (1.3, 1.7), (-2.0, -0.5))


@clipped_policy_loss.case
def bad_and_already_less_likely(answer, seed):
    """A < 0 and the ratio below the range: enough was lost, the gradient is 0."""
    return _clipped(answer, seed, (0.4, 0.75), (-2.0, -0.5))


@clipped_policy_loss.case
def within_the_range(answer, seed):
    """Ratios inside the range, advantages of either sign: nothing is clipped."""
    return _clipped(answer, seed, (0.85, 1.15), (-1.0, 2.5))


@clipped_policy_loss.case
def the_first_step(answer, seed):
    """At the first step old and new are one tensor: the ratio is 1, and still the gradient is that of ratio times A."""
    logps, mask = _old_logps(seed, 3, 5).requires_grad_(), mask_of([5, 2, 3], 5)
    advantages = torch.randn(3, 5, generator=seeded(seed + 2)) + 0.4
    loss = answer(logps, logps, advantages, mask, 0.2)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities")}


@clipped_policy_loss.case
def far_from_the_old_policy(answer, seed):
    """Bad tokens twenty to four hundred times as likely, good ones as much rarer: nothing but the range bounds a ratio."""
    old_logps, mask = _old_logps(seed, 3, 7) - 7.0, mask_of([7, 3, 5], 7)
    advantages = _between(seed + 2, 0.5, 2.0, 3, 7) * torch.where(torch.arange(7) % 2 == seed % 2, 1.0, -1.0)
    logps = (old_logps - advantages.sign() * _between(seed + 1, 3.0, 6.0, 3, 7)).requires_grad_()
    loss = answer(logps, old_logps, advantages, mask, 0.2)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


@clipped_policy_loss.case
def far_apart_on_padding(answer, seed):
    """On padding old and new lie a hundred nats apart, either way: loss and gradient are as if nothing stood there."""
    old_logps, mask = _old_logps(seed, 3, 7), mask_of([4, 7, 2], 7)
    moved = torch.where(mask == 1, _between(seed + 1, -0.5, 0.5, 3, 7), torch.tensor([95.0, 0.0, -95.0])[:, None])
    logps, advantages = (old_logps + moved).requires_grad_(), _between(seed + 2, -1.5, 2.0, 3, 7)
    advantages[0, 5] = -1.0  # on padding, where the ratio overflows: nothing else would bound the product
    loss = answer(logps, old_logps, advantages, mask, 0.2)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


# ---------------------------------------------------------------------------------------------------------------------
clip_fraction = Exercise("clip_fraction", TOPIC, "Exercise 6: how much the clip stops")


def _all_four(seed: int, rows: int, seq: int, wide: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """logps, old_logps, advantages; no ratio so near a bound, of 0.2 or 0.3, that rounding decides."""
    old_logps = _old_logps(seed, rows, seq)
    ratio = (wide * torch.randn(rows, seq, generator=seeded(seed + 1))).exp()
    bounds = [1.2, 0.8, 1.3, 0.7, 1 / 1.2, 1 / 1.3, 1 / 0.8, 1 / 0.7, 2.718281**0.2, 2.718281**-0.2, 2.718281**0.3]
    for bound in bounds:
        ratio = torch.where((ratio - bound).abs() < 2e-3, ratio * 0 + bound + 4e-3, ratio)
    advantages = torch.randn(rows, seq, generator=seeded(seed + 2))
    return old_logps + ratio.log(), old_logps, advantages + 0.1 * advantages.sign()


def _fraction(value) -> float:
    return as_number(value, "The clip fraction")


@clip_fraction.case
def tokens_of_all_four_kinds(answer, seed):
    """Ratios on both sides, advantages of both signs: the share of answer tokens whose gradient the clip removed."""
    mask = mask_of([31 - i for i in range(23)], 31)
    fraction = answer(*_all_four(seed, 23, 31), mask, 0.2)
    return {"fraction": _fraction(fraction), "_sizes": _counts(mask)}


@clip_fraction.case
def unequal_lengths(answer, seed):
    """One long answer and many short ones: every token weighs the same. Padding does not count."""
    mask = mask_of([37, *(1 + i % 3 for i in range(12))], 37)
    fraction = answer(*_all_four(seed, 13, 37, wide=0.7), mask, 0.3)
    return {"fraction": _fraction(fraction), "_sizes": _counts(mask)}


@clip_fraction.case
def good_tokens_only(answer, seed):
    """A > 0 everywhere: only ratios above the range are stopped."""
    logps, old_logps, advantages = _all_four(seed, 11, 23)
    fraction = answer(logps, old_logps, advantages.abs(), torch.ones(11, 23, dtype=torch.long), 0.2)
    return {"fraction": _fraction(fraction)}


@clip_fraction.case
def bad_tokens_only(answer, seed):
    """A < 0 everywhere: only ratios below the range are stopped."""
    logps, old_logps, advantages = _all_four(seed, 11, 23)
    fraction = answer(logps, old_logps, -advantages.abs(), torch.ones(11, 23, dtype=torch.long), 0.3)
    return {"fraction": _fraction(fraction)}


@clip_fraction.case
def nothing_is_stopped(answer, seed):
    """Ratios that left the range only where the clip does not bite: the fraction is 0."""
    logps, old_logps, advantages = _all_four(seed, 5, 13)
    fraction = answer(logps, old_logps, -(logps - old_logps).sign() * advantages.abs(), mask_of([13, 4, 7, 2, 9], 13), 0.2)
    return {"fraction": _fraction(fraction)}


@clip_fraction.case
def on_the_bound(answer, seed):
    """Ratios exactly on the bound (a range of 0, and tokens that did not move), and tokens with A = 0: none is stopped."""
    logps, old_logps, advantages = _all_four(seed, 7, 13)
    still = torch.arange(13) % 3 == seed % 3
    advantages = advantages.masked_fill(torch.arange(13) % 4 == 1, 0.0)
    mask = mask_of([13, 5, 8, 11, 3, 9, 12], 13)
    fraction = answer(torch.where(still, old_logps, logps), old_logps, advantages, mask, 0.0)
    return {"fraction": _fraction(fraction), "_sizes": _counts(mask)}


@clip_fraction.case
def clip_range_matters(answer, seed):
    """The same tokens with ranges of 0.2 and of 0.3."""
    given, mask = _all_four(seed, 17, 29), mask_of([29 - i for i in range(17)], 29)
    narrow, wide = (_fraction(answer(*given, mask, c)) for c in (0.2, 0.3))
    return {"narrow": narrow, "wide": wide}


# ---------------------------------------------------------------------------------------------------------------------
value_loss = Exercise("value_loss", TOPIC, "Exercise 7: the loss of the value model", gradients={"values": 0})


def _value_loss(answer, seed: int, moved: torch.Tensor, off: torch.Tensor, mask: torch.Tensor, clip_range: float):
    """Loss and gradient: the values moved by `moved` from the old ones, the returns lie `off` from the new."""
    old_values = torch.randn(moved.shape, generator=seeded(seed)) + 0.6
    values = (old_values + moved).requires_grad_()
    returns = (values + off).detach()
    loss = answer(values, old_values, returns, mask, clip_range)
    return {"loss": loss, "gradient": _gradient(loss, values, "values"), "_sizes": _counts(mask)}


@value_loss.case
def values_that_moved_little(answer, seed):
    """Values still within the range of the old ones: half the mean square of the error over the answers' tokens."""
    moved, off = _between(seed + 1, -0.15, 0.15, 3, 7), _between(seed + 2, 0.5, 2.0, 3, 7)
    return _value_loss(answer, seed, moved, off, mask_of([7, 3, 5], 7), 0.2)


@value_loss.case
def values_that_moved_towards_the_return(answer, seed):
    """Values that moved far *towards* the return: the clipped error is the larger and counts; it has no gradient."""
    moved, off = _between(seed + 1, 0.4, 0.9, 3, 7), _between(seed + 2, 0.5, 2.0, 3, 7)
    return _value_loss(answer, seed, moved, off, mask_of([7, 3, 5], 7), 0.2)


@value_loss.case
def values_that_moved_away(answer, seed):
    """Values that moved far *away* from the return: the plain error is the larger and counts, with its gradient."""
    moved, off = _between(seed + 1, 0.4, 0.9, 3, 7), _between(seed + 2, -2.0, -0.5, 3, 7)
    return _value_loss(answer, seed, moved, off, mask_of([7, 3, 5], 7), 0.2)


@value_loss.case
def values_that_fell(answer, seed):
    """Values that moved far down, towards the return: the range has a lower end too."""
    moved, off = _between(seed + 1, -0.9, -0.4, 3, 5), _between(seed + 2, -2.0, -0.5, 3, 5)
    return _value_loss(answer, seed, moved, off, mask_of([5, 1, 4], 5), 0.3)


@value_loss.case
def values_of_all_kinds(answer, seed):
    """Answers of different lengths and everything mixed: the mean goes over all answer tokens of the batch."""
    moved, off = (0.5 * torch.randn(4, 9, generator=seeded(seed + i)) for i in (1, 2))
    return _value_loss(answer, seed, moved, 3 * off, mask_of([9, 2, 4, 6], 9), 0.25)
