"""Probes of chapter 01, exercises 8 and 9: the schedule, and the training loop."""

import torch

from autograder.chapters.c01_pretraining.causal import TOPIC
from autograder.chapters.probing import as_number, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

# ---------------------------------------------------------------------------------------------------------------------
learning_rate = Exercise("learning_rate", TOPIC, "Exercise 8: warm-up and cosine decay", plain=True)


def _rates(answer, steps, *schedule) -> torch.Tensor:
    rates = [as_number(answer(step, *schedule), "The learning rate") for step in steps]
    return torch.tensor(rates, dtype=torch.float64)


@learning_rate.case
def warm_up(answer, seed):
    """The warm-up is a straight line from 0 at step 0 to max_lr at step warmup_steps."""
    warmup = 7 + seed % 5
    return {"rates": _rates(answer, range(warmup + 1), 3e-3, warmup, 53, 1e-4)}


@learning_rate.case
def decay(answer, seed):
    """From there, half a cosine down to min_lr at step total_steps, be it thirty steps later or one."""
    warmup = 5 + seed % 4
    return {
        "rates": _rates(answer, range(warmup, 42), 2e-3, warmup, 41, 3e-4),
        "rates_of_a_decay_in_one_step": _rates(answer, (warmup, warmup + 1), 2e-3, warmup, warmup + 1, 3e-4),
    }


@learning_rate.case
def after_the_end(answer, seed):
    """Beyond total_steps the rate stays at min_lr; it does not rise again."""
    total = 30 + seed % 3
    return {"rates": _rates(answer, (total + 1, total + 2, total + 9, total + 27, 2 * total), 1e-2, 3, total, 1e-3)}


@learning_rate.case
def no_warm_up(answer, seed):
    """With warmup_steps = 0 the rate is max_lr at step 0."""
    return {"rates": _rates(answer, range(0, 19, 3), 1e-3 * (1 + seed % 3), 0, 19, 0.0)}


@learning_rate.case
def without_min_lr(answer, seed):
    """min_lr is 0 where it is not given."""
    return {"rates": _rates(answer, (19, 21), 1e-3 * (1 + seed % 3), 3, 19)}


# ---------------------------------------------------------------------------------------------------------------------
train = Exercise("train", TOPIC, "Exercise 9: the training loop", trains=True)

FREE = 1e9  # a max_norm that clips nothing, where clipping is not what a case is about


def _run_training(
    answer,
    seed: int,
    steps: int,
    lr_at,
    momentum: float = 0.0,
    scale: float = 1.0,
    calls: list | None = None,
    louder_in_training: bool = False,
    one_by_one: bool = False,
    **options,
) -> dict:
    """Train a linear model on `steps` small batches and return everything that happened.

    calls: receives (step, loss, updates so far) at each call of after_step. louder_in_training: the loss is three times
    as large in training mode, so that the mode shows in it. one_by_one: the batches come from a generator.
    """
    g = seeded(seed)
    model = torch.nn.Linear(5, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g))
    model.eval()
    batches = [(torch.randn(7, 5, generator=g), scale * torch.randn(7, 3, generator=g)) for _ in range(steps)]

    def compute_loss(model, batch):
        x, y = batch
        loss = (model(x) - y).square().mean()
        return 3 * loss if louder_in_training and model.training else loss

    optimizer = noting_sgd([{"params": [model.weight]}, {"params": [model.bias]}], lr=123.0, momentum=momentum)
    if calls is not None:
        options["after_step"] = lambda step, loss: calls.append(
            (int(step), float(torch.as_tensor(loss).detach()), len(optimizer.rates))
        )
    given = (batch for batch in batches) if one_by_one else batches
    losses = answer(model, given, optimizer, lr_at, compute_loss, **options)
    return {"losses": losses, "model": model, "optimizer": optimizer}


def _loss_list(losses) -> torch.Tensor:
    """The losses as a tensor; that they are no plain numbers costs the case `plain_numbers` alone."""
    if isinstance(losses, (list, tuple)):
        losses = [loss.detach() if isinstance(loss, torch.Tensor) else loss for loss in losses]
    return plain_losses(losses, "train", "one a step")


@train.case
def losses_and_weights(answer, seed):
    """After a few steps of plain SGD: the loss of every step, measured before its update, and the final weights."""
    ran = _run_training(answer, seed, 4, lambda step: 0.05, max_norm=FREE)
    return {"losses": _loss_list(ran["losses"]), "weight": ran["model"].weight, "bias": ran["model"].bias}


@train.case
def plain_numbers(answer, seed):
    """The losses that come back are plain numbers: no tensors, on their device and in their memory."""
    losses = _run_training(answer, seed, 2, lambda step: 0.01, max_norm=FREE)["losses"]
    count = len(plain_losses(losses, "train", "one a step"))
    if any(isinstance(loss, torch.Tensor) for loss in losses):
        raise Unexpected("A loss in your list is a tensor. Keep the plain number: loss.item().")
    return {"numbers": count}


@train.case
def batches_from_a_generator(answer, seed):
    """The batches may come one by one from a generator, which has no length and no index."""
    ran = _run_training(answer, seed, 3, lambda step: 0.05, one_by_one=True, max_norm=FREE)
    return {"number_of_losses": len(_loss_list(ran["losses"])), "number_of_updates": len(ran["optimizer"].rates)}


@train.case
def learning_rates(answer, seed):
    """At step s the optimizer works with lr_at(s), s = 0, 1, 2, …, in every parameter group."""
    ran = _run_training(answer, seed, 4, lambda step: 0.01 * (1 + seed % 7) * (step + 1) ** 2, max_norm=FREE)
    return {"rates": torch.tensor(ran["optimizer"].rates)}


@train.case
def gradients_start_from_zero(answer, seed):
    """Each step uses the gradient of its own batch alone."""
    ran = _run_training(answer, seed, 3, lambda step: 0.0, max_norm=FREE)
    return {"gradient_norms": torch.tensor(ran["optimizer"].norms)}


@train.case
def clipping(answer, seed):
    """The norm of all gradients together is clipped to max_norm before the step; small gradients stay as they are."""
    large = _run_training(answer, seed, 3, lambda step: 0.01, momentum=0.5, scale=30.0, max_norm=0.7)
    small = _run_training(answer, seed, 2, lambda step: 0.01, scale=0.1, max_norm=50.0)
    unsaid = _run_training(answer, seed, 2, lambda step: 0.01, scale=30.0)
    return {
        "clipped_norms": torch.tensor(large["optimizer"].norms),
        "free_norms": torch.tensor(small["optimizer"].norms),
        "norms_without_max_norm": torch.tensor(unsaid["optimizer"].norms),
        "weight": large["model"].weight,
        "weight_without_max_norm": unsaid["model"].weight,
    }


@train.case
def training_mode(answer, seed):
    """The model is in training mode when the loss is computed (dropout is on), whatever it was before."""
    ran = _run_training(answer, seed, 2, lambda step: 0.01, louder_in_training=True, max_norm=FREE)
    return {"losses": _loss_list(ran["losses"])}


@train.case
def after_every_step(answer, seed):
    """after_step(step, loss) is called after every update, with the step's number and its loss."""
    calls = []
    _run_training(answer, seed, 3, lambda step: 0.05, calls=calls, max_norm=FREE)
    return {
        "steps": torch.tensor([step for step, _, _ in calls]),
        "losses": torch.tensor([loss for _, loss, _ in calls]),
        "updates_made_before_each_call": torch.tensor([updates for _, _, updates in calls]),
    }
