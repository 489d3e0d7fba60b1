"""A class on its way to the gradebook: what is to do, what came of it, what is tried again.

Workers examine; the one process that is here begins and records, one submission after the other, so that nobody waits for
a lock of the gradebook. What was recorded is done, whatever happens next.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from autograder.grading.fleet.steps import Examined, Steps
from autograder.grading.gradebook import GradebookBusy, patiently
from autograder.grading.states import INFRASTRUCTURE_ERROR, state_of, worst

TRIES = 3  # a submission with which so many workers died is not tried again
LOOK_SECONDS = 0.5
WANT = "perhaps for want of memory"
Tell = Callable[[dict[str, float]], None]  # student in hand -> seconds so far


@dataclass
class Ended:
    """How a submission ended: one of `states.STATES`, and what whoever grades should read."""

    student: str
    state: str
    seconds: float
    sentences: list[str] = field(default_factory=list)


def run_class(steps: Steps, students: list[str], workers, tell: Tell = lambda running: None) -> Iterator[Ended]:
    """Grade `students`, those that were graded before apart. Yields each as it is recorded.

    workers: see `local.LocalWorkers`. Raises GradebookBusy; what was yielded is recorded then too.
    """
    todo, suspects = deque(students), deque()
    running: dict[Future, tuple[str, list[str], float]] = {}
    died: Counter = Counter()

    def next_one() -> str | None:
        """Where a worker died, nobody knows with whose submission: those in hand then are tried again one by one."""
        if suspects:
            return None if running else suspects.popleft()
        alone = any(died[student] for student, _, _ in running.values())
        return todo.popleft() if todo and not alone and len(running) < workers.capacity + 2 else None

    while todo or suspects or running:
        while (student := next_one()) is not None:
            try:
                paths = patiently(steps.begin, student)
                if paths and died[student] >= TRIES:
                    yield _lost(steps, student, paths, f"{TRIES} processes that graded it were killed, {WANT}.")
                elif paths:
                    running[workers.submit(_examine, student, paths)] = student, paths, time.monotonic()
            except workers.died:  # just now, with what others handed in: their futures say so below
                todo.appendleft(student)
                if not running:
                    workers.renew()
                break
            except Exception as error:
                yield _not_recorded(student, error)
        done, _ = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        tell({student: time.monotonic() - since for student, _, since in running.values()})
        broken = False
        for future in done:
            student, paths, _ = running.pop(future)
            error = future.exception()
            try:
                if error is None:
                    yield _record(steps, future.result())
                elif isinstance(error, workers.died):
                    broken = True
                    died[student] += 1
                    suspects.append(student)
                elif isinstance(error, GradebookBusy):
                    raise error
                else:
                    known = getattr(error, "sentence", f"The grader failed on it ({type(error).__name__})")
                    yield _lost(steps, student, paths, f"{known}; that is no fault of the student's.")
            except Exception as failed:
                yield _not_recorded(student, failed)
        if broken:
            for student, _, _ in running.values():
                died[student] += 1
                suspects.append(student)
            running.clear()
            workers.renew()


def _not_recorded(student: str, error: Exception) -> Ended:
    """One folder or notebook that cannot be written costs nobody else; a gradebook that cannot, all."""
    if isinstance(error, GradebookBusy):
        raise error
    return Ended(student, INFRASTRUCTURE_ERROR, 0.0, [f"It could not be recorded: {type(error).__name__}: {error}"])


def _lost(steps: Steps, student: str, paths: list[str], why: str) -> Ended:
    return _record(steps, patiently(steps.examine, student, paths, f"{why} An instructor will look at it."))


def _examine(steps: Steps, student: str, paths: list[str]) -> Examined:
    """In a worker."""
    return patiently(steps.examine, student, paths)  # nbgrader reads the gradebook in it


def _record(steps: Steps, examined: Examined) -> Ended:
    states = [state_of(notebook) for notebook in patiently(steps.record, examined)]
    return Ended(examined.student, worst(states), examined.seconds, examined.unjudged)
