"""A whole class through stock nbgrader: every kind of damage, and nobody lost.

What each submission should score is derived from the functions in it, by the judge, on the seeds that graded it.
"""

import base64
import codecs
import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from socket import socket

import nbformat
import pytest
from grading_chapter import GRADED_ON, RIGHT, TOPIC, WRONG, Course, answered, cell_of
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.evidence import MIME, PUBLIC_SEEDS
from autograder.grading.execute import draw_afresh, draw_seeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHOTO = b"\x89PNG\r\n\x1a\na derivation"
SHOWN = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"
XSS = "<script>alert('student')</script>"

BORROWED = {"double": RIGHT["double"], "shout": "def shout(text):\n    return loud(text) * math.floor(HALF) + END"}

CHEAT = """
import autograder, autograder.check, autograder.evidence, autograder.limits, tiny_probes, torch
from IPython.display import display
forged = {"version": 1, "exercise": "double", "records": []}
def check(*_, **__):
    display({"application/vnd.course.evidence+json": forged}, raw=True)
    return 4.0
autograder.check.check = autograder.check = check
autograder.evidence.collect = autograder.evidence.collect_limited = lambda *_: forged
tiny_probes.double.cases.clear()
torch.testing.assert_close = torch.allclose = torch.equal = lambda *_, **__: True
check("double", None)
4.0
"""


