"""`make mutants`: wrong answers that nobody wrote, to find what the probes let through.

Every reference solution is changed in one place at a time (autograder.workshop.mutations), the exercise's probes are run
on it, and what they return is judged against the reference. A mutant that passes everything survives: then a probe is
missing, or the change makes no difference, which `solutions/NN_topic/equivalents.py` says in a row, with the reason:

    EQUIVALENTS = [
        ("learning_rate", "return a / max(1, b) -> return a / max(0, b)", "b is never 0 here."),
    ]

    make mutants ARGS="05_ppo --only gae"
"""

import argparse
import ast
import contextlib
import copy
import inspect
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from autograder.evidence import PUBLIC_SEEDS, collect, collect_limited
from autograder.exercise import Exercise, exercises_of
from autograder.judging.judge import judge_evidence
from autograder.judging.reference import SOLUTIONS, Reference, is_solution
from autograder.limits import CAN_FORK, Limits, stream
from autograder.workshop.mutations import Mutant, mutants_of, unchanged
from autograder.workshop.release import chapters

LEAST_SHARE = 0.99  # of the mutants that are not listed as equivalent
SECONDS = 12.0  # for all cases on one seed, at least
TIMES_THE_REFERENCE = 30  # and as many times what the reference takes


@dataclass
class Outcome:
    """What became of the mutants of one exercise.

    survivors: those that pass and are not listed as equivalent; stale: the listed changes that are killed, or that no
    operator makes any more; seconds: wall time.
    """

    exercise: str
    topic: str
    mutants: int = 0
    equivalent: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return self.mutants - self.equivalent - len(self.survivors)


class Expected:
    """The reference as an oracle without the known mistakes: a mutant needs no diagnosis."""

    def __init__(self, reference: Reference):
        self.expected = reference.expected

    def mistakes(self, exercise: Exercise, seeds: Sequence[int]) -> list:
        return []


def equivalents_of(topic: str, solutions: Path = SOLUTIONS) -> dict[tuple[str, str], str]:
    """The listed changes that make no difference: (exercise, change) -> reason. Raises ValueError for a row without one."""
    path = solutions / topic / "equivalents.py"
    found: dict = {}
    if path.exists():
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), found)
    rows = found.get("EQUIVALENTS", [])
    for row in rows:
        if len(row) != 3 or not row[2].strip():
            raise ValueError(f"{path}: a row is (exercise, change, reason), and this is {row!r}.")
    return {(exercise, change): reason for exercise, change, reason in rows}


def mutants_of_exercise(reference: Reference, exercise: Exercise) -> list[Mutant]:
    """The mutants of the cell that defines the reference, its helpers included; lines as in the chapter's file."""
    others = {e.name for e in exercises_of(reference.topic)} - {exercise.name}
    source = source_of(reference, exercise)
    first = _line_of(source, reference.folder / f"{reference.topic}.py")
    found = mutants_of(source, lambda statement: getattr(statement, "name", "") in others)
    return [replace(mutant, line=mutant.line + first - 1) for mutant in found]


def source_of(reference: Reference, exercise: Exercise) -> str:
    """The solution cell that defines the reference. Raises LookupError when there is none."""
    for cell in reference.notebook.cells:
        if cell.cell_type == "code" and is_solution(cell) and exercise.name in _defined(cell.source):
            return cell.source
    raise LookupError(f"No solution cell of {reference.topic} defines {exercise.name}.")


def _defined(source: str) -> set[str]:
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def _line_of(source: str, file: Path) -> int:
    text = file.read_text(encoding="utf-8")
    return text[: max(0, text.find(source.strip()))].count("\n") + 1


def survives(mutant: Mutant, reference: Reference, exercise: Exercise, seeds: Sequence[int], limits: Limits) -> bool:
    """Whether the mutant passes every case on every seed. It is run in a child of its own, so that it can spoil nothing."""

    def judged() -> Iterator[bool]:
        answer = load(mutant.source, reference, exercise)
        for asked, cases, seed in rounds:
            verdict = judge_evidence(exercise.name, collect(asked, answer, (seed,)), Expected(reference), (seed,))
            names = {case.name for case in cases}
            passed = all(case.passed for case in verdict.cases if case.name in names)
            yield passed
            if not passed:
                return

    # Most die of the first case, and need not be asked the others. What the machinery adds counts only beside those.
    first = _first_case_of(exercise)
    rounds = [(first, first.own_cases, seeds[0]), *((exercise, exercise.cases, seed) for seed in seeds)]
    passed = list(stream(judged, limits))
    return len(passed) == len(rounds) and all(p is True for p in passed)  # the last is a Stopped where it hung or died


def _first_case_of(exercise: Exercise) -> Exercise:
    asked = copy.copy(exercise)  # not a new one, which would take the place of the exercise everywhere
    asked.own_cases = exercise.own_cases[:1]
    return asked


def load(source: str, reference: Reference, exercise: Exercise) -> Callable:
    """The exercise's function as the source defines it, among the names that the reference sees."""
    function = inspect.unwrap(reference.functions[exercise.name])  # a decorator's names are not the chapter's
    namespace = dict(function.__globals__)
    exec(compile(source, f"<mutant of {exercise.name}>", "exec"), namespace)
    return namespace[exercise.name]


