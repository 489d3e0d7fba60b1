"""Probes of chapter 01, exercises 1 and 2: labels, and the causal loss.

Sizes in a case are distinct and mostly odd, and no input is symmetric, so that a swapped axis or a wrong divisor shows.
"""

import torch

from autograder.chapters.probing import gradient_at, seeded
from autograder.exercise import Exercise

TOPIC = "01_pretraining"
IGNORE = -100  # the label that cross-entropy leaves out


# ---------------------------------------------------------------------------------------------------------------------
make_labels = Exercise("make_labels", TOPIC, "Exercise 1: tokens, labels, and what padding is not")


def _padded_ids(seed: int, rows: int, length: int, side: str, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids in [3, 50), padded in rows of different lengths. Shapes (rows, length)."""
    g = seeded(seed)
    ids = torch.randint(3, 50, (rows, length), generator=g)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(1, rows):
        n = int(torch.randint(1, length - 2, (1,), generator=g))
        where = slice(length - n, None) if side == "right" else slice(None, n)
        ids[row, where], mask[row, where] = padding, 0
    return ids, mask


@make_labels.case
def padded_on_the_right(answer, seed):
    """Rows padded on the right: labels repeat the ids, and are -100 on padding."""
    ids, mask = _padded_ids(seed, 5, 11, "right")
    return {"labels": answer(ids, mask)}


@make_labels.case
def padded_on_the_left(answer, seed):
    """Rows padded on the left with another id, as for generation: the mask says where padding is, not the side."""
    ids, mask = _padded_ids(seed, 3, 7, "left", padding=2)
    return {"labels": answer(ids, mask)}


@make_labels.case
def a_real_token_with_the_padding_id(answer, seed):
    """A real token may have the same id as padding (many models pad with the end token): only the mask decides."""
    ids, mask = _padded_ids(seed, 3, 9, "right")
    ids[:, 1] = 0  # a real token: the mask says 1
    mask[:, 1] = 1
    return {"labels": answer(ids, mask)}


@make_labels.case
def a_single_row(answer, seed):
    """A batch of one row, with padding at both ends, has labels of the same shape."""
    ids, mask = _padded_ids(seed, 1, 9, "right")
    mask[:, :2], mask[:, -1] = 0, 0
    return {"labels": answer(ids, mask)}


# ---------------------------------------------------------------------------------------------------------------------
causal_lm_loss = Exercise("causal_lm_loss", TOPIC, "Exercise 2: the causal language-modelling loss")


def _logits_and_labels(
    seed: int, rows: int, length: int, vocab: int, padded: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (rows, length, vocab) and labels (rows, length), -100 on right padding. One target is token 0."""
    g = seeded(seed)
    logits = 2 * torch.randn(rows, length, vocab, generator=g)
    labels = torch.randint(0, vocab, (rows, length), generator=g)
    labels[0, 1] = 0
    if padded:
        for row in range(1, rows):
            labels[row, length - 2 * row :] = IGNORE
    return logits, labels


def _loss(answer, logits: torch.Tensor, labels: torch.Tensor) -> dict:
    sizes = {  # what a loss is divided by, rightly or wrongly
        "the batch size": len(labels),
        "the number of targets": int((labels[:, 1:] != IGNORE).sum()),
        "the number of positions": labels.numel(),
        "the number of positions that predict something": labels[:, 1:].numel(),
    }
    return {"loss": answer(logits, labels), "_sizes": sizes}


@causal_lm_loss.case
def an_ordinary_batch(answer, seed):
    """A batch without padding: the mean of -log p(next token) over every position that has a next token."""
    return _loss(answer, *_logits_and_labels(seed, 3, 11, 17, padded=False))


@causal_lm_loss.case
def padded_rows(answer, seed):
    """Rows of different lengths: each real target counts once, padding (-100) not at all."""
    return _loss(answer, *_logits_and_labels(seed, 5, 13, 19, padded=True))


@causal_lm_loss.case
def left_padded_rows(answer, seed):
    """Padding on the left: the labels say what counts, whichever side is padded."""
    logits, labels = _logits_and_labels(seed, 3, 9, 7, padded=False)
    labels[1, :4], labels[2, :1] = IGNORE, IGNORE
    return _loss(answer, logits, labels)


@causal_lm_loss.case
def a_batch_of_one(answer, seed):
    """A batch of a single short row."""
    return _loss(answer, *_logits_and_labels(seed, 1, 3, 5, padded=False))


@causal_lm_loss.case
def huge_logits(answer, seed):
    """Logits of size 10 000: the loss is large but finite (a plain exp overflows)."""
    logits, labels = _logits_and_labels(seed, 3, 5, 7, padded=False)
    return _loss(answer, 1e4 * logits, labels)


@causal_lm_loss.case
def gradient(answer, seed):
    """The gradient reaches exactly the positions that predict a real token."""
    logits, labels = _logits_and_labels(seed, 3, 7, 5, padded=True)
    return {"gradient": gradient_at(answer, logits, labels)}