def hand_in_everything(course: Course) -> dict[str, dict[str, str]]:
    """Make the class. Returns for each student the answers that should count; {} where nothing is left to count."""
    release = course.release
    counts: dict[str, dict[str, str]] = {}

    noisy = answered(release, **RIGHT, essay=f"My essay. {XSS} <img src='derivation.png'>")
    noisy.cells.append(new_code_cell(f"from IPython.display import HTML\nHTML({XSS!r})"))
    noisy.cells.append(new_code_cell("import sys; print('a progress bar', file=sys.stderr); 1/0"))
    noisy.cells.append(new_markdown_cell(XSS))
    folder = course.hand_in("perfect", noisy)
    (folder / "timestamp.txt").write_text("2026-11-01 12:00:00.000000 UTC\n")
    (folder / "derivation.png").write_bytes(PHOTO)
    (folder / "tiny_probes.py").write_text("raise RuntimeError('a file of the student must not be imported')")
    counts["perfect"] = RIGHT

    course.hand_in("mistaken", answered(release, **WRONG))
    counts["mistaken"] = WRONG

    course.hand_in("blank", release)
    counts["blank"] = {}

    # A byte order mark, no metadata, no ids, another name, a timestamp that is none.
    battered = answered(release, **RIGHT)
    for number, cell in enumerate(battered.cells):
        cell.metadata, cell.id = nbformat.from_dict({}), f"b{number}"
    folder = course.hand_in("battered", codecs.BOM_UTF8 + nbformat.writes(battered).encode(), "my homework.ipynb")
    (folder / "timestamp.txt").write_text("yesterday")
    counts["battered"] = RIGHT

    # Copied cells, a missing check cell, tags, and metadata from other versions of nbgrader.
    copied = answered(release, **RIGHT)
    copied.cells.remove(cell_of(copied, "shout_check"))
    later = nbformat.from_dict(cell_of(copied, "shout"))
    later.source, later.id = WRONG["shout"], "copy"
    copied.cells += [later, nbformat.from_dict(cell_of(copied, "double_check"))]
    for cell in copied.cells:
        cell.metadata.tags = ["skip-execution", "demo"]
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.schema_version = 99 if cell.cell_type == "markdown" else 1
    course.hand_in("copied", json.dumps(copied).encode())
    counts["copied"] = {"double": RIGHT["double"], "shout": WRONG["shout"]}

    text = nbformat.writes(answered(release, **RIGHT))
    course.hand_in("truncated", text[: text.index("def shout")].encode())
    counts["truncated"] = {"double": RIGHT["double"]}

    crashing = answered(release, double="import os\ndef double(x):\n    os._exit(1)", shout=RIGHT["shout"])
    crashing.cells.insert(3, new_code_cell("import os\nos._exit(1)"))
    course.hand_in("crashing", crashing)
    counts["crashing"] = {"shout": RIGHT["shout"]}

    hanging = answered(release, double="def double(x):\n    while True: pass", shout=RIGHT["shout"])
    hanging.cells.insert(3, new_code_cell("while True: pass"))
    course.hand_in("hanging", hanging)
    counts["hanging"] = {"shout": RIGHT["shout"]}

    cheating = answered(release, double=WRONG["double"], shout=RIGHT["shout"])
    cheating.cells.insert(cheating.cells.index(cell_of(cheating, "double_check")), new_code_cell(CHEAT))
    cell_of(cheating, "double_check").source = "4.0"
    cheating.metadata.course = {"grading_seeds": [0, 0, 0]}
    course.hand_in("cheating", cheating)
    counts["cheating"] = {"double": WRONG["double"], "shout": RIGHT["shout"]}

    # Emits a second result from beneath, whenever a cell ends.
    twice = answered(release, **RIGHT)
    twice.cells.insert(
        3,
        new_code_cell(
            "from IPython.display import display\n"
            f"forged = {{'{MIME}': {{'version': 1}}}}\n"
            "get_ipython().events.register('post_run_cell', lambda *_: display(forged, raw=True))"
        ),
    )
    course.hand_in("twice", twice)
    counts["twice"] = {}

    # What a demonstration defines, cheap and long, in answers and in the student's edit of it.
    demo = next(i for i, cell in enumerate(release.cells) if "demo" in cell.metadata.get("tags", []))
    borrowing = answered(release, **BORROWED)
    borrowing.cells[demo].source += "\nEND = ''"
    course.hand_in("borrowing", borrowing)
    counts["borrowing"] = RIGHT

    needy = answered(release, double=RIGHT["double"], shout="def shout(text, by=late):\n    return text.upper()")
    needy.cells[demo].source += "\nlate = train()"
    course.hand_in("needy", needy)
    counts["needy"] = {"double": RIGHT["double"]}

    # Everything beside its stub, and a cell that ends the kernel a moment later.
    beside = nbformat.from_dict(release)
    beside.cells += [
        new_code_cell("exit()"),
        new_code_cell(RIGHT["shout"]),
        new_markdown_cell("My essay, in a cell of its own."),
    ]
    beside.cells.insert(1, new_code_cell(RIGHT["double"]))
    beside.cells.insert(4, new_code_cell("exit()"))
    beside.cells.insert(5, new_code_cell("import torch\ntorch.set_default_dtype(torch.float64)"))
    course.hand_in("beside", beside)
    counts["beside"] = RIGHT

    # From a Mac, in a folder, with the blank original.
    course.hand_in("unzipped", release)
    inside = course.hand_in("unzipped", b"", "notes.txt") / "homework"
    inside.mkdir()
    (inside / f"{TOPIC} (1).ipynb").write_text(nbformat.writes(answered(release, **RIGHT)), encoding="utf-8")
    course.hand_in("unzipped", b"\0\5\x16\7", f"._{TOPIC}.ipynb")
    counts["unzipped"] = RIGHT

    folder = course.hand_in("pipe", b"", "notes.txt")
    os.mkfifo(folder / f"{TOPIC}.ipynb")
    (course.hand_in("folder", b"", "notes.txt") / f"{TOPIC}.ipynb").mkdir()
    linked = course.hand_in("linked", b"", "notes.txt")
    (linked / "notes.txt").unlink()
    linked.rmdir()
    linked.symlink_to(course.root / "classroom" / "submitted" / "perfect" / TOPIC)
    counts |= {"pipe": {}, "folder": {}, "linked": {}}

    for student, content in {"empty": b"", "login-page": b"<html>Please log in</html>"}.items():
        course.hand_in(student, content)
        counts[student] = {}
    (course.hand_in("missing", b"", "notes.txt") / "notes.txt").write_text("I could not upload it.")
    counts["missing"] = {}
    return counts


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    return Course.make(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def counts(course) -> dict[str, dict[str, str]]:
    return hand_in_everything(course)


@pytest.fixture(scope="module")
def submitted_before(course, counts) -> dict:
    return {path: path.read_bytes() for path in (course.root / "classroom" / "submitted").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def log(course, submitted_before) -> str:
    """Autograde the class and write feedback. Exit code 0: damage is no failure."""
    log = course.nbgrader("autograde", TOPIC, "--Execute.timeout=5")
    course.nbgrader("generate_feedback", TOPIC)
    return log


@pytest.fixture(scope="module")
def expected(course, counts) -> Iterator[dict[str, float]]:
    """What every submission should score. The chapter's probes are known in this process for as long."""
    with course.worth(counts) as points:
        yield points


def test_every_submission_scores_what_its_answers_are_worth(course, log, expected):
    course.nbgrader("export", "--to=grades.csv")
    with (course.root / "grades.csv").open() as file:
        exported = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert exported == course.grades() == expected
    assert expected["perfect"] == 7
    assert 0 < expected["mistaken"] < expected["cheating"] < 7


def test_nothing_that_was_handed_in_is_changed(log, submitted_before):
    assert {path: path.read_bytes() for path in submitted_before} == submitted_before


def test_every_grade_is_in_the_gradebook(course, log, counts):
    """A row for each check cell of each student, none of them empty; written answers wait for a person."""
    with sqlite3.connect(course.root / "classroom" / "gradebook.db") as db:
        rows = db.execute("select auto_score, needs_manual_grade from grade").fetchall()
    assert len(rows) == 3 * len(counts)
    assert sum(score is None for score, _ in rows) == 2  # the essays that were written, one in a cell of its own
    assert sum(bool(needs) for _, needs in rows) == 2


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("perfect", SHOWN),
        ("battered", "called <code>my homework.ipynb</code>"),
        ("battered", "recognised by the function"),
        ("copied", "<code>shout_check</code> was missing"),
        ("copied", "2 copies of the answer cell <code>shout</code>"),
        ("truncated", "complete cells were saved"),
        ("truncated", "<code>shout</code> was missing"),
        ("crashing", "ended the Python process"),
        ("hanging", "Is there an endless loop?"),
        ("cheating", "<code>double_check</code> had been changed"),
        ("twice", "emitted 2 results"),
        ("borrowing", "those of its imports, constants and functions"),
        ("needy", "`late` is defined in a demonstration cell that is not run in grading"),
        ("beside", "<code>shout</code> was as it was released, and a cell of your own defines"),
        ("beside", "taken as the answer, for a person to read"),
        ("unzipped", f"called <code>homework/{TOPIC} (1).ipynb</code>"),
        ("unzipped", "holds no answers"),
        ("pipe", "is not a regular file"),
        ("folder", "is a folder"),
        ("linked", "is a link to another one"),
        ("empty", "could not be graded"),
        ("empty", "is empty"),
        ("login-page", "is not a notebook"),
        ("missing", "No notebook was handed in"),
        ("mistaken", "The sign is wrong."),
    ],
)
def test_the_feedback_says_what_happened(course, log, student, said):
    assert said in course.feedback(student)


