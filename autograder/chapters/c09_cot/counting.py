"""Probes of chapter 09's part on many chains: what most of them say, and whether one of them is right."""

import math
import random

import torch

from autograder.chapters.probing import as_number, as_tensor
from autograder.exercise import Exercise, Unexpected

TOPIC = "09_cot"

# ---------------------------------------------------------------------------------------------------------------------
vote = Exercise("vote", TOPIC, "Exercise 5: what most of them say")


def _voted(answer, ballots: dict[str, list]) -> dict:
    found = {}
    for name, answers in ballots.items():
        value = answer(answers)
        if isinstance(value, (str, tuple, list)):
            raise Unexpected(f"A number or None is asked for; your function returned {type(value).__name__}.")
        found[name] = None if value is None else as_number(value, "The answer")
    return found


def _four(seed: int) -> list[int]:
    """Four different numbers in a random order."""
    return random.Random(seed).sample(range(10, 60), 4)


@vote.case
def a_clear_winner(answer, seed):
    """One answer has more votes than any other, though less than half, or though it comes last."""
    a, b, c, d = _four(seed)
    return _voted(answer, {
        "half": [a, b, a, c, a], "less_than_half": [b, a, c, a, d], "at_the_end": [d, c, b, a, a], "all": [c] * 3,
    })  # fmt: skip


@vote.case
def ties(answer, seed):
    """Several have the most votes: of these the one that was drawn first, whether it is large or small."""
    low, high, other, more = *sorted(_four(seed)[:2]), 70.5, -4
    a, b, c = (8 * (seed % 3) + n for n in (16, 17, 24))  # in a set of these, Python has b behind a, and behind c
    return _voted(answer, {
        "low_first": [low, high, high, low], "high_first": [high, low, low, high],
        "all_different": [other, low, high], "all_different_2": [more, high, low], "all_different_3": [high, more, other, low],
        "not_the_first_of_all": [more, high, low, low, high], "turned_round": [more, low, high, low, high],
        "near": [b, a, a, b], "near_too": [b, c, c, b], "near_and_turned": [c, b, b, c],
    })  # fmt: skip


@vote.case
def outputs_without_an_answer(answer, seed):
    """None has no vote, however often it comes; where nothing else is there, None."""
    a, b, _, _ = _four(seed)
    return _voted(answer, {
        "mostly_none": [None, None, b, None, a, a, None], "only_none": [None] * 4, "nobody": [], "one_of_many": [None, None, a],
        "a_tie_with_none": [None, b, a],
    })  # fmt: skip


@vote.case
def equal_numbers(answer, seed):
    """Numbers that are equal are one answer, 8 and 8.0 too; numbers that are near are not; 0 is an answer like any other."""
    a, b, c, _ = _four(seed)
    return _voted(answer, {
        "whole_and_float": [b, b, a, float(a), a], "near": [a + 0.25, a + 0.75, b, a + 0.5, b],
        "zero": [0, 0, b], "below_zero": [-a, -a, a], "floats_first": [c, float(a), b, a],
    })  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
pass_curve = Exercise("pass_curve", TOPIC, "Exercise 6: right at least once")


def _curve(answer, right: list[int], drawn: int, most: int) -> dict:
    curve = as_tensor(answer(torch.tensor(right), drawn, most), "The curve")
    return {"curve": curve.double(), "is_float64": curve.dtype == torch.float64}


def _counts(seed: int, questions: int, drawn: int) -> list[int]:
    """How many are right, from none to all, not symmetric."""
    rng = random.Random(seed)
    return [0, drawn, 1, *(rng.randrange(1, 1 + drawn // 2) for _ in range(questions - 3))]


@pass_curve.case(rtol=1e-6)
def several_questions(answer, seed):
    """Questions of all kinds: none right, all right, a few. The curve is the mean over the questions."""
    drawn = 11 + seed % 6
    return _curve(answer, _counts(seed, 7, drawn), drawn, 5)


@pass_curve.case(rtol=1e-6)
def one_question(answer, seed):
    """One question with some right outputs, up to k = all that were drawn."""
    drawn = 9 + seed % 5
    return _curve(answer, [2 + seed % 3], drawn, drawn)


@pass_curve.case(rtol=1e-6)
def the_first_number(answer, seed):
    """most = 1: the share of right outputs."""
    return _curve(answer, _counts(seed, 6, 13), 13, 1)


@pass_curve.case(rtol=1e-6)
def hard_and_easy_questions(answer, seed):
    """Half of the questions always right and half never: more tries do not help, though the average question looks mixed."""
    return _curve(answer, [0, 8, 0, 8] + [8] * (seed % 3), 8, 6)


@pass_curve.case(rtol=1e-6)
def many_outputs(answer, seed):
    """Thousands of outputs: the chances are still numbers, and exact."""
    right = [3 + seed % 5, 40, 4_000]
    found = _curve(answer, right, 10_000, 1_000)
    curve = found["curve"] if found["curve"].shape == (1_000,) else torch.full((1_000,), math.nan)
    return {"some_of_the_curve": curve[[0, 1, 9, 99, 499, 999]]}
