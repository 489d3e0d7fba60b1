"""Probes of chapter 10's losses: GRPO's in its normalisations, the KL inside it, and the distribution one draws from."""

import torch

from autograder.chapters.probing import as_tensor, gradients_of, mask_of, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "10_grpo"

# ---------------------------------------------------------------------------------------------------------------------
grpo_loss = Exercise(
    "grpo_loss", TOPIC, "Exercise 3: the loss", gradients={"logps": 0, "old_logps": 1, "advantages": 2}
)

_LENGTHS = [9, 2, 5, 4, 7]
_SEQ = 9


def _batch(seed: int, spread: float = 0.35) -> tuple[torch.Tensor, ...]:
    """logps, old_logps, advantages of both signs, mask; ratios on both sides of any range."""
    g = seeded(seed)
    old_logps = -0.4 - 2 * torch.rand(len(_LENGTHS), _SEQ, generator=g)
    logps = old_logps + spread * torch.randn(old_logps.shape, generator=g)
    advantages = 0.4 + torch.rand(len(_LENGTHS), generator=g)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0])[torch.randperm(5, generator=g)]
    return logps, old_logps, advantages * signs, mask_of(_LENGTHS, _SEQ)


def _sizes(mask: torch.Tensor) -> dict[str, int]:
    tokens, answers = int(mask.sum()), len(mask)
    return {"the number of answer tokens": tokens, "the number of answers": answers, "the number of places": mask.numel()}


def _loss(answer, batch, *clips, **options) -> dict:
    logps, *rest = batch
    logps = logps.clone().requires_grad_()
    loss = answer(logps, *rest, *clips, **options)
    return {"loss": loss, "gradient": gradients_of(loss, logps, to="log-probabilities")[0], "_sizes": _sizes(rest[-1])}


@grpo_loss.case
def mean_by_answer(answer, seed):
    """per="answer": the mean of each answer's tokens, and the mean of that over the answers."""
    return _loss(answer, _batch(seed), 0.2, 0.2, "answer")


@grpo_loss.case
def mean_by_token(answer, seed):
    """per="token": the mean over all answer tokens of the batch, to which long answers give more."""
    return _loss(answer, _batch(seed), 0.2, 0.2, "token")


@grpo_loss.case
def divided_by_a_constant(answer, seed):
    """per="constant": the sum over all answer tokens by max_tokens and the number of answers, however long they are."""
    return _loss(answer, _batch(seed), 0.2, 0.2, "constant", max_tokens=17)


@grpo_loss.case
def on_the_first_step(answer, seed):
    """All ratios are 1, as on the first step on a batch: nothing is clipped, and there is a gradient."""
    batch = _batch(seed, spread=0.0)
    found = {per: _loss(answer, batch, 0.2, 0.28, per, max_tokens=11) for per in ("answer", "token", "constant")}
    return {f"{name}_per_{per}": both[name] for per, both in found.items() for name in ("loss", "gradient")}


@grpo_loss.case
def a_higher_upper_end(answer, seed):
    """clip_high larger than clip_low: a good token may go farther up than a bad one goes down."""
    return _loss(answer, _batch(seed), 0.1, 0.4, "token")


@grpo_loss.case
def a_lower_lower_end(answer, seed):
    """clip_low larger than clip_high; the lower end is 1 - clip_low."""
    return _loss(answer, _batch(seed, spread=0.6), 0.45, 0.1, "constant", max_tokens=9)


@grpo_loss.case
def all_good_or_all_bad(answer, seed):
    """Only good answers, then only bad ones, with ratios far out on both sides: two of the four corners are stopped."""
    logps, old_logps, advantages, mask = _batch(seed, spread=1.0)
    good = _loss(answer, (logps, old_logps, advantages.abs(), mask), 0.2, 0.3, "token")
    bad = _loss(answer, (logps, old_logps, -advantages.abs(), mask), 0.2, 0.3, "token")
    return {f"{name}_{kind}": found[name] for kind, found in (("good", good), ("bad", bad)) for name in ("loss", "gradient")}


@grpo_loss.case
def with_an_extra_loss(answer, seed):
    """extra, one number a token, is added before the mean is taken; its gradient comes with the same weights."""
    batch, found = _batch(seed), {}
    for per in ("answer", "token", "constant"):
        extra = torch.rand(5, _SEQ, generator=seeded(seed + 1)).requires_grad_()
        loss = answer(*batch, 0.2, 0.2, per, max_tokens=13, extra=extra)
        found |= {f"loss_per_{per}": loss, f"gradient_of_extra_per_{per}": gradients_of(loss, extra, to="extra loss")[0]}
    return found


