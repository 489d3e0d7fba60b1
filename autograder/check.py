"""`check`, the one call of a notebook's check cells."""

import os
from collections.abc import Callable

from autograder.earlier import keep_answer
from autograder.evidence import (
    APART,
    GRADING_SEEDS,
    MIME,
    PUBLIC_SEEDS,
    collect,
    collect_limited,
    collect_quickly,
    in_grading,
)
from autograder.exercise import find_exercise
from autograder.judging.judge import Verdict, judge_evidence, note_shaky
from autograder.judging.key import load_key
from autograder.judging.report import show, to_line
from autograder.limits import Limits
from autograder.progress import passing, record


class CheckFailed(Exception):
    """An answer is not right yet. The report above it says why; the traceback would say nothing more."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook: one line instead of a stack of our own frames
        return [str(self)]


def check(name: str, answer: Callable) -> None:
    """Check an answer to the exercise `name`, show a report, and raise CheckFailed when it is not right yet.

    In grading nothing is judged or shown. A check cell of the chapter brings fresh seeds, by the environment: the raw data
    is emitted as one output, and a judge in another process reads it. A check of the student's own has none, and does nothing.
    """
    exercise = find_exercise(name)
    seeds = os.environ.get(GRADING_SEEDS)
    if seeds:
        how = collect_limited if os.environ.get(APART) else collect_quickly
        _emit(how(exercise, answer, [int(s) for s in seeds.split(",")], Limits.from_environment()))
        return
    if in_grading():
        print("In grading, the chapter's own check cells are run, and no others.")
        return
    verdict = judge_with_key(collect(exercise, answer, PUBLIC_SEEDS))
    record(verdict)
    note_shaky([verdict], passing())
    show(verdict)
    if not verdict.passed:
        raise CheckFailed(to_line(verdict))
    keep_answer(name, answer)


def _emit(evidence: dict) -> None:
    from IPython.display import display

    display({MIME: evidence}, raw=True)


def judge_with_key(evidence: dict) -> Verdict:
    """The verdict on evidence that this process collected on the public seeds."""
    exercise = find_exercise(evidence["exercise"])
    return judge_evidence(exercise.name, evidence, load_key(exercise.topic), PUBLIC_SEEDS)
