"""Probes of chapter 05's second half: PPO's two losses, what the clip does, and the update that uses them."""

import torch

from autograder.chapters.probing import as_number, gradient_norm, gradients_of, mask_of, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

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
    "clipped_policy_loss", TOPIC, "Exercise 6: the clipped objective", gradients={"logps": 0, "old_logps": 1}
)


def _clipped(answer, seed: int, ratio: tuple[float, float], advantage: tuple[float, float], clip_range: float = 0.2):
    """Loss and gradient where all ratios, and all advantages, of the answers lie between two numbers."""
    old_logps, mask = _old_logps(seed, 3, 7), mask_of([7, 3, 5], 7)
    logps = (old_logps + _between(seed + 1, *ratio, 3, 7).log()).requires_grad_()
    advantages = _between(seed + 2, *advantage, 3, 7)
    loss = answer(logps, old_logps, advantages, mask, clip_range)
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
def a_mixed_batch(answer, seed):
    """Answers of different lengths, ratios inside and outside: the mean goes over all answer tokens of the batch."""
    old_logps, mask = _old_logps(seed, 4, 9), mask_of([9, 2, 4, 6], 9)
    logps = (old_logps + 0.6 * torch.randn(4, 9, generator=seeded(seed + 1))).requires_grad_()
    advantages = torch.randn(4, 9, generator=seeded(seed + 2)) + 0.3
    loss = answer(logps, old_logps, advantages, mask, 0.3)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


@clipped_policy_loss.case
def the_first_step(answer, seed):
    """At the first step old and new are one tensor: the ratio is 1, and still the gradient is that of ratio times A."""
    logps, mask = _old_logps(seed, 3, 5).requires_grad_(), mask_of([5, 2, 3], 5)
    advantages = torch.randn(3, 5, generator=seeded(seed + 2)) + 0.4
    loss = answer(logps, logps, advantages, mask, 0.2)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities")}


@clipped_policy_loss.case
def far_apart_on_padding(answer, seed):
    """On padding old and new lie a hundred nats apart, either way: loss and gradient are as if nothing stood there."""
    old_logps, mask = _old_logps(seed, 3, 7), mask_of([4, 7, 2], 7)
    moved = torch.where(mask == 1, _between(seed + 1, -0.5, 0.5, 3, 7), torch.tensor([95.0, 0.0, -95.0])[:, None])
    logps, advantages = (old_logps + moved).requires_grad_(), _between(seed + 2, -1.5, 2.0, 3, 7)
    loss = answer(logps, old_logps, advantages, mask, 0.2)
    return {"loss": loss, "gradient": _gradient(loss, logps, "log-probabilities"), "_sizes": _counts(mask)}


# ---------------------------------------------------------------------------------------------------------------------
clip_fraction = Exercise("clip_fraction", TOPIC, "Exercise 7: how much the clip stops")


