"""Probes of chapter 04's middle: reading the head, and the loop that trains it."""

import torch

from autograder.chapters.probing import as_number, gradients_of, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise

TOPIC = "04_reward_model"

# ---------------------------------------------------------------------------------------------------------------------
last_token_rewards = Exercise(
    "last_token_rewards", TOPIC, "Exercise 5: one number for an answer", gradients={"token_rewards": 0}
)


def _padded(seed: int, length: int, begins: list[int], ends: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A head's outputs at every position, and a mask that is 1 from begins[row] up to but without ends[row]."""
    token_rewards = 0.3 + 2 * torch.randn(len(begins), length, generator=seeded(seed))
    mask = torch.zeros(len(begins), length, dtype=torch.long)
    for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        mask[row, begin:end] = 1
    return token_rewards, mask


_SIZES = {"the batch size": 5, "the length of a row": 11}


@last_token_rewards.case
def padded_on_the_right(answer, seed):
    """Rows of different lengths, padded on the right: the output at each row's last real token."""
    return {"rewards": answer(*_padded(seed, 11, [0] * 5, [7, 11, 3, 9, 5])), "_sizes": _SIZES}


@last_token_rewards.case
def padded_on_the_left(answer, seed):
    """Padded on the left: the last real token stands in the last column of every row."""
    return {"rewards": answer(*_padded(seed, 11, [4, 0, 8, 2, 6], [11] * 5)), "_sizes": _SIZES}


@last_token_rewards.case
def padded_on_both_sides(answer, seed):
    """Padding on both sides, as after sampling: prompts were padded on the left, answers on the right."""
    return {"rewards": answer(*_padded(seed, 13, [3, 0, 5, 1, 2], [8, 12, 9, 11, 4])), "_sizes": {"the batch size": 5}}


@last_token_rewards.case
def a_single_token(answer, seed):
    """A row of one token, beside a row without any padding."""
    return {"rewards": answer(*_padded(seed, 7, [0, 0, 6], [1, 7, 7])), "_sizes": {"the batch size": 3}}


@last_token_rewards.case
def a_mask_of_booleans(answer, seed):
    """The mask may hold True and False instead of 1 and 0."""
    token_rewards, mask = _padded(seed, 9, [0, 2, 0], [4, 9, 7])
    return {"rewards": answer(token_rewards, mask.bool()), "_sizes": {"the batch size": 3}}


@last_token_rewards.case
def gradient_to_the_last_token(answer, seed):
    """The gradient reaches the last real token of each row, and no other."""
    token_rewards, mask = _padded(seed, 7, [0, 2, 1], [4, 7, 6])
    rewards = answer(token_rewards.requires_grad_(), mask)
    return {"gradient": gradients_of(rewards, token_rewards, what="The rewards", to="head's outputs")[0]}


# ---------------------------------------------------------------------------------------------------------------------
train_reward_model = Exercise("train_reward_model", TOPIC, "Exercise 6: the training loop", trains=True)

_WORDS, _WIDTH = 11, 5
_ONE = "one an update"
_UNSET_RATE = 0.3  # what an optimizer has before the answer sets it


class _Scorer(torch.nn.Module):
    """A small reward model: what it makes of a row's words, added up over the real ones. Where `mode_shows`, its rewards are
    half as large in training mode."""

    def __init__(self, seed: int):
        super().__init__()
        g = seeded(seed)
        self.words = torch.nn.Parameter(0.6 * torch.randn(_WORDS, _WIDTH, generator=g))
        self.head = torch.nn.Parameter(0.8 * torch.randn(_WIDTH, generator=g))
        self.mode_shows = False

    def forward(self, input_ids, attention_mask, loudness=None):
        found = torch.tanh(self.words[input_ids]) @ self.head  # (rows, seq)
        if loudness is not None:
            found = found * loudness
        if self.mode_shows and self.training:
            found = found * 0.5
        return (found * attention_mask).sum(1)


def _pairs_of_rows(seed: int, pairs: int, seq: int, **more) -> dict[str, torch.Tensor]:
    """A batch: the rows of the chosen answers, then those of the rejected, padded on the right with 0."""
    g = seeded(seed)
    ids = torch.randint(1, _WORDS, (2 * pairs, seq), generator=g)
    lengths = torch.randint(2, seq + 1, (2 * pairs, 1), generator=g)
    mask = (torch.arange(seq) < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask} | more


def _number(loss) -> float:
    """A loss as a plain number, if it is one or a tensor of one: which of them is a case of its own."""
    return as_number(loss.detach() if isinstance(loss, torch.Tensor) else loss, "The loss given to after_step")


def _ran(answer, seed: int, batches, lr_at, mode_shows: bool = False, calls: list | None = None, **options) -> dict:
    """Train a small reward model, and return what happened. calls: receives (step, loss, updates made) of after_step."""
    model = _Scorer(seed)
    model.mode_shows = mode_shows
    model.eval()
    optimizer = noting_sgd([{"params": [model.words]}, {"params": [model.head]}], lr=_UNSET_RATE)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)  # left over from something before
    if calls is not None:
        options["after_step"] = lambda step, loss: calls.append((int(step), _number(loss), len(optimizer.norms)))
    losses = answer(model, batches, optimizer, lr_at, **options)
    return {"model": model, "optimizer": optimizer, "losses": losses}


