"""Probes of chapter 08's second part: what can be inferred from a row of pairs, and which heads look back."""

import torch

from autograder.chapters.probing import as_pair, as_tensor, seeded
from autograder.exercise import Exercise

TOPIC = "08_icl"

# ---------------------------------------------------------------------------------------------------------------------
bayes_predictions = Exercise("bayes_predictions", TOPIC, "Exercise 6: which table is it")

_INPUTS, _LABELS, _TABLES = 6, 5, 4


def _rows(seed: int, rows: int, pairs: int, noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs and labels of rows, (rows, pairs), and the tables that they come from."""
    g = seeded(seed)
    tables = torch.randint(_LABELS - 1, (_TABLES, _INPUTS), generator=g)  # the last label is in no table
    tables[1] = torch.where(torch.arange(_INPUTS) < 2, tables[0], (tables[0] + 1) % (_LABELS - 1))  # two that look alike
    which = torch.randint(_TABLES, (rows,), generator=g)
    xs = torch.randint(_INPUTS, (rows, pairs), generator=g)
    ys = tables[which].gather(1, xs)
    ys = torch.where(torch.rand(ys.shape, generator=g) < noise, torch.randint(_LABELS, ys.shape, generator=g), ys)
    return xs, ys, tables


def _inferred(answer, seed: int, rows: int, pairs: int, noise: float, prior: torch.Tensor | None = None) -> dict:
    xs, ys, tables = _rows(seed, rows, pairs, noise)
    given = (xs, ys, tables, _LABELS, noise) + (() if prior is None else (prior,))
    beliefs, predictions = (as_tensor(x, "Each of the two") for x in as_pair(answer(*given), "the beliefs and the predictions"))
    sizes = {"the number of rows": rows, "the pairs of a row": pairs, "the number of tables": _TABLES, "the labels": _LABELS}
    return {"beliefs": beliefs, "predictions": predictions, "_sizes": sizes}


@bayes_predictions.case
def a_few_pairs(answer, seed):
    """Rows of seven pairs, all tables equally likely at first."""
    return _inferred(answer, seed, 3, 7, 0.3)


@bayes_predictions.case
def zero_shot(answer, seed):
    """Rows of one pair: before it nothing is known, so all tables are mixed as the prior says."""
    return _inferred(answer, seed, 9, 1, 0.2, torch.tensor([0.1, 0.2, 0.3, 0.4]))


@bayes_predictions.case
def an_uneven_prior(answer, seed):
    """A prior that is not even counts once, whatever the number of pairs."""
    prior = torch.rand(_TABLES, generator=seeded(seed + 3)) + 0.05
    return _inferred(answer, seed, 8, 6, 0.4, prior / prior.sum())


@bayes_predictions.case
def hundreds_of_pairs(answer, seed):
    """Rows of 300 pairs: the beliefs are still numbers that sum to 1."""
    found = _inferred(answer, seed, 2, 300, 0.5)
    return {name: found[name] if name[0] == "_" else found[name][:, ::23] for name in found}


@bayes_predictions.case
def without_noise(answer, seed):
    """No noise: one pair that a table does not have rules it out for good."""
    return _inferred(answer, seed, 7, 8, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
new_table_predictions = Exercise("new_table_predictions", TOPIC, "Exercise 7: a table that nobody knows")


def _unknown(seed: int, rows: int, pairs: int, noise: float, used: int = _LABELS) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of rows, each with a table of its own; used: how many of the labels the tables have."""
    g, inputs = seeded(seed), 3
    tables = torch.randint(used, (rows, inputs), generator=g)
    xs = torch.randint(inputs, (rows, pairs), generator=g)
    ys = tables.gather(1, xs)
    ys = torch.where(torch.rand(ys.shape, generator=g) < noise, torch.randint(_LABELS, ys.shape, generator=g), ys)
    return xs, ys


def _guessed(answer, xs: torch.Tensor, ys: torch.Tensor, noise: float) -> dict:
    sizes = {"the number of rows": len(xs), "the pairs of a row": xs.shape[1], "the labels": _LABELS}
    return {"predictions": as_tensor(answer(xs, ys, _LABELS, noise), "The predictions"), "_sizes": sizes}


@new_table_predictions.case
def inputs_that_come_again(answer, seed):
    """Rows of nine pairs in which inputs come several times, with labels that do not always agree."""
    return _guessed(answer, *_unknown(seed, 4, 9, 0.4), 0.4)


@new_table_predictions.case
def inputs_never_seen(answer, seed):
    """Each input comes once in its row: nothing that stands before it says anything about it."""
    g = seeded(seed)
    xs = torch.stack([torch.randperm(7, generator=g) for _ in range(3)])
    return _guessed(answer, xs, torch.randint(_LABELS, xs.shape, generator=g), 0.1)


@new_table_predictions.case
def one_input_many_times(answer, seed):
    """One input a hundred times, with much noise: the predictions are still numbers, and sum to 1."""
    g = seeded(seed)
    ys = torch.where(torch.rand(1, 100, generator=g) < 0.7, torch.randint(_LABELS, (1, 100), generator=g), seed % _LABELS)
    found = _guessed(answer, torch.full((1, 100), 2), ys, 0.7)
    return {name: found[name] if name[0] == "_" else found[name][:, ::9] for name in found}


@new_table_predictions.case
def labels_without_noise(answer, seed):
    """No noise: an input that was seen has the label that it had. One of the labels comes in no row."""
    return _guessed(answer, *_unknown(seed, 5, 8, 0.0, used=_LABELS - 1), 0.0)


# ---------------------------------------------------------------------------------------------------------------------
induction_scores = Exercise("induction_scores", TOPIC, "Exercise 9: heads that look back")

_LAYERS, _HEADS = 2, 3


def _attention(seed: int, rows: int, seq: int) -> torch.Tensor:
    """Causal attention, (layers, rows, heads, seq, seq): each head has a taste of its own."""
    scores = 2 * torch.randn(_LAYERS, rows, _HEADS, seq, seq, generator=seeded(seed))
    hidden = torch.ones(seq, seq).triu(1).bool()
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


def _looking(answer, seed: int, xs: torch.Tensor) -> dict:
    found = answer(_attention(seed, len(xs), 2 * xs.shape[1]), xs)
    sizes = {"the layers": _LAYERS, "the heads": _HEADS, "the rows": len(xs), "the pairs": xs.shape[1]}
    return {"scores": as_tensor(found, "The scores"), "_sizes": sizes}


@induction_scores.case
def repeated_inputs(answer, seed):
    """Rows of six pairs in which inputs come again."""
    return _looking(answer, seed, torch.randint(4, (5, 6), generator=seeded(seed + 1)))


@induction_scores.case
def several_times(answer, seed):
    """An input that came several times: the attention to all its labels counts, added up."""
    xs = torch.randint(2, (3, 9), generator=seeded(seed + 2))
    return _looking(answer, seed, xs)


@induction_scores.case
def rows_with_and_without(answer, seed):
    """Rows with many repetitions, with one and with none: the mean is over the repeated inputs, not over rows."""
    xs = torch.stack([torch.arange(7), torch.tensor([3, 3, 3, 3, 3, 3, 3]), torch.tensor([0, 1, 2, 3, 4, 5, seed % 6])])
    return _looking(answer, seed, xs)
