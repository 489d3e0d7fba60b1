"""Probes of chapter 06's first half: rewards and policies, DPO's loss, how hard a pair pulls, and its expectation."""

import torch

from autograder.chapters.probing import as_number, as_tensor, gradients_of, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "06_dpo"


# ---------------------------------------------------------------------------------------------------------------------
recovered_rewards = Exercise("recovered_rewards", TOPIC, "Exercise 1: the reward inside a policy")


def _policy(seed: int, prompts: int, answers: int, spread: float = 1.5) -> torch.Tensor:
    """Log-probabilities of answers, (prompts, answers), each row another distribution."""
    return (spread * torch.randn(prompts, answers, generator=seeded(seed))).log_softmax(-1)


@recovered_rewards.case
def several_prompts(answer, seed):
    """Three prompts, seven answers: beta times the log-ratio, shifted for each prompt to mean 0 under the reference."""
    return {"rewards": as_tensor(answer(_policy(seed, 3, 7), _policy(seed + 1, 3, 7), 0.4), "The result")}


@recovered_rewards.case
def a_large_beta(answer, seed):
    """beta is 2.5 here: the rewards grow with it."""
    return {"rewards": as_tensor(answer(_policy(seed, 2, 5), _policy(seed + 1, 2, 5), 2.5), "The result")}


@recovered_rewards.case
def rewards_of_a_known_optimum(answer, seed):
    """The policy is the optimum for given rewards: those come back, but for a constant for each prompt."""
    ref_logps, beta = _policy(seed, 3, 5), 0.3
    rewards = 2 * torch.randn(3, 5, generator=seeded(seed + 2)) + torch.tensor([[4.0], [-3.0], [0.5]])
    optimum = (ref_logps + rewards / beta).log_softmax(-1)
    return {"rewards": as_tensor(answer(optimum, ref_logps, beta), "The result")}


@recovered_rewards.case
def nothing_was_learned(answer, seed):
    """Policy and reference are equal: all rewards are 0."""
    logps = _policy(seed, 2, 7)
    # Only how near 0 they are is asked: what is left is rounding.
    return {"all_are_0": bool(as_tensor(answer(logps, logps.clone(), 0.7), "The result").abs().max() < 1e-4)}


@recovered_rewards.case
def answers_that_are_excluded(answer, seed):
    """Some answers have probability 0 under both: their reward is 0, and they disturb nothing."""
    logits, ref_logits = (torch.randn(3, 7, generator=seeded(seed + i)) for i in range(2))
    for row, columns in enumerate(([1], [], [0, 5, 6])):
        logits[row, columns], ref_logits[row, columns] = -float("inf"), -float("inf")
    return {"rewards": as_tensor(answer(logits.log_softmax(-1), ref_logits.log_softmax(-1), 0.5), "The result")}


@recovered_rewards.case
def hardly_possible_answers(answer, seed):
    """An answer may have a log-probability of -200 under one of the two: its reward is as finite as any."""
    logits, ref_logits = (torch.randn(2, 5, generator=seeded(seed + i)) for i in range(2))
    logits[0, 1], ref_logits[1, 3] = -200.0, -200.0
    return {"rewards": as_tensor(answer(logits.log_softmax(-1), ref_logits.log_softmax(-1), 0.2), "The result")}


# ---------------------------------------------------------------------------------------------------------------------
_FOUR = {"chosen_logps": 0, "rejected_logps": 1, "ref_chosen_logps": 2, "ref_rejected_logps": 3}
dpo_loss = Exercise("dpo_loss", TOPIC, "Exercise 2: the loss", gradients=_FOUR)


def _pairs(seed: int, pairs: int, apart: float = 3.0) -> list[torch.Tensor]:
    """Log-probabilities of whole answers under policy and reference, (pairs,) each: chosen, rejected, and the same again."""
    g = seeded(seed)
    ref = [-4 - 9 * torch.rand(pairs, generator=g) for _ in range(2)]
    moved = [logps + apart * torch.randn(pairs, generator=g) for logps in ref]
    moved[1] = moved[1] - 0.7
    return [*moved, *ref]


def _loss(answer, four: list[torch.Tensor], *rest, **named) -> dict:
    chosen, rejected = (x.requires_grad_() for x in four[:2])
    loss = answer(chosen, rejected, *four[2:], *rest, **named)
    gradients = gradients_of(loss, chosen, rejected, to="log-probabilities")
    sizes = {"the number of pairs": len(chosen)}
    return {"loss": loss, "gradient_of_chosen": gradients[0], "gradient_of_rejected": gradients[1], "_sizes": sizes}


@dpo_loss.case
def several_pairs(answer, seed):
    """Seven pairs: the mean of -log sigma(margin), and its gradients."""
    return _loss(answer, _pairs(seed, 7), 0.3)