def _losses(losses) -> torch.Tensor:
    """The losses, be they plain numbers or not: that is a case of its own."""
    if isinstance(losses, (list, tuple)):
        losses = [x.item() if isinstance(x, torch.Tensor) and x.numel() == 1 else x for x in losses]
    return plain_losses(losses, "train_reward_model", _ONE)


def _what_came(ran: dict) -> dict:
    return {
        "losses": _losses(ran["losses"]),
        "gradient_norms": torch.tensor(ran["optimizer"].norms),
        "word_vectors": ran["model"].words,
        "head": ran["model"].head,
    }


def _batches(seed: int, *shapes: tuple[int, int]) -> list[dict[str, torch.Tensor]]:
    return [_pairs_of_rows(seed + 17 * i, *shape) for i, shape in enumerate(shapes)]


@train_reward_model.case
def a_few_updates(answer, seed):
    """Three updates: each loss from before the weights change, the gradient's norm, and the weights at the end."""
    batches = _batches(seed, (3, 7), (5, 6), (2, 9))
    return _what_came(_ran(answer, seed, batches, lambda step: 0.2, max_norm=1e9))


@train_reward_model.case
def one_pair_a_batch(answer, seed):
    """A batch of a single pair is two rows: the chosen answer and the rejected one."""
    return _what_came(_ran(answer, seed, _batches(seed, (1, 5), (1, 7)), lambda step: 0.2, max_norm=1e9))


@train_reward_model.case
def whatever_is_in_the_batch(answer, seed):
    """All that is in a batch is given to the model by name; the batches come out of a generator, which runs once."""
    loudness = 0.5 + torch.rand(8, 7, generator=seeded(seed + 1))
    batches = (batch for batch in [_pairs_of_rows(seed, 4, 7, loudness=loudness), _pairs_of_rows(seed + 5, 3, 6)])
    return _what_came(_ran(answer, seed, batches, lambda step: 0.2, max_norm=1e9))


@train_reward_model.case
def learning_rates(answer, seed):
    """Update s, counted from 0, works with the rate lr_at(s) in every parameter group of the optimizer."""
    ran = _ran(answer, seed, _batches(seed, (2, 5), (3, 6), (1, 5), (2, 7)), lambda step: 1e-3 * (1 + seed % 7) * (step + 1) ** 2)
    return {"rates": torch.tensor(ran["optimizer"].rates)}


@train_reward_model.case
def clipping(answer, seed):
    """The norm of the whole gradient is at most max_norm, 1 where nothing else is asked for; a small one stays as it is."""
    batches = _batches(seed, (2, 9), (1, 9))
    clipped = _ran(answer, seed, batches, lambda step: 0.5, max_norm=0.03)
    usual = _ran(answer, seed, [_far_apart(seed)], lambda step: 0.1)
    free = _ran(answer, seed, batches, lambda step: 0.1, max_norm=90.0)
    return {
        "clipped_norms": torch.tensor(clipped["optimizer"].norms),
        "usual_norm": torch.tensor(usual["optimizer"].norms),
        "free_norms": torch.tensor(free["optimizer"].norms),
        "word_vectors": clipped["model"].words,
    }


def _far_apart(seed: int) -> dict[str, torch.Tensor]:
    """A loud batch, whose gradient is longer than 1."""
    return _pairs_of_rows(seed, 1, 9, loudness=torch.cat([-40 * torch.ones(1, 9), 40 * torch.ones(1, 9)]) * _sign(seed))


def _sign(seed: int) -> float:
    """1 or -1: with it the pair of `_far_apart` is in the wrong order, so that its gradient is not nearly 0."""
    model, batch = _Scorer(seed), _pairs_of_rows(seed, 1, 9)
    with torch.no_grad():
        chosen, rejected = model(**batch)
    return 1.0 if chosen + rejected > 0 else -1.0


@train_reward_model.case
def training_mode(answer, seed):
    """The model is in training mode while it computes the loss, whatever it was before."""
    ran = _ran(answer, seed, _batches(seed, (3, 9), (2, 7)), lambda step: 0.1, mode_shows=True)
    return {"losses": _losses(ran["losses"])}


@train_reward_model.case
def after_every_update(answer, seed):
    """after_step(step, loss) is called once after every update, with its number and its loss."""
    calls: list = []
    _ran(answer, seed, _batches(seed, (2, 7), (2, 6), (3, 5)), lambda step: 0.1, calls=calls)
    return {
        "steps": torch.tensor([step for step, _, _ in calls]),
        "losses": torch.tensor([loss for _, loss, _ in calls]),
        "updates_made_before_each_call": torch.tensor([updates for _, _, updates in calls]),
    }


@train_reward_model.case
def losses_are_plain_numbers(answer, seed):
    """What comes back is a list of plain numbers, which hold no graph and no memory of a GPU."""
    losses = _ran(answer, seed, _batches(seed, (2, 5), (1, 6)), lambda step: 0.1)["losses"]
    return {"losses": plain_losses(losses, "train_reward_model", _ONE)}
