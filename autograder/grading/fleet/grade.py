"""`autograder grade`: a class through nbgrader's own steps, several submissions at once, to be stopped and begun at any time.

    autograder grade 01_pretraining [--workers 4] [--student NAME] [--only-failed] [--force] [--rejudge] [--no-sandbox]
                                    [--image IMAGE [--engine podman]] [--scheduler tcp://HOST:8786]

What is behind it is read from `nbgrader_config.py`; nbgrader's options can follow (--Execute.timeout=60). Ctrl-C, or a
machine that is switched off, loses nothing that was graded: the same command goes on from there, and so does
`nbgrader autograde`.
"""

import argparse
import contextlib
import logging
import os
import secrets
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import NbGraderException
from tqdm import tqdm

from autograder.grading.execute import SANDBOX, Execute, draw_afresh
from autograder.grading.fleet.classrun import Ended, run_class
from autograder.grading.fleet.cluster import ClusterWorkers
from autograder.grading.fleet.containers import ContainerWorkers
from autograder.grading.fleet.elsewhere import Elsewhere
from autograder.grading.fleet.local import LocalWorkers, cores, default_count
from autograder.grading.fleet.steps import Steps
from autograder.grading.gradebook import GradebookBusy, opened_quickly, reached
from autograder.grading.rejudge import executed
from autograder.grading.states import (
    GRADED,
    INFRASTRUCTURE_ERROR,
    STATES,
    STUDENT_ERROR,
    SUBMISSION_ERROR,
    state_of_file,
)