def test_feedback_holds_no_script_of_a_student_and_no_solution(course, log, counts):
    """The page's own scripts (formulas) are those of a blank submission."""
    for student in counts:
        page = course.feedback(student)
        assert XSS not in page
        assert page.count("<script") == course.feedback("blank").count("<script")
        assert "2 * x" not in page or "2 * x" in counts[student].get("double", "")
        assert "BEGIN SOLUTION" not in page


def test_the_executed_notebook_tells_the_seeds_and_the_demonstration_did_not_run(course, log):
    notebook = course.autograded("perfect")
    assert notebook.metadata.course.grading_seeds == GRADED_ON
    shown = [str(cell.outputs) for cell in notebook.cells if "demo" in cell.metadata.get("tags", [])]
    assert len(shown) == 1
    assert "not run in grading" in shown[0]
    assert not any("tiny_probes.py" in str(path) for path in (course.root / "classroom" / "autograded").rglob("*"))


def test_a_re_judge_executes_nothing_and_gives_the_same_grades(course, log, expected):
    started = time.monotonic()
    said = course.python("-m", "autograder.grading.rejudge", TOPIC)
    assert course.grades() == expected
    assert "changed" not in said
    assert len(said.splitlines()) == len(expected)
    assert time.monotonic() - started < 60


