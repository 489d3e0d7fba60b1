"""Probes of chapter 05's training loop: from a batch of judged answers to the steps of an optimizer."""

import torch

from autograder.chapters.probing import as_pair, mask_of, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "05_ppo"

# The first optimizer in a process imports torch's compiler, which takes seconds.
ppo_update = Exercise("ppo_update", TOPIC, "Exercise 8: the training loop", needs=("torch._dynamo",))

_ROWS, _SEQ = 7, 5


def _updated(answer, seed: int, minibatches, moved: float = 0.0, **changed) -> dict:
    """Update two small models: log-probabilities and values are functions of four weights each. moved: how far the policy
    has moved since the answers were drawn, in nats a token.
    """
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
        "tokens": torch.randint(3, 99, (_ROWS, _SEQ), generator=g),
        "scores": 1.5 * torch.randn(_ROWS, generator=g) + 0.5,
        "logps": logps + moved * torch.randn(_ROWS, _SEQ, generator=seeded(seed + 5)),
        "ref_logps": logps + 0.8 * torch.randn(_ROWS, _SEQ, generator=g),
        "values": values,
        "mask": mask_of([5, 2, 4, 1, 3, 5, 2], _SEQ),
    }
    settings = {
        "beta": 0.4, "gamma": 0.9, "lam": 0.8, "clip_range": 0.2, "value_clip": 0.3, "value_coef": 0.7, "epochs": 1,
        "max_norm": 1e9,
    } | changed  # fmt: skip
    settings = {name: value for name, value in settings.items() if value is not None}
    optimizer = noting_sgd([{"params": [policy]}, {"params": [value], "lr": 0.5}], lr=1.0)
    losses, stopped = as_pair(answer(evaluate, batch, minibatches, optimizer, **settings), "losses and clip fractions")
    return {
        "losses": plain_losses(losses, "ppo_update", "one a gradient step"),
        "clip_fractions": plain_losses(stopped, "ppo_update", "and a list of clip fractions"),
        "gradient_norms": torch.tensor(optimizer.norms),
        "policy_weights": policy.detach(),
        "value_weights": value.detach(),
    }


@ppo_update.case
def one_step(answer, seed):
    """One minibatch of all rows: one gradient step on clipped_policy_loss + value_coef * value_loss."""
    return _updated(answer, seed, [torch.arange(_ROWS)])


@ppo_update.case
def several_epochs(answer, seed):
    """Three epochs of the same rows: rewards, advantages, old log-probabilities and values stay those of the rollout."""
    return _updated(answer, seed, [torch.arange(_ROWS)], epochs=3, clip_range=0.05, value_clip=0.1)


@ppo_update.case
def rows_in_any_order(answer, seed):
    """Minibatches of some rows each, in any order: each has its own old numbers, and the batch's advantages."""
    order = torch.randperm(_ROWS, generator=seeded(seed + 3))
    return _updated(answer, seed, [order[:3], order[3:], order[2:5]])


@ppo_update.case
def drawn_by_an_older_policy(answer, seed):
    """The policy has moved since the answers were drawn: from the first step on, ratios lie on both sides of the range."""
    return _updated(answer, seed, [torch.arange(_ROWS)], moved=0.5, clip_range=0.1)


@ppo_update.case
def epochs_of_minibatches(answer, seed):
    """Two epochs of two minibatches are four steps: the first, the second, the first again, the second again."""
    order = torch.randperm(_ROWS, generator=seeded(seed + 4))
    return _updated(answer, seed, [order[:4], order[4:]], epochs=2, clip_range=0.05)


@ppo_update.case
def how_the_rewards_are_made(answer, seed):
    """Another beta, gamma and lam: rewards are made of scores and log-ratios, advantages and returns of rewards."""
    return _updated(answer, seed, [torch.tensor([4, 0, 2, 5, 6])], beta=1.3, gamma=0.7, lam=0.5)


@ppo_update.case
def how_much_the_value_counts(answer, seed):
    """value_coef weighs the value model's loss; here it is 0.15."""
    return _updated(answer, seed, [torch.tensor([4, 0, 2, 5, 6])], epochs=2, value_coef=0.15)


@ppo_update.case
def the_gradient_clipped(answer, seed):
    """The gradient of all parameters together is clipped to max_norm at every step."""
    return _updated(answer, seed, [torch.tensor([0, 2, 5, 6]), torch.tensor([1, 2, 4])], max_norm=0.05)


@ppo_update.case
def max_norm_by_default(answer, seed):
    """max_norm is 1 where nothing is said, and a gradient shorter than that stays as it is."""
    few = [torch.tensor([1, 4])]
    short = _updated(answer, seed, few, value_coef=1e-3, beta=0.0, clip_range=0.0, max_norm=None)
    long = _updated(answer, seed, [torch.tensor([0, 2, 5])], value_coef=50.0, max_norm=None)
    return {"short_norms": short["gradient_norms"], "long_norms": long["gradient_norms"]} | {
        f"long_{name}": long[name] for name in ("losses", "policy_weights", "value_weights")
    }