SLOW_SECONDS = 5.0  # a submission in hand for longer is named beside the bar
INTERRUPTED = 130  # exit code, as a shell gives it
LOG, LOCK = "grading.log", ".grading"
EPILOG = """nbgrader's options may follow, such as --Execute.timeout=60, or --db=URL for another gradebook. Large classes,
PostgreSQL and clusters: autograder/handbook/large_classes.md"""
MEANINGS = {
    GRADED: "",
    STUDENT_ERROR: ": their code hung, ended Python, or left a check cell without a result; such a cell has 0",
    SUBMISSION_ERROR: ": what was handed in cannot be read; it has 0, and a page that says why",
    INFRASTRUCTURE_ERROR: ": the grader failed, and there is no grade; --only-failed tries again",
}


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit code 1 where something was not graded, 130 where it was interrupted."""
    arguments, options = _parser().parse_known_args(argv)
    if arguments.no_sandbox:
        os.environ[SANDBOX] = "off"
    if arguments.rejudge:
        from autograder.grading.rejudge import main as rejudge

        workers = ["--workers", str(arguments.workers)] if arguments.workers else []
        return rejudge([arguments.topic, "--student", arguments.student, *workers, *options])
    opener = Opener(tuple(options), arguments.topic, arguments.student, arguments.force or arguments.only_failed)
    try:
        steps = opener()
        with reached(steps.coursedir.db_url), _alone(_results(steps)), _logged(steps):
            return _grade(steps, opener, arguments)
    except NbGraderException as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="autograder grade", description="Grade a class, several submissions at once.", epilog=EPILOG
    )
    parser.add_argument("topic", help="the chapter, such as 01_pretraining")
    parser.add_argument("--workers", type=_positive, default=0, help="submissions at a time (two for each core)")
    parser.add_argument("--student", default="*", help="one student only, or a pattern of names")
    parser.add_argument("--only-failed", action="store_true", help="again, those that did not end as 'graded'")
    parser.add_argument("--force", action="store_true", help="again, those that were graded before")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--image", help="run the notebooks in containers made of this image")
    where.add_argument("--scheduler", metavar="ADDRESS", help="run the notebooks on the machines of this dask cluster")
    parser.add_argument("--engine", default="", help="what starts containers (podman or docker, as there is)")
    parser.add_argument("--rejudge", action="store_true", help="judge again what was run before, running nothing")
    without = "run what students hand in as you, without a sandbox; with --image, in a container for each"
    parser.add_argument("--no-sandbox", action="store_true", help=without)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one worker is needed")
    return number


@dataclass(frozen=True)
class Opener:
    """What it takes to open the class, here and in a process that is no fork of this one."""

    options: tuple[str, ...]
    topic: str
    students: str
    force: bool
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))  # which the seeds are drawn from

    def __call__(self) -> Steps:
        """The converter of the class, opened once in each process (a fork has its parent's)."""
        return _open(self)


@lru_cache
def _open(opener: Opener) -> Steps:
    opened_quickly()
    app = NbGrader()
    app.initialize(list(opener.options))
    app.coursedir.assignment_id, app.coursedir.student_id = opener.topic, opener.students
    draw_afresh(opener.secret)
    steps = Steps(coursedir=app.coursedir, parent=app, force=opener.force)
    with reached(app.coursedir.db_url):
        steps.open()
    return steps


def _grade(steps: Steps, opener: Opener, arguments: argparse.Namespace) -> int:
    here = not (arguments.scheduler or arguments.image)
    if here:
        steps.begin_sandbox()
    steps.compute_reference()  # while the kernels' warm process imports
    if here:
        steps.try_sandbox()
    students = list(steps.folders)
    if arguments.only_failed:
        failed = _failed(steps.coursedir, arguments.topic)
        students = [student for student in students if student in failed]
    workers = _workers(steps, opener, arguments)
    at_once = workers.slots()
    ended: list[Ended] = []
    started, stopped, code = time.monotonic(), "", 0
    bar = tqdm(total=len(students), unit=" submissions", smoothing=0.05, dynamic_ncols=True, disable=None)
    try:
        with bar, _interruptible() as look:
            for one in run_class(steps, students, workers, lambda running: (look(), _show(bar, running))):
                ended.append(one)
                bar.update()
                if one.state != GRADED:
                    tqdm.write("\n".join([f"{one.student}: {one.state}", *(f"    {s}" for s in one.sentences)]))
    except KeyboardInterrupt:
        stopped, code = "Interrupted. What was graded is recorded; the same command goes on from there.", INTERRUPTED
    except GradebookBusy as error:
        stopped, code = str(error), 1
    finally:
        workers.close()
    for line in _summary(arguments.topic, ended, len(students), time.monotonic() - started, at_once):
        print(line)
    for sentence in [*steps.refused, *filter(None, [stopped])]:
        print(sentence, file=sys.stderr)
    return code or int(bool(steps.refused) or any(one.state == INFRASTRUCTURE_ERROR for one in ended))


def _workers(steps: Steps, opener: Opener, arguments: argparse.Namespace) -> LocalWorkers | Elsewhere:
    count = arguments.workers or default_count()
    if arguments.scheduler:
        return ClusterWorkers(opener, arguments.scheduler, arguments.workers or cores())
    if arguments.image:
        execute = Execute(parent=steps)
        limits = {name: getattr(execute, name) for name in ("memory_mb", "files_mb", "processes")}
        here = min(count, cores())
        return ContainerWorkers(opener, arguments.image, count, here, arguments.engine, execute.is_sandboxed(), limits)
    return LocalWorkers(opener, count)


def _failed(coursedir, topic: str) -> set[str]:
    """Whose submission did not end as 'graded'; one that was never begun is not among them."""
    return {name for name, path in executed(coursedir, topic) if state_of_file(path) != GRADED}


def _show(bar: tqdm, running: dict[str, float]) -> None:
    slow = sorted(((seconds, name) for name, seconds in running.items() if seconds > SLOW_SECONDS), reverse=True)
    bar.set_postfix_str(", ".join(f"{name} {seconds:.0f} s" for seconds, name in slow[:3]))


def _summary(topic: str, ended: list[Ended], asked: int, seconds: float, workers: int) -> Iterator[str]:
    counts = Counter(one.state for one in ended)
    rate = f", {len(ended) / seconds:.2f} a second with {workers} workers" if ended else ""
    yield f"{topic}: {len(ended)} of {asked} submissions in {seconds:.0f} s{rate}."
    for state in STATES:
        if counts[state]:
            yield f"  {counts[state]:5d} {state}{MEANINGS[state]}"
    slow = sorted(((one.seconds, one.student) for one in ended if one.seconds > SLOW_SECONDS), reverse=True)
    if slow and slow[0][0] > 3 * statistics.median(one.seconds for one in ended):
        yield f"  slowest: {', '.join(f'{student} {taken:.0f} s' for taken, student in slow[:3])}"
    if asked > len(ended):
        yield f"  {asked - len(ended):5d} not graded now: graded before, or not reached"


def _results(steps: Steps) -> Path:
    folder = Path(steps.coursedir.root) / steps.coursedir.autograded_directory
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that grade one class at once would grade everybody twice."""
    with (folder / LOCK).open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except OSError:
            says = f"Another `autograder grade` is at work on this class (it holds {lock.name})."
            raise NbGraderException(f"{says} Wait for its end, or stop it.") from None
        yield


@contextlib.contextmanager
def _logged(steps: Steps) -> Iterator[None]:
    """What nbgrader tells of each submission goes to a file: beside a bar only what needs somebody may be seen."""
    log = steps.log
    to_file = logging.FileHandler(_results(steps) / LOG, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    handlers, propagate = log.handlers, log.propagate
    log.handlers, log.propagate = [to_file], False
    try:
        yield
    finally:
        log.handlers, log.propagate = handlers, propagate
        to_file.close()


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM end it in order. Yields what is called now and then: an interrupt that came where some library
    holds all errors for its own is raised again there.
    """
    came: list[int] = []

    def interrupt(number: int, frame) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def look() -> None:
        if came:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield look
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