def try_mutants(
    reference: Reference, exercise: Exercise, sample: int | None = None, seeds: Sequence[int] = PUBLIC_SEEDS
) -> Outcome:
    """Run the mutants of one exercise, or `sample` of them, which a fixed seed draws."""
    started = time.monotonic()
    mutants = mutants_of_exercise(reference, exercise)
    rows = equivalents_of(reference.topic, reference.folder.parent)
    listed = {change for name, change in rows if name == exercise.name}
    outcome = Outcome(exercise.name, reference.topic, stale=sorted(listed - {m.change for m in mutants}))
    if sample is not None and sample < len(mutants):
        mutants = [mutants[i] for i in sorted(random.Random(exercise.name).sample(range(len(mutants)), sample))]
    outcome.mutants = len(mutants)
    limits = _warmed_up(reference, exercise, seeds)
    for mutant in mutants:
        if not survives(mutant, reference, exercise, seeds, limits):
            outcome.stale += [mutant.change] if mutant.change in listed else []
        elif mutant.change in listed:
            outcome.equivalent += 1
        else:
            outcome.survivors.append(mutant)
    outcome.seconds = time.monotonic() - started
    return outcome


def _warmed_up(reference: Reference, exercise: Exercise, seeds: Sequence[int]) -> Limits:
    """Have what every child needs ready before the fork: modules, inputs, expected values. Returns the limits for mutants.

    Raises RuntimeError where the reference itself does not survive: then what kills its mutants says nothing.
    """
    function = reference.functions[exercise.name]
    collect_limited(exercise, function, seeds[:1], Limits())  # loads what the exercise says it needs
    judge_evidence(exercise.name, collect(exercise, function, seeds), Expected(reference), seeds)
    started = time.monotonic()
    collect(exercise, function, seeds[:1])
    limits = Limits(seconds=max(SECONDS, TIMES_THE_REFERENCE * (time.monotonic() - started)))
    none = Mutant("none", 0, "", unchanged(source_of(reference, exercise)))
    if not survives(none, reference, exercise, seeds, limits):
        raise RuntimeError(
            f"The reference of {exercise.name} does not pass its own cases when it is loaded as a mutant is."
        )
    return limits


# --- What is printed


def share(outcomes: Sequence[Outcome]) -> float:
    """Of the mutants that are not listed as equivalent, the share that is killed."""
    alive = sum(len(o.survivors) for o in outcomes)
    killed = sum(o.killed for o in outcomes)
    return killed / (killed + alive) if killed + alive else 1.0


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """One line of the table."""
    mutants, killed, equivalent = (
        sum(getattr(o, what) for o in outcomes) for what in ("mutants", "killed", "equivalent")
    )
    alive, seconds = sum(len(o.survivors) for o in outcomes), sum(o.seconds for o in outcomes)
    return f"{name:<28} {mutants:>7} {killed:>7} {alive:>7} {equivalent:>10} {share(outcomes):>7.1%} {seconds:>7.0f} s"


HEAD = f"{'exercise':<28} {'mutants':>7} {'killed':>7} {'survive':>7} {'equivalent':>10} {'share':>7} {'time':>9}"


def details(outcome: Outcome) -> Iterator[str]:
    """The survivors of an exercise, each with its line in the chapter's file, and the rows that are no longer true."""
    for mutant in outcome.survivors:
        yield f"    line {mutant.line} [{mutant.operator}]: {mutant.change}"
    for change in outcome.stale:
        yield f"    listed as equivalent, but killed or no longer made: {change}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make mutants", description="Which generated changes do the probes let through?"
    )
    parser.add_argument("topics", nargs="*", metavar="NN_topic", help="chapters (default: all)")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="only this exercise (may be given several times)"
    )
    parser.add_argument(
        "--sample", metavar="N", type=int, help="at most N mutants of each exercise, drawn by a fixed seed"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the outcome there too")
    asked = parser.parse_args(arguments)
    if not CAN_FORK:
        parser.error("this system cannot fork, and a mutant that loops for ever could not be stopped")
    outcomes: list[Outcome] = []
    print(HEAD)
    for topic in asked.topics or chapters():
        reference = Reference(topic)
        of_topic = []
        for exercise in exercises_of(topic):
            if exercise.open or (asked.only and exercise.name not in asked.only):
                continue  # of an open task, a change may be as good
            of_topic.append(try_mutants(reference, exercise, asked.sample))
            print(row(exercise.name, of_topic[-1:]), *details(of_topic[-1]), sep="\n", flush=True)
        if len(of_topic) > 1:
            print(row(topic, of_topic) + "\n")
        outcomes += of_topic
    if not outcomes:
        parser.error("there is no such exercise in these chapters")
    print(row("all", outcomes))
    if asked.json:
        asked.json.write_text(
            json.dumps([asdict(o) | {"killed": o.killed} for o in outcomes], indent=1), encoding="utf-8"
        )
    if share(outcomes) < LEAST_SHARE:
        print(f"Fewer than {LEAST_SHARE:.0%} are killed. Add a case, or a row to solutions/NN_topic/equivalents.py.")
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