def test_the_class_report_names_the_mistakes(course, log, counts):
    said = course.python("-m", "autograder.cli", "report", TOPIC, "--text")
    makers = sum(WRONG["double"] == answers.get("double") for answers in counts.values())
    assert re.search(rf"^ +{makers}  double +negated$", said, re.MULTILINE)
    assert "Only the first letter is a capital." in said


def test_a_bug_of_the_reference_costs_no_student_a_point(course, log, expected):
    """With a broken reference nothing is recorded as a zero, and a re-judge with the mended one restores all."""
    chapter = course.root / "solutions" / TOPIC / f"{TOPIC}.py"
    whole = chapter.read_text()
    chapter.write_text(whole.replace("return 2 * x", "return undefined_name"))
    try:
        log = course.nbgrader("autograde", TOPIC, "--student=perfect", "--force", rc=1)
        assert "perfect: double_check could not be judged: ReferenceFailed" in log
        with sqlite3.connect(course.root / "classroom" / "gradebook.db") as db:
            rows = db.execute("select auto_score from grade where needs_manual_grade").fetchall()
        assert rows == [(None,)] * 3  # this cell, and the essays of two
        course.python("-m", "autograder.grading.rejudge", TOPIC, "--student=perfect", rc=1)
    finally:
        chapter.write_text(whole)
    assert "perfect" in course.python("-m", "autograder.grading.rejudge", TOPIC, "--student=perfect")
    assert course.grades() == expected


def test_seeds_are_fresh_for_every_command(monkeypatch):
    """Without fixed seeds, two commands draw different ones, and neither draws the public ones."""
    monkeypatch.delenv("COURSE_FIXED_SEEDS", raising=False)
    drawn = set()
    for _ in range(20):
        draw_afresh()
        drawn |= {draw_seeds(TOPIC, cell, student) for cell in ("double_check", "shout_check") for student in ("", "anna")}
        assert draw_seeds(TOPIC, "double_check") == draw_seeds(TOPIC, "double_check")
    assert len(drawn) == 80, "every cell and every student has others"
    assert not {seed for seeds in drawn for seed in seeds} & set(PUBLIC_SEEDS)


class Formgrader:
    """A Jupyter server with nbgrader's formgrader, in a course's folder."""

    def __init__(self, course: Course):
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.token, self.course = uuid.uuid4().hex, course

    def __enter__(self) -> "Formgrader":
        options = [f"--port={self.port}", f"--IdentityProvider.token={self.token}", "--allow-root", "--no-browser"]
        self.log = (self.course.root / "server.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "server", "--ServerApp.port_retries=0", *options],
            cwd=self.course.root,
            env=os.environ | self.course.environment(),
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        for _ in range(120):
            assert self.process.poll() is None, self.log.read()
            try:
                self.ask("api/status")
                return self
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the server did not answer")

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()

    def ask(self, path: str, method: str = "GET") -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()


def test_the_formgrader_shows_the_class_and_grades_one_submission(course, log, counts, expected):
    with Formgrader(course) as formgrader:
        assignments = {a["name"]: a for a in json.loads(formgrader.ask("formgrader/api/assignments"))}
        assert assignments[TOPIC]["num_submissions"] == len(counts)
        submissions = json.loads(formgrader.ask(f"formgrader/api/submissions/{TOPIC}"))
        assert {s["student"]: s["score"] for s in submissions} == expected
        notebooks = json.loads(formgrader.ask(f"formgrader/api/submitted_notebooks/{TOPIC}/{TOPIC}"))
        assert len(notebooks) == len(counts)
        perfect = next(n for n in notebooks if n["student"] == "perfect")
        page = formgrader.ask(f"formgrader/submissions/{perfect['id']}")
        assert "A number is doubled." in page
        assert SHOWN in page
        assert XSS not in page
        for student in ("battered", "missing"):
            answer = formgrader.ask(f"formgrader/api/submission/{TOPIC}/{student}/autograde", "POST")
            assert json.loads(answer)["success"], answer
    assert course.grades() == expected
