"""`autograder grade`: the same grades as `nbgrader autograde`, whatever is killed on the way."""

import contextlib
import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import warm_python
from conftest import WHOLE
from grading_chapter import RIGHT, TOPIC, WRONG, Course, answered
from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException
from sqlalchemy.exc import OperationalError

from autograder.grading import gradebook
from autograder.grading.fleet import classrun, local
from autograder.grading.fleet.steps import Steps
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STUDENT_ERROR, SUBMISSION_ERROR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if WHOLE else 600)]

CLASS = {
    "anna": RIGHT,
    "bert": WRONG,
    "carl": {"double": RIGHT["double"]},
    "dora": RIGHT | {"shout": "import os\n\ndef shout(text):\n    return text.upper()\n\nos._exit(3)"},
    "emil": RIGHT | {"essay": "My essay."},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Course:
    return Course.make(tmp_path_factory.mktemp("fleet") / "course")


@pytest.fixture
def course(made, tmp_path) -> Course:
    return made.copy(tmp_path / "course")


def hand_in_all(course: Course) -> None:
    release = course.release
    for student, answers in CLASS.items():
        course.hand_in(student, answered(release, **answers))
    course.hand_in("fool", b"this is no notebook")


def grade(course: Course, *arguments: str, rc: int = 0, **environment: str) -> str:
    return course.python("-m", "autograder.cli", "grade", TOPIC, *arguments, rc=rc, **environment)


def graded(course: Course, db_url: str = "") -> dict[tuple[str, str], tuple]:
    """(student, cell) -> the grade, its state and comments, as the gradebook has them."""
    with Gradebook(db_url or f"sqlite:///{course.root / 'classroom' / 'gradebook.db'}") as gradebook:
        found = [
            ((submission.student.id, grade.name), (grade.auto_score, grade.manual_score, grade.needs_manual_grade))
            for submission in gradebook.assignment_submissions(TOPIC)
            for notebook in submission.notebooks
            for grade in notebook.grades
        ]
    assert len(found) == len(dict(found)), "nobody is there twice"
    return dict(found)


def exported(course: Course, *options: str) -> dict[str, dict]:
    course.nbgrader("export", *options)
    with (course.root / "classroom" / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


def test_a_class_gets_the_grades_that_nbgrader_gives_and_each_submission_says_how_it_ended(course, tmp_path):
    hand_in_all(course)
    stock = course.copy(tmp_path / "stock")
    stock.nbgrader("autograde", TOPIC)
    said = grade(course, "--workers=3")
    assert graded(course) == graded(stock)
    assert "6 of 6 submissions" in said and "3 workers" in said
    assert "4 graded" in said and "1 student error" in said and "1 submission error" in said
    states = {student: row["state"] for student, row in exported(course).items()}
    assert states == dict.fromkeys(CLASS, GRADED) | {"dora": STUDENT_ERROR, "fool": SUBMISSION_ERROR}
    assert {s: row["state"] for s, row in exported(stock).items()} == states, "told apart with stock's command too"
    for student in CLASS:
        pair = course.autograded(student), stock.autograded(student)
        texts = [[cell.source for cell in notebook.cells] for notebook in pair]
        assert texts[0] == texts[1]
    course.nbgrader("generate_feedback", TOPIC)
    assert "The sign is wrong." in course.feedback("bert")
    # Nobody is graded twice, but who is asked for.
    assert "0 of 6 submissions" in grade(course)
    assert "2 of 2 submissions" in grade(course, "--only-failed")
    assert "1 of 1 submissions" in grade(course, "--student=anna", "--force")
    assert "0 of 1 submissions" in grade(course, "--student=anna")
    assert "anna" in grade(course, "--rejudge")
    assert graded(course) == graded(stock)


# --- Killed


@contextlib.contextmanager
def begun(course: Course, *arguments: str, start=warm_python.start) -> Iterator[tuple]:
    """`autograder grade` as a process of its own, and a function that gives what it said."""
    command = [sys.executable, "-m", "autograder.cli", "grade", TOPIC, *arguments]
    with (course.root / "said.txt").open("w+") as out:
        process = start(command, cwd=course.root, env=os.environ | course.environment(), stdout=out)
        try:
            yield process, lambda: (course.root / "said.txt").read_text()
        finally:
            process.kill()
            process.wait()


def a_new_python(command, cwd, env, stdout) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=subprocess.STDOUT)


def finished(course: Course) -> int:
    return len(list((course.root / "classroom" / "autograded").glob(f"*/{TOPIC}/{TOPIC}.ipynb")))


def wait_for(true, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def of_this_class(course: Course) -> list[int]:
    """The processes of this machine that were started for this course, or are at work in its folder, and still run."""
    mark, found = str(course.root), []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            ends = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            started = mark.encode() in Path(f"/proc/{process}/environ").read_bytes()
            if not ends and (started or os.readlink(f"/proc/{process}/cwd") == mark):
                found.append(int(process))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_grader_killed_at_any_moment_and_begun_again_gives_every_grade_once(course, tmp_path):
    """With SIGKILL, at moments drawn at random; one submission is then graded by nbgrader's own command, the others go on."""
    kills, students = (5, 500) if WHOLE else (3, 12)
    release, answers = course.release, list(CLASS.values())
    for i in range(students):
        course.hand_in(f"student{i:03d}", answered(release, **answers[i % len(answers)]))
    undisturbed = course.copy(tmp_path / "undisturbed")
    draw, reached = random.Random(time.time_ns()), 0
    for _ in range(kills):
        reached = min(students - 1, max(reached, finished(course)) + draw.randint(1, max(1, students // (kills + 2))))
        with begun(course, "--workers=3") as (process, said):
            wait_for(lambda p=process, n=reached: finished(course) >= n or p.poll() is not None, 900)
            time.sleep(draw.random() * 0.3)
        assert process.returncode == -signal.SIGKILL, said()
        wait_for(lambda: not of_this_class(course))
    course.nbgrader("autograde", TOPIC, f"--student=student{students - 1:03d}")
    grade(course, "--workers=3")
    grade(undisturbed)
    assert len(graded(course)) == 3 * students and graded(course) == graded(undisturbed)
    assert {row["state"] for row in exported(course).values()} == {GRADED, STUDENT_ERROR}


def test_an_interrupted_grader_ends_in_order_and_says_how_to_go_on(course):
    for i in range(6):
        course.hand_in(f"student{i}", answered(course.release, **RIGHT))
    with begun(course, "--workers=2", start=a_new_python) as (process, said):
        wait_for(lambda: finished(course) >= 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=200) == 130, said()
    assert "the same command goes on from there" in said() and "Traceback" not in said()
    wait_for(lambda: not of_this_class(course))
    grade(course)
    assert {grade[0] for (_, cell), grade in graded(course).items() if cell == "double_check"} == {4}


KILLING = """
import os, signal
from autograder.grading import converter

stock = converter.read_submission

def read_submission(folder, *rest):
    if folder.parent.name == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    return stock(folder, *rest)

converter.read_submission = read_submission
"""


def test_a_submission_that_kills_its_graders_is_reported_and_costs_nobody_else(course):
    for student in ("anna", "bert", "killer", "zoe"):
        course.hand_in(student, answered(course.release, **RIGHT))
    config = course.root / "nbgrader_config.py"
    whole = config.read_text()
    config.write_text(whole + KILLING)
    said = grade(course, "--workers=2", rc=1)
    assert "killer: infrastructure error" in said and "3 processes that graded it were killed" in said
    assert "1 infrastructure error: the grader failed, and there is no grade" in said
    rows = exported(course)
    assert {student: row["score"] for student, row in rows.items()} == {
        "anna": "7.0", "bert": "7.0", "zoe": "7.0", "killer": ""
    }  # fmt: skip
    assert rows["killer"]["state"] == INFRASTRUCTURE_ERROR
    config.write_text(whole)
    said = grade(course)
    assert "1 of 4 submissions" in said, "the same command tries again who has no grade, and nobody else"
    assert exported(course)["killer"]["score"] == "7.0"


def test_a_killed_worker_costs_nothing(course):
    for i in range(5):
        course.hand_in(f"student{i}", answered(course.release, **RIGHT))
    with begun(course, "--workers=2") as (process, said):
        wait_for(lambda: finished(course) >= 1)
        (worker, *_) = [p for p in of_this_class(course) if p != process.pid]
        os.kill(worker, signal.SIGKILL)
        assert process.wait(timeout=200) == 0, said()
    assert {row["state"] for row in exported(course).values()} == {GRADED}


# --- What whoever grades does


def test_two_do_not_grade_one_class_at_once_and_a_missing_class_is_a_sentence(course):
    assert "No notebooks were matched" in grade(course, rc=1)
    course.hand_in("anna", answered(course.release, **RIGHT))
    course.hand_in(".hidden", answered(course.release, **RIGHT))
    said = grade(course, rc=1)
    assert "1 graded" in said and "'.hidden'" in said and "begins with a dot" in said
    with begun(course, "--force", "--Execute.timeout=60") as (process, said):
        lock = course.root / "classroom" / "autograded" / ".grading"
        wait_for(lambda: _is_locked(lock) or process.poll() is not None)
        assert "Another `autograder grade` is at work on this class" in grade(course, rc=1)
        assert process.wait(100) == 1, f"the hidden folder is still not graded: {said()}"


def _is_locked(path: Path) -> bool:
    import fcntl

    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_a_number_of_workers_is_a_number(wrong, capsys):
    from autograder.grading.fleet.grade import main

    with pytest.raises(SystemExit):
        main([TOPIC, f"--workers={wrong}"])
    assert "--workers" in capsys.readouterr().err


def locked() -> OperationalError:
    return OperationalError("insert", {}, sqlite3.OperationalError("database is locked"))


def shut_down() -> OperationalError:
    return OperationalError("insert", {}, psycopg.errors.AdminShutdown("terminating connection"))


@pytest.mark.parametrize("away", [locked, shut_down])
def test_a_gradebook_that_is_away_is_waited_for_and_then_a_sentence(away, monkeypatch):
    calls = []

    def write(times: int) -> str:
        calls.append(times)
        if len(calls) < times:
            raise away()
        return "written"

    monkeypatch.setattr(gradebook.time, "sleep", lambda _: None)
    assert gradebook.patiently(write, 3) == "written" and len(calls) == 3
    monkeypatch.setattr(gradebook, "AWAY_SECONDS", -1.0)
    with pytest.raises(NbGraderException, match=r"another program holds it.*All that was graded so far is recorded"):
        gradebook.patiently(write, 100)


def test_what_no_waiting_mends_is_said_at_once(monkeypatch):
    def write() -> None:
        raise OperationalError("insert", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(gradebook.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(NbGraderException, match="disk I/O error"):
        gradebook.patiently(write)


class FakeWorkers:
    """Examines at once; the workers die of the submissions that are named."""

    died, capacity = ConnectionError, 3

    def __init__(self, deadly: set[str]):
        self.deadly, self.tried = deadly, []

    def submit(self, work, student: str, paths: list[str]) -> Future:
        self.tried.append(student)
        future: Future = Future()
        future.set_exception(ConnectionError()) if student in self.deadly else future.set_result(student)
        return future

    def renew(self) -> None:
        self.tried.append("renewed")


def test_who_was_in_hand_when_a_worker_died_is_tried_again_alone(monkeypatch):
    class FakeSteps:
        def begin(self, student):
            return ["notebook"]

        def examine(self, student, paths, lost):
            return f"{student} is lost"

    monkeypatch.setattr(classrun, "_record", lambda steps, examined: examined)
    workers = FakeWorkers({"b"})
    ended = list(classrun.run_class(FakeSteps(), list("abcdefg"), workers))
    assert sorted(ended) == ["a", "b is lost", "c", "d", "e", "f", "g"]
    assert workers.tried.count("b") == classrun.TRIES
    last = [i for i, name in enumerate(workers.tried) if name == "b"][-1]
    assert workers.tried[last - 1] == workers.tried[last + 1] == "renewed", "nobody else was in hand with it any more"


def test_a_folder_that_cannot_be_written_costs_nobody_else(monkeypatch):
    class FakeSteps:
        def begin(self, student):
            if student == "b":
                raise PermissionError("no such right")
            return ["notebook"]

    def record(steps, examined):
        if examined == "c":
            raise OSError("the disk is full")
        return classrun.Ended(examined, GRADED, 0.0)

    monkeypatch.setattr(classrun, "_record", record)
    ended = {one.student: one for one in classrun.run_class(FakeSteps(), list("abcd"), FakeWorkers(set()))}
    assert {student: one.state == GRADED for student, one in ended.items()} == {"a": True, "b": False, "c": False, "d": True}
    assert ended["b"].state == INFRASTRUCTURE_ERROR
    assert ended["c"].sentences == ["It could not be recorded: OSError: the disk is full"]


def test_a_step_that_whoever_grades_puts_before_the_run_is_not_left_out():
    names = ["nbgrader.preprocessors.ClearOutput", "autograder.grading.execute.Execute", "nbgrader.preprocessors.LimitOutput"]
    names += ["autograder.grading.verdict.SaveGrades", "nbgrader.preprocessors.AssignLatePenalties"]
    before, run, behind, last = Steps._cut(SimpleNamespace(autograde_preprocessors=names))
    assert [*before, run, *behind, *last] == names
    assert (before, run, last) == (names[:1], names[1], names[3:])


def test_there_are_as_many_workers_as_the_machine_can_hold(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "_free_gb", lambda: 100.0)
    assert local.default_count() == 16
    monkeypatch.setattr(local, "_free_gb", lambda: 3.0)
    assert local.default_count() == 4
    monkeypatch.setattr(local, "_free_gb", lambda: 0.1)
    assert local.default_count() == 1