@grpo_loss.case
def anything_finite_on_padding(answer, seed):
    """On padding the log-probabilities are a hundred nats apart and extra is huge: nothing of that reaches the loss."""
    logps, old_logps, advantages, mask = _batch(seed)
    logps, old_logps = logps.masked_fill(mask == 0, -0.5), old_logps.masked_fill(mask == 0, -100.0)
    extra = torch.full((5, _SEQ), 0.25).masked_fill(mask == 0, 1e6)
    found = {per: _loss(answer, (logps, old_logps, advantages, mask), 0.2, 0.2, per, max_tokens=8, extra=extra)
             for per in ("answer", "token", "constant")}  # fmt: skip
    return {f"{name}_per_{per}": both[name] for per, both in found.items() for name in ("loss", "gradient")}


# ---------------------------------------------------------------------------------------------------------------------
kl_gradient = Exercise("kl_gradient", TOPIC, "Exercise 4: nine gradients")


def _two(seed: int, prompts: int = 3, answers: int = 5, apart: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a policy and of a reference, in float64; neither is normalised."""
    g = seeded(seed)
    ref = torch.randn(prompts, answers, generator=g, dtype=torch.float64)
    return ref + apart * torch.randn(prompts, answers, generator=g, dtype=torch.float64) + 0.7, ref


def _gradients(answer, seed: int, use: str) -> dict:
    found = {k: as_tensor(answer(*_two(seed), k, use), "The gradient") for k in ("k1", "k2", "k3")}
    return {f"{use}_{k}": gradient for k, gradient in found.items()}


@kl_gradient.case(rtol=1e-7)
def as_a_loss(answer, seed):
    """Each estimator as a loss: differentiated, at samples whose chances are not. The dtype is that of the logits."""
    found = _gradients(answer, seed, "loss")
    return found | {"dtype": str(found["loss_k2"].dtype)}


@kl_gradient.case(rtol=1e-7)
def as_a_reward(answer, seed):
    """Each estimator as a price in the reward: a constant, times ∇ log p."""
    return _gradients(answer, seed, "reward")


@kl_gradient.case(rtol=1e-7)
def times_the_ratio(answer, seed):
    """Each estimator times the ratio, both differentiated."""
    return _gradients(answer, seed, "ratio")


@kl_gradient.case(rtol=1e-7)
def far_from_the_reference(answer, seed):
    """A policy some nats from its reference, with one prompt and with seven."""
    far = {k: answer(*_two(seed, 1, 9, 2.5), k, use) for k, use in (("k1", "reward"), ("k3", "loss"), ("k2", "ratio"))}
    many = {k: answer(*_two(seed, 7, 3), k, use) for k, use in (("k2", "loss"), ("k3", "ratio"))}
    return {f"far_{k}": as_tensor(x, "The gradient") for k, x in far.items()} | {
        f"seven_prompts_{k}": as_tensor(x, "The gradient") for k, x in many.items()
    }


@kl_gradient.case
def where_policy_and_reference_are_equal(answer, seed):
    """Policy and reference are the same: nothing pulls, in none of the nine."""
    logits, _ = _two(seed)
    nine = [(k, use) for k in ("k1", "k2", "k3") for use in ("loss", "reward", "ratio")]
    pulls = [as_tensor(answer(logits, logits - 0.3, *pair), "The gradient") for pair in nine]
    moved = as_tensor(answer(*_two(seed), "k2", "loss"), "The gradient")
    return {"largest_pull": bool(max(float(p.abs().max()) for p in pulls) < 1e-8), "elsewhere_k2_as_loss": moved}


# ---------------------------------------------------------------------------------------------------------------------
kl_term = Exercise("kl_term", TOPIC, "Exercise 5: a KL for the loss", gradients={"logps": 0, "old_logps": 1, "ref_logps": 2})


def _three(seed: int, answers: int, apart: float = 0.8) -> tuple[torch.Tensor, ...]:
    """Log-probabilities of all answers under policy, older policy and reference, in float64."""
    g = seeded(seed)
    start = torch.randn(answers, generator=g, dtype=torch.float64)
    return tuple((start + apart * torch.randn(answers, generator=g, dtype=torch.float64)).log_softmax(-1) for _ in range(3))


def _term(answer, logps, old_logps, ref_logps) -> torch.Tensor:
    term = as_tensor(answer(logps, old_logps, ref_logps), "The penalty")
    if term.shape != logps.shape:
        shapes = f"of shape {tuple(logps.shape)}; yours has {tuple(term.shape)}"
        raise Unexpected(f"One number for each sample is asked for, {shapes}.")
    return term


@kl_term.case
def of_each_sample(answer, seed):
    """Each number depends on its own sample, and none is negative."""
    logps, old_logps, ref_logps = (x.view(3, 7) for x in _three(seed, 21))
    return {"penalty": _term(answer, logps, old_logps, ref_logps)}


@kl_term.case
def by_the_policy_itself(answer, seed):
    """Samples of the policy itself: the expectation over all answers is the KL, and so is its gradient."""
    g = seeded(seed)
    logits = torch.randn(7, generator=g, dtype=torch.float64).requires_grad_()
    ref_logps = torch.randn(7, generator=g, dtype=torch.float64).log_softmax(-1)
    logps = logits.log_softmax(-1)
    expected = (logps.detach().exp() * _term(answer, logps, logps.detach(), ref_logps)).sum()
    return {"expectation": expected, "gradient": gradients_of(expected, logits, what="The penalty")[0]}


@kl_term.case
def by_an_older_policy(answer, seed):
    """Samples of an older policy: the expectation over them is still the KL of the present one, with its gradient."""
    _, old_logps, ref_logps = _three(seed, 9)
    logits = torch.randn(9, generator=seeded(seed + 1), dtype=torch.float64).requires_grad_()
    expected = (old_logps.exp() * _term(answer, logits.log_softmax(-1), old_logps, ref_logps)).sum()
    return {"expectation": expected, "gradient": gradients_of(expected, logits, what="The penalty")[0]}


@kl_term.case
def near_the_reference(answer, seed):
    """A policy that has hardly moved: tiny penalties are exact to a thousandth."""
    g = seeded(seed)
    ref_logps = (-1 - torch.rand(3, 5, generator=g, dtype=torch.float64))
    logps = ref_logps + 1e-2 * torch.randn(3, 5, generator=g, dtype=torch.float64)
    return {"penalty": 1e4 * _term(answer, logps, logps - 0.3, ref_logps)}


# ---------------------------------------------------------------------------------------------------------------------
drawn_logps = Exercise("drawn_logps", TOPIC, "Exercise 6: scored as it was drawn", fresh=True)


def _logits(seed: int, *shape: int) -> torch.Tensor:
    return 1.7 * torch.randn(*shape, generator=seeded(seed))


def _tokens(seed: int, vocab: int, *shape: int) -> torch.Tensor:
    return torch.randint(vocab, shape, generator=seeded(seed + 3))


def _scored(answer, logits, tokens, *settings) -> torch.Tensor:
    return as_tensor(answer(logits, tokens, *settings), "The log-probabilities")


@drawn_logps.case
def as_the_model_says(answer, seed):
    """Temperature 1 and all tokens, which is the default: log p of the model."""
    logits, tokens = _logits(seed, 3, 5, 7), _tokens(seed, 7, 3, 5)
    return {"logps": _scored(answer, logits, tokens), "said_aloud": _scored(answer, logits, tokens, 1.0, 1.0)}


@drawn_logps.case
def at_another_temperature(answer, seed):
    """Drawn at a temperature of 0.7 and of 1.6: the logits were divided by it."""
    logits, tokens = _logits(seed, 3, 5, 7), _tokens(seed, 7, 3, 5)
    return {f"temperature_{t}": _scored(answer, logits, tokens, t) for t in (0.7, 1.6)}


@drawn_logps.case
def from_the_most_likely(answer, seed):
    """top_p of 0.75 and 0.9: what is kept is normalised anew, and what is left out has -inf."""
    logits = torch.tensor([0.4, 0.25, 0.15, 0.12, 0.08]).log()[torch.randperm(5, generator=seeded(seed))].repeat(5, 1)
    tokens = torch.arange(5)
    return {f"top_p_{p}": _scored(answer, logits, tokens, 1.0, p) for p in (0.75, 0.9, 0.3)}


@drawn_logps.case
def on_the_boundary(answer, seed):
    """Chances of 1/2, 1/4, 1/8, 1/8 and top_p = 0.75: two tokens have that sum, and a third is not needed."""
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()[torch.randperm(4, generator=seeded(seed))].repeat(4, 1)
    kept = _scored(answer, logits, torch.arange(4), 1.0, 0.75)
    return {"could_be_drawn": torch.isfinite(kept), "logps": kept}


@drawn_logps.case
def both_at_once(answer, seed):
    """The temperature first, then top_p of the distribution at that temperature."""
    logits = torch.tensor([2.0, 1.1, 0.3, -0.4, -1.5, -2.0])[torch.randperm(6, generator=seeded(seed))].repeat(6, 1)
    pairs = {"warm": (1.8, 0.8), "cold": (0.5, 0.8), "a_single_token": (1.0, 0.05)}
    return {name: _scored(answer, logits, torch.arange(6), *pair) for name, pair in pairs.items()}


@drawn_logps.case
def hardly_ever_drawn(answer, seed):
    """All tokens are kept by top_p = 1, also those that come once in a hundred million draws: after rounding, the sum of the
    others is 1 already."""
    logits = torch.tensor([18.0, -0.5, -1.0, -2.5])[torch.randperm(4, generator=seeded(seed))].repeat(4, 1)
    return {"all_kept": _scored(answer, logits, torch.arange(4)), "colder": _scored(answer, logits, torch.arange(4), 0.8, 1.0)}


@drawn_logps.case
def gradient_at_the_logits(answer, seed):
    """The gradient reaches the logits, is finite, and is 0 at tokens that could not be drawn."""
    logits = _logits(seed, 4, 6).requires_grad_()
    tokens = logits.detach().argmax(-1)
    logps = _scored(answer, logits, tokens, 0.8, 0.85)
    return {"gradient": gradients_of(logps, logits, what="What is returned")[0]}
