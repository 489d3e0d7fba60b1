"""Probes of chapter 10's training loop, and of its open task: to learn from checks, of which there are few."""

import torch

from autograder.chapters.probing import as_number, as_tensor, asked_once, mask_of, noting_sgd, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "10_grpo"

# The first optimizer in a process imports torch's compiler, which takes seconds.
# It is plain: but for the policy, which it trains, it is given functions and numbers.
train_grpo = Exercise("train_grpo", TOPIC, "Exercise 9: the training loop", needs=("torch._dynamo",), plain=True, trains=True)

_PROMPTS, _K, _SEQ = 3, 5, 4
_SETTINGS = {"steps": 1, "clip_low": 0.2, "clip_high": 0.3, "per": "token", "max_tokens": 6, "beta": 0.0, "max_norm": 1e9}


class _Policy(torch.nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        g = seeded(seed)
        self.a = torch.nn.Parameter(0.5 * torch.randn(4, generator=g))
        self.b = torch.nn.Parameter(0.3 * torch.randn(1, generator=g))


def _trained(answer, seed: int, updates: int = 1, **changed) -> dict:
    """Train a policy with five weights. Each batch of "answers" is drawn with the policy as it is then."""
    g, policy, draws = seeded(seed), _Policy(seed + 1), []

    def logps_of(batch):
        if not isinstance(batch, dict) or "features" not in batch:
            raise Unexpected("logps_of should be called with the dictionary that sample() gave.")
        return torch.nn.functional.logsigmoid(batch["features"] @ policy.a + policy.b)

    def sample():
        batch = {"features": torch.randn(_PROMPTS * _K, _SEQ, 4, generator=g)}
        batch["rewards"] = (torch.rand(_PROMPTS, _K, generator=g) < 0.5).float() + 0.5 * torch.rand(_PROMPTS, _K, generator=g)
        batch["mask"] = mask_of([1 + i % _SEQ for i in range(_PROMPTS * _K)], _SEQ)
        with torch.no_grad():
            batch["logps"] = logps_of(batch)
        batch["ref_logps"] = batch["logps"] + 0.7 * torch.randn(batch["logps"].shape, generator=g)
        draws.append(policy.a.detach().clone())
        return batch

    settings = {name: value for name, value in (_SETTINGS | changed).items() if value is not None}
    optimizer = noting_sgd([{"params": [policy.a]}, {"params": [policy.b], "lr": 0.4}], lr=1.0)
    earned = answer(policy, optimizer, sample, logps_of, updates, **settings)
    return {
        "mean_rewards": _plain_numbers(earned),
        "gradient_norms": torch.tensor(optimizer.norms),
        "weights": torch.cat([policy.a.detach(), policy.b.detach()]),
        "weights_that_drew": torch.stack(draws) if draws else torch.zeros(0, 4),
    }


def _plain_numbers(earned) -> torch.Tensor:
    if not isinstance(earned, (list, tuple)):
        raise Unexpected(f"train_grpo should return a list of mean rewards, one an update; it returned {type(earned).__name__}.")
    if any(isinstance(x, torch.Tensor) for x in earned):
        raise Unexpected("The mean rewards in your list are tensors; plain numbers are asked for. Keep .item() of each.")
    return torch.tensor([as_number(x, "Each mean reward in the list") for x in earned])


@train_grpo.case
def one_step(answer, seed):
    """One update with one step: grpo_loss with the advantages of the groups."""
    return _trained(answer, seed)


@train_grpo.case
def several_updates(answer, seed):
    """Three updates: new answers each time, drawn by the policy as it is then; the gradient starts from nothing."""
    return _trained(answer, seed, updates=3)


@train_grpo.case
def several_steps(answer, seed):
    """Four steps on the same answers: the policy that drew them stays the old one, so the clip acts."""
    return _trained(answer, seed, steps=4, clip_low=0.05, clip_high=0.1)


@train_grpo.case
def with_a_kl(answer, seed):
    """beta = 0.4: each token also pays beta times its kl_term, in each of two steps."""
    return _trained(answer, seed, steps=2, beta=0.4)


@train_grpo.case
def by_a_constant(answer, seed):
    """per="constant" with max_tokens, and per="answer"; beta too."""
    constant = _trained(answer, seed, per="constant", max_tokens=11, beta=0.2)
    by_answer = _trained(answer, seed, per="answer", beta=0.2)
    both = {"constant": constant, "answer": by_answer}
    return {f"{name}_{kind}": found[name] for kind, found in both.items() for name in ("weights", "gradient_norms")}


@train_grpo.case
def the_gradient_clipped(answer, seed):
    """The gradient of all parameters together is scaled to max_norm where it is longer; max_norm is 1 by default."""
    short = _trained(answer, seed, updates=2, max_norm=0.01)
    default = _trained(answer, seed, per="constant", max_tokens=1, beta=50.0, max_norm=None)
    return short | {f"by_default_{name}": default[name] for name in ("weights", "gradient_norms")}


# ---------------------------------------------------------------------------------------------------------------------
learn_from_checks = Exercise(
    "learn_from_checks", TOPIC, "Exercise 10: few checks", open=True, needs=("torch._dynamo",)
)

TRAIN, HELD, ANSWERS, D = 200, 500, 16, 12
BUDGET = 200


def world(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of all prompts' answers, practised ones first, the right answers' places, and the weights to start from."""
    g = seeded(seed)
    features = torch.randn(TRAIN + HELD, ANSWERS, D, generator=g)
    truth = torch.randn(D, generator=g)
    start = 0.12 * D**0.5 * truth / truth.norm() + 0.25 * torch.randn(D, generator=g)
    return features, (features @ truth).argmax(1), start


@asked_once
def _learned(answer, seed: int) -> dict:
    features, right, start = world(seed)
    spent = 0

    def check_answers(prompts, drawn):
        nonlocal spent
        prompts, drawn = torch.as_tensor(prompts), torch.as_tensor(drawn)
        if prompts.dim() != 1 or prompts.shape != drawn.shape:
            raise Unexpected("check_answers takes two tensors of numbers of the same length.")
        spent += len(prompts)
        if spent > BUDGET:
            raise Unexpected(f"More than {BUDGET} answers were to be checked.")
        return (right[:TRAIN][prompts] == drawn).float()

    weights = as_tensor(answer(features[:TRAIN].clone(), start.clone(), check_answers, BUDGET, seeded(seed + 5)), "The weights")
    if weights.shape != start.shape:
        raise Unexpected(f"Weights of shape {tuple(start.shape)} should come back; yours have {tuple(weights.shape)}.")
    return {"weights": weights.detach(), "seed": seed}


@learn_from_checks.case(rule="right_more_often")
def more_often(answer, seed):
    """On held-out prompts the policy is right with a chance of at least 0.25."""
    return _learned(answer, seed, first=True)


@learn_from_checks.case(rule="right_half_the_time")
def half_the_time(answer, seed):
    """The same with a bar of 0.45."""
    return _learned(answer, seed)


@learn_from_checks.case(rule="right_mostly")
def mostly(answer, seed):
    """The same with a bar of 0.65."""
    return _learned(answer, seed)


@learn_from_checks.case(rule="right_nearly_always")
def nearly_always(answer, seed):
    """The same with a bar of 0.82."""
    return _learned(answer, seed)