def _all_four(seed: int, rows: int, seq: int, wide: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """logps, old_logps, advantages; no ratio so near a bound, of 0.2 or 0.3, that rounding decides."""
    old_logps = _old_logps(seed, rows, seq)
    ratio = (wide * torch.randn(rows, seq, generator=seeded(seed + 1))).exp()
    bounds = [1.2, 0.8, 1.3, 0.7, 1 / 1.2, 1 / 1.3, 1 / 0.8, 1 / 0.7, 2.718281**0.2, 2.718281**-0.2, 2.718281**0.3]
    for bound in bounds:
        ratio = torch.where((ratio - bound).abs() < 2e-3, ratio * 0 + bound + 4e-3, ratio)
    advantages = torch.randn(rows, seq, generator=seeded(seed + 2))
    return old_logps + ratio.log(), old_logps, advantages + 0.1 * advantages.sign()


@clip_fraction.case
def tokens_of_all_four_kinds(answer, seed):
    """Ratios on both sides, advantages of both signs: the share of answer tokens whose gradient the clip removed."""
    mask = mask_of([31 - i for i in range(23)], 31)
    fraction = answer(*_all_four(seed, 23, 31), mask, 0.2)
    return {"fraction": as_number(fraction, "The clip fraction"), "_sizes": _counts(mask)}


@clip_fraction.case
def unequal_lengths(answer, seed):
    """One long answer and many short ones: every token weighs the same. Padding does not count."""
    mask = mask_of([37, *(1 + i % 3 for i in range(12))], 37)
    fraction = answer(*_all_four(seed, 13, 37, wide=0.7), mask, 0.3)
    return {"fraction": as_number(fraction, "The clip fraction"), "_sizes": _counts(mask)}


@clip_fraction.case
def good_tokens_only(answer, seed):
    """A > 0 everywhere: only ratios above the range are stopped."""
    logps, old_logps, advantages = _all_four(seed, 11, 23)
    fraction = answer(logps, old_logps, advantages.abs(), torch.ones(11, 23, dtype=torch.long), 0.2)
    return {"fraction": as_number(fraction, "The clip fraction")}


@clip_fraction.case
def bad_tokens_only(answer, seed):
    """A < 0 everywhere: only ratios below the range are stopped."""
    logps, old_logps, advantages = _all_four(seed, 11, 23)
    fraction = answer(logps, old_logps, -advantages.abs(), torch.ones(11, 23, dtype=torch.long), 0.3)
    return {"fraction": as_number(fraction, "The clip fraction")}


@clip_fraction.case
def nothing_is_stopped(answer, seed):
    """Ratios that left the range only where the clip does not bite: the fraction is 0."""
    logps, old_logps, advantages = _all_four(seed, 5, 13)
    fraction = answer(logps, old_logps, -(logps - old_logps).sign() * advantages.abs(), mask_of([13, 4, 7, 2, 9], 13), 0.2)
    return {"fraction": as_number(fraction, "The clip fraction")}


@clip_fraction.case
def on_the_bound(answer, seed):
    """Ratios exactly on the bound (a range of 0, and tokens that did not move), and tokens with A = 0: none is stopped."""
    logps, old_logps, advantages = _all_four(seed, 7, 13)
    still = torch.arange(13) % 3 == seed % 3
    advantages = advantages.masked_fill(torch.arange(13) % 4 == 1, 0.0)
    mask = mask_of([13, 5, 8, 11, 3, 9, 12], 13)
    fraction = answer(torch.where(still, old_logps, logps), old_logps, advantages, mask, 0.0)
    return {"fraction": as_number(fraction, "The clip fraction"), "_sizes": _counts(mask)}


@clip_fraction.case
def clip_range_matters(answer, seed):
    """The same tokens with ranges of 0.2 and of 0.3."""
    given, mask = _all_four(seed, 17, 29), mask_of([29 - i for i in range(17)], 29)
    narrow, wide = (as_number(answer(*given, mask, c), "The clip fraction") for c in (0.2, 0.3))
    return {"narrow": narrow, "wide": wide}


# ---------------------------------------------------------------------------------------------------------------------
value_loss = Exercise("value_loss", TOPIC, "Exercise 8: the loss of the value model", gradients={"values": 0})


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


# ---------------------------------------------------------------------------------------------------------------------
ppo_update = Exercise("ppo_update", TOPIC, "Exercise 9: from a rollout to an update")

_ROWS, _SEQ = 7, 5


class _Watched:
    """Plain gradient descent in two groups, policy and value, that notes the gradient's norm at every step.

    Not a torch.optim.Optimizer: the first of those in a process imports torch's compiler, which takes seconds of the time
    that an answer is given.
    """

    def __init__(self, policy: torch.Tensor, value: torch.Tensor):
        self.param_groups = [{"params": [policy], "lr": 1.0}, {"params": [value], "lr": 0.5}]
        self.norms = []

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else torch.zeros_like(p)

    @torch.no_grad()
    def step(self) -> None:
        self.norms.append(gradient_norm(self.param_groups))
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p -= group["lr"] * p.grad


def _run_update(answer, seed: int, minibatches, clip_range=0.2, value_clip=0.3, value_coef=0.7, **options) -> dict:
    """Update two small models: log-probabilities and values are functions of four weights each."""
    g = seeded(seed)
    features = torch.randn(_ROWS, _SEQ, 4, generator=g)
    policy, value = (0.5 * torch.randn(4, generator=g)).requires_grad_(), torch.randn(4, generator=g).requires_grad_()

    def evaluate(rows):
        if not isinstance(rows, torch.Tensor) or rows.dim() != 1:
            raise Unexpected("evaluate should be called with the row numbers of a minibatch, as they came.")
        x = features[rows]
        return torch.nn.functional.logsigmoid(x @ policy), x @ value

    with torch.no_grad():
        logps, values = evaluate(torch.arange(_ROWS))
    batch = {
        "logps": logps,
        "values": values,
        "advantages": torch.randn(_ROWS, _SEQ, generator=g) + 0.2,
        "returns": values + 1.5 * torch.randn(_ROWS, _SEQ, generator=g) + 0.5,
        "mask": mask_of([5, 2, 4, 1, 3, 5, 2], _SEQ),
    }
    optimizer = _Watched(policy, value)
    losses = answer(evaluate, batch, minibatches, optimizer, clip_range, value_clip, value_coef, **options)
    return {
        "losses": plain_losses(losses, "ppo_update", "one a gradient step"),
        "gradient_norms": torch.tensor(optimizer.norms),
        "policy_weights": policy,
        "value_weights": value,
    }


@ppo_update.case
def one_step(answer, seed):
    """One minibatch of all rows: one gradient step on clipped_policy_loss + value_coef * value_loss."""
    return _run_update(answer, seed, [torch.arange(_ROWS)], max_norm=1e9)


@ppo_update.case
def steps_on_the_same_rows(answer, seed):
    """Three steps on the same rows: old log-probabilities and values stay those of the rollout."""
    return _run_update(answer, seed, 3 * [torch.arange(_ROWS)], clip_range=0.02, value_clip=0.1, max_norm=1e9)


@ppo_update.case
def rows_in_any_order(answer, seed):
    """Minibatches of some rows each, in any order, out of a generator; each has its own old numbers."""
    order = torch.randperm(_ROWS, generator=seeded(seed + 3))
    return _run_update(answer, seed, (rows for rows in (order[:3], order[3:], order[2:5])), max_norm=1e9)


@ppo_update.case
def how_much_the_value_counts(answer, seed):
    """value_coef weighs the value model's loss; here it is 0.15."""
    return _run_update(answer, seed, 2 * [torch.tensor([4, 0, 2, 5, 6])], value_coef=0.15, max_norm=1e9)


@ppo_update.case
def the_gradient_clipped(answer, seed):
    """The gradient of all parameters together is clipped to max_norm at every step."""
    return _run_update(answer, seed, [torch.tensor([0, 2, 5, 6]), torch.tensor([1, 2, 4])], max_norm=0.05)


@ppo_update.case
def max_norm_by_default(answer, seed):
    """max_norm is 1 where nothing is said, and a gradient shorter than that stays as it is."""
    short = _run_update(answer, seed, [torch.tensor([1, 4, 5])], value_coef=1e-3)
    long = _run_update(answer, seed, [torch.tensor([0, 2, 5])], value_coef=50.0)
    return {"short_norms": short["gradient_norms"], "long_norms": long["gradient_norms"]} | {
        f"long_{name}": long[name] for name in ("losses", "policy_weights", "value_weights")
    }