@dpo_loss.case
def another_beta(answer, seed):
    """beta is 1.6: it multiplies both log-ratios."""
    return _loss(answer, _pairs(seed, 5, 1.0), 1.6)


@dpo_loss.case
def at_the_start(answer, seed):
    """Policy and reference are equal: every pair has the loss log 2, and a gradient."""
    _, _, *ref = _pairs(seed, 3)
    return _loss(answer, [x.clone() for x in ref] + ref, 0.2)


@dpo_loss.case
def a_single_pair(answer, seed):
    """A batch of one pair."""
    return _loss(answer, _pairs(seed, 1), 0.5)


@dpo_loss.case
def labels_smoothed(answer, seed):
    """label_smoothing = 0.2: with this probability the label is taken to be the wrong way round."""
    return _loss(answer, _pairs(seed, 5), 0.4, 0.2)


@dpo_loss.case
def smoothed_by_name(answer, seed):
    """label_smoothing=0.35, given by name, with margins of either sign."""
    return _loss(answer, _pairs(seed, 9, 4.0), 0.6, label_smoothing=0.35)


@dpo_loss.case
def margins_of_any_size(answer, seed):
    """Margins of several hundred, either way: loss and gradients are finite, with smoothing and without."""
    chosen, rejected, *ref = _pairs(seed, 4)
    far = torch.tensor([900.0, -900.0, 400.0, -300.0])
    plain = _loss(answer, [chosen + far, rejected, *ref], 0.5)
    smoothed = _loss(answer, [(chosen + far).detach(), rejected.detach(), *ref], 0.5, label_smoothing=0.1)
    return plain | {f"smoothed_{name}": value for name, value in smoothed.items() if not name.startswith("_")}


# ---------------------------------------------------------------------------------------------------------------------
pair_weights = Exercise("pair_weights", TOPIC, "Exercise 3: how hard a pair pulls")


@pair_weights.case
def without_smoothing(answer, seed):
    """Margins of either sign: a pair in the wrong order pulls harder than one in the right order."""
    return {"weights": as_tensor(answer(1.5 * torch.randn(7, generator=seeded(seed))), "The result")}


@pair_weights.case
def with_smoothing(answer, seed):
    """label_smoothing = 0.15: the weights are those of the smoothed loss, negative ones too."""
    margins = torch.cat([2 * torch.randn(6, generator=seeded(seed)), torch.tensor([3.0 + seed % 3, -4.0])])
    return {"weights": as_tensor(answer(margins, 0.15), "The result")}


@pair_weights.case
def another_smoothing(answer, seed):
    """label_smoothing=0.4, given by name: most pairs pull little."""
    return {"weights": as_tensor(answer(torch.randn(5, generator=seeded(seed)), label_smoothing=0.4), "The result")}


@pair_weights.case
def margins_far_from_zero(answer, seed):
    """Margins of plus and minus 500: no NaN."""
    margins = torch.tensor([500.0, -500.0, 1.0 + seed % 5, -80.0])
    return {"weights": as_tensor(answer(margins), "The result"), "smoothed": as_tensor(answer(margins, 0.1), "The result")}


@pair_weights.case
def small_weights(answer, seed):
    """Margins between 10 and 30: the weights are tiny and not 0, exact to four digits."""
    margins = 10 + 20 * torch.rand(5, generator=seeded(seed))
    return {"logarithms_of_the_weights": as_tensor(answer(margins), "The result").log()}


# ---------------------------------------------------------------------------------------------------------------------
implicit_rewards = Exercise("implicit_rewards", TOPIC, "Exercise 4: implicit rewards")

_KEYS = ("chosen", "rejected", "margins", "accuracy")


def _rewards(found) -> dict:
    if not isinstance(found, dict) or set(found) != set(_KEYS):
        raise Unexpected(f"A dictionary with the keys {', '.join(_KEYS)} should come back; yours is {_what(found)}.")
    return {k: as_tensor(found[k], f'"{k}"') for k in _KEYS[:3]} | {"accuracy": as_number(found["accuracy"], '"accuracy"')}


def _what(found) -> str:
    return f"one with {', '.join(map(str, found))}" if isinstance(found, dict) else f"a {type(found).__name__}"


@implicit_rewards.case
def of_several_pairs(answer, seed):
    """Nine pairs: the implicit rewards, the margins, and the share of pairs in the right order."""
    return _rewards(answer(*_pairs(seed, 9), 0.3)) | {"_sizes": {"the number of pairs": 9}}


@implicit_rewards.case
def with_a_large_beta(answer, seed):
    """beta is 2: rewards and margins grow with it, the accuracy does not."""
    return _rewards(answer(*_pairs(seed, 5), 2.0))


