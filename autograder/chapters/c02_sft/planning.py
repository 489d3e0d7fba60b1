"""Probes of chapter 02's open task: the fewest rows. The judge counts them (rules.py); each case is a bar."""

import operator
import random

import torch

from autograder.chapters.c02_sft.conversations import TOPIC
from autograder.chapters.probing import asked_once
from autograder.exercise import Exercise, Unexpected

plan_rows = Exercise("plan_rows", TOPIC, "Exercise 10, open: the fewest rows", open=True)

ROWS, LENGTH = 120, 128  # so many rows of so many tokens can be filled to the last place


def _lengths(seed: int) -> list[int]:
    """Lengths that fill ROWS rows: most are cut into three parts of a quarter to a half, some into two."""
    draw, lengths = random.Random(seed), []
    for _ in range(ROWS):
        if draw.random() < 0.3:
            first = draw.randint(LENGTH // 2 + 1, 3 * LENGTH // 4)
            parts = [first, LENGTH - first]
        else:
            parts = [0]
            while not 28 <= parts[-1] <= 64:
                parts = [draw.randint(28, 64), draw.randint(28, 64)]
                parts.append(LENGTH - sum(parts))
        lengths += parts
    draw.shuffle(lengths)
    return lengths


@asked_once
def _planned(answer, seed: int) -> dict:
    lengths = _lengths(seed)
    rows = answer(list(lengths), LENGTH)
    form = "A list of rows should come back, each a list of the numbers of its examples"
    if not isinstance(rows, (list, tuple)):
        raise Unexpected(f"{form}; your function returned {type(rows).__name__}.")
    try:
        plan = [[operator.index(number) for number in row] for row in rows]
    except TypeError:
        raise Unexpected(f"{form}; in yours, something is no list or no whole number.") from None
    numbers = [min(max(number, -1), len(lengths)) for row in plan for number in row]
    sizes = [len(row) for row in plan]
    as_tensor = lambda values: torch.tensor(values, dtype=torch.long)  # noqa: E731
    return {"lengths": as_tensor(lengths), "numbers": as_tensor(numbers), "sizes": as_tensor(sizes)}


@plan_rows.case(rule="at_most_135_rows")
def rows_stay_open(answer, seed):
    """At most 135 rows, with every example in exactly one of them: rows stay open for what comes later."""
    return _planned(answer, seed, first=True)


@plan_rows.case(rule="at_most_129_rows")
def in_a_better_order(answer, seed):
    """At most 129 rows: the order in which examples are placed matters."""
    return _planned(answer, seed)


@plan_rows.case(rule="at_most_124_rows")
def full_rows(answer, seed):
    """At most 124 rows: hardly a place stays free."""
    return _planned(answer, seed)


@plan_rows.case(rule="at_most_121_rows")
def nearly_the_best(answer, seed):
    """At most 121 rows, one more than the best there is."""
    return _planned(answer, seed)
