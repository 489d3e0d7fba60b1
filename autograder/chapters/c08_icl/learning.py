"""Probes of chapter 08's training loop, and of its open task: to predict from rows alone, without the tables."""

from types import SimpleNamespace

import torch

from autograder.chapters.probing import as_tensor, asked_once, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "08_icl"

# The first optimizer in a process imports torch's compiler, which takes seconds.
train_in_context = Exercise(
    "train_in_context", TOPIC, "Exercise 8: the training loop", needs=("torch._dynamo",), trains=True, plain=True
)  # fmt: skip

_ROWS, _PAIRS, _VOCAB = 3, 4, 11


class _Model(torch.nn.Module):
    """A causal model: the mean of what was read up to a place, the near more, and a linear map."""

    def __init__(self, seed: int):
        super().__init__()
        g = seeded(seed)
        self.a = torch.nn.Parameter(torch.randn(_VOCAB, 5, generator=g))
        self.b = torch.nn.Parameter(torch.randn(5, _VOCAB, generator=g))

    def forward(self, input_ids, **others):
        back = torch.arange(input_ids.shape[1])
        distance = (back[:, None] - back).float()
        near = torch.where(distance >= 0, 0.7**distance, 0.0)
        return SimpleNamespace(logits=(near @ self.a[input_ids]) @ self.b)


def _trained(answer, seed: int, updates: int = 1, rate: float = 0.05, **options) -> dict:
    g, model, drawn = seeded(seed), _Model(seed + 1), []

    def draw():
        drawn.append(model.a.detach().clone())
        xs = torch.randint(6, (_ROWS, _PAIRS), generator=g)
        ys = torch.randint(6, _VOCAB, (_ROWS, _PAIRS), generator=g)
        return torch.stack([xs, ys], 2).flatten(1)

    optimizer = noting_sgd([{"params": [model.a]}, {"params": [model.b]}], lr=9.0)
    losses = answer(model, optimizer, draw, updates, lambda s: rate * (1 + s) ** 0.5, **options)
    return {
        "losses": plain_losses(losses, "train_in_context", "one an update"),
        "learning_rates": torch.tensor(optimizer.rates),
        "gradient_norms": torch.tensor(optimizer.norms),
        "weights": torch.cat([model.a.detach().flatten(), model.b.detach().flatten()]),
        "rows_drawn": len(drawn),
    }


@train_in_context.case
def one_update(answer, seed):
    """One update: the mean of -log p over all labels, each from what stands before it; inputs are not learned from."""
    return _trained(answer, seed, max_norm=1e9)


@train_in_context.case
def several_updates(answer, seed):
    """Four updates: new rows each time, a gradient that starts from nothing, and the learning rate of each update."""
    return _trained(answer, seed, updates=4, max_norm=1e9)


@train_in_context.case
def the_gradient_clipped(answer, seed):
    """The gradient of all parameters together is scaled to max_norm where it is longer; max_norm is 1 by default."""
    short, default = _trained(answer, seed, updates=2, max_norm=0.05), _trained(answer, seed, updates=2)
    return short | {f"by_default_{name}": default[name] for name in ("weights", "gradient_norms")}


# ---------------------------------------------------------------------------------------------------------------------
predict_from_rows = Exercise("predict_from_rows", TOPIC, "Exercise 10: rows alone", open=True, needs=("torch._dynamo",))

TABLES, INPUTS, LABELS, NOISE = 6, 12, 5, 0.1
READ, PAIRS, TESTED, SHOTS = 400, 8, 150, 4


def world(seed: int) -> tuple[torch.Tensor, ...]:
    """The tables, (TABLES, INPUTS); rows to learn from, xs and ys (READ, PAIRS); rows to be tested on, xs (TESTED, SHOTS + 1)
    and ys (TESTED, SHOTS): the label of the last input is what is asked."""
    g = seeded(seed)
    tables = torch.randint(LABELS, (TABLES, INPUTS), generator=g)
    parts = []
    for rows, pairs in ((READ, PAIRS), (TESTED, SHOTS + 1)):
        which = torch.randint(TABLES, (rows,), generator=g)
        xs = torch.randint(INPUTS, (rows, pairs), generator=g)
        ys = tables[which].gather(1, xs)
        noisy = torch.rand(ys.shape, generator=g) < NOISE
        parts += [xs, torch.where(noisy, torch.randint(LABELS, ys.shape, generator=g), ys)]
    return tables, parts[0], parts[1], parts[2], parts[3][:, :SHOTS]


@asked_once
def _predicted(answer, seed: int) -> dict:
    _, *rows = world(seed)
    probs = as_tensor(answer(*rows, LABELS, seeded(seed + 5)), "The probabilities").detach()
    if probs.shape != (TESTED, LABELS):
        raise Unexpected(f"Probabilities of shape {(TESTED, LABELS)} are asked for; yours have {tuple(probs.shape)}.")
    return {"probabilities": probs, "seed": seed}


@predict_from_rows.case(rule="within_80_of_bayes")
def within_80(answer, seed):
    """On rows never seen, the predictions are on average at most 0.80 nats away from those of exact inference."""
    return _predicted(answer, seed, first=True)


@predict_from_rows.case(rule="within_40_of_bayes")
def within_40(answer, seed):
    """The same with a bar of 0.40."""
    return _predicted(answer, seed)


@predict_from_rows.case(rule="within_15_of_bayes")
def within_15(answer, seed):
    """The same with a bar of 0.15."""
    return _predicted(answer, seed)


@predict_from_rows.case(rule="within_06_of_bayes")
def within_06(answer, seed):
    """The same with a bar of 0.06."""
    return _predicted(answer, seed)