@implicit_rewards.case
def ties_count_half(answer, seed):
    """Two of seven pairs have equal log-ratios: each counts as half right."""
    chosen, rejected, ref_chosen, ref_rejected = _pairs(seed, 7)
    for place in (1, 4):  # multiples of 1/4: no rounding
        numbers = torch.tensor([-7.25, -6.0, -8.5, -7.25]) - place
        chosen[place], rejected[place], ref_chosen[place], ref_rejected[place] = numbers
    return _rewards(answer(chosen, rejected, ref_chosen, ref_rejected, 0.5))


@implicit_rewards.case
def before_the_first_step(answer, seed):
    """Policy and reference are equal: all rewards are 0 and the accuracy is one half."""
    _, _, *ref = _pairs(seed, 5)
    return _rewards(answer(*(x.clone() for x in ref), *ref, 0.4))


@implicit_rewards.case
def likelier_and_yet_worse(answer, seed):
    """The chosen answers are all likelier than the rejected ones; what counts is the ratio to the reference."""
    ref_rejected = -12 - 3 * torch.rand(5, generator=seeded(seed))
    ref_chosen = ref_rejected + 8
    moved = torch.tensor([1.0, -1.0, -2.0, -0.5, -3.0])
    return _rewards(answer(ref_chosen + moved, ref_rejected.clone(), ref_chosen, ref_rejected, 0.3))


@implicit_rewards.case
def numbers_to_look_at(answer, seed):
    """No gradient flows from what comes back, also where the log-probabilities come with one."""
    chosen, rejected, *ref = _pairs(seed, 3)
    found = _rewards(answer(chosen.requires_grad_(), rejected.requires_grad_(), *ref, 0.3))
    return {"margins": found["margins"], "a_gradient_flows": any(found[k].requires_grad for k in _KEYS[:3])}


# ---------------------------------------------------------------------------------------------------------------------
expected_dpo_loss = Exercise(
    "expected_dpo_loss", TOPIC, "Exercise 5: all pairs at once", gradients={"logps": 0, "ref_logps": 1, "rewards": 2}
)


def _expected(answer, logps, ref_logps, rewards, beta: float) -> dict:
    logps = logps.detach().requires_grad_()
    loss = answer(logps, ref_logps, rewards, beta)
    sizes = {"the number of prompts": logps.shape[0], "the number of answers": logps.shape[1]}
    gradient = gradients_of(loss, logps, to="log-probabilities")[0]
    return {"loss": loss, "gradient": gradient, "_sizes": sizes}


def _utilities(seed: int, prompts: int, answers: int) -> torch.Tensor:
    return 1.5 * torch.randn(prompts, answers, generator=seeded(seed + 3)) + 0.4


@expected_dpo_loss.case
def a_policy_on_its_way(answer, seed):
    """Three prompts, seven answers, a policy away from the reference: loss and gradient."""
    return _expected(answer, _policy(seed, 3, 7), _policy(seed + 1, 3, 7), _utilities(seed, 3, 7), 0.7)


@expected_dpo_loss.case
def a_small_beta(answer, seed):
    """beta is 0.1: it scales the margins of the policy, not those of the annotators."""
    return _expected(answer, _policy(seed, 2, 5), _policy(seed + 1, 2, 5), _utilities(seed, 2, 5), 0.1)


@expected_dpo_loss.case
def at_the_reference(answer, seed):
    """At the reference the loss is log 2, and the gradient points to what the annotators like."""
    ref_logps = _policy(seed, 3, 5)
    return _expected(answer, ref_logps.clone(), ref_logps, _utilities(seed, 3, 5), 0.5)


@expected_dpo_loss.case
def at_the_optimum(answer, seed):
    """At the optimum for these rewards the gradient is 0, to rounding; the loss is not."""
    ref_logps, rewards, beta = _policy(seed, 3, 5), _utilities(seed, 3, 5), 0.5
    found = _expected(answer, (ref_logps + rewards / beta).log_softmax(-1), ref_logps, rewards, beta)
    return {"loss": found["loss"], "gradient_is_0": bool(found["gradient"].abs().max() < 1e-4)}


@expected_dpo_loss.case
def annotators_without_opinion(answer, seed):
    """All rewards are equal: the annotators toss coins, and the loss pulls back to the reference."""
    return _expected(answer, _policy(seed, 2, 5), _policy(seed + 1, 2, 5), torch.full((2, 5), 1.5), 0.6)


@expected_dpo_loss.case
def rewards_far_apart(answer, seed):
    """Rewards a hundred points apart, and log-ratios as large: the loss is finite, and so is its gradient."""
    rewards, logits = 60 * _utilities(seed, 2, 5), torch.randn(2, 5, generator=seeded(seed))
    logits[:, 1] = -150.0
    return _expected(answer, logits.log_softmax(-1), _policy(seed + 1, 2, 5), rewards, 2.0)
