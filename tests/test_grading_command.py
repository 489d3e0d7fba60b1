"""`nbgrader autograde` and what follows it, where a class is not as it should be: names, lost files, killed graders."""

import csv
import json
import os
import re
from pathlib import Path

import pytest
from grading_chapter import GRADED_ON, RIGHT, TOPIC, WRONG, Course, answered
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.api import Gradebook

from autograder.grading import door
from autograder.grading.runner import Limits, kernel_environment, run_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Course:
    return Course.make(tmp_path_factory.mktemp("released") / "course")


@pytest.fixture
def course(released: Course, tmp_path: Path) -> Course:
    return released.copy(tmp_path / "course")


def scores(course: Course) -> dict[str, float]:
    with Gradebook(f"sqlite:///{course.root / 'classroom' / 'gradebook.db'}") as gradebook:
        return {s.student.id: s.score for s in gradebook.assignment_submissions(TOPIC)}


def waiting(course: Course) -> set[tuple[str, str]]:
    """(student, cell) of every grade that waits for a person."""
    with Gradebook(f"sqlite:///{course.root / 'classroom' / 'gradebook.db'}") as gradebook:
        submissions = gradebook.assignment_submissions(TOPIC)
        grades = [(s.student.id, g) for s in submissions for n in s.notebooks for g in n.grades]
        return {(student, grade.name) for student, grade in grades if grade.needs_manual_grade}


# --- Names


STRANGE = {
    ".hidden": "begins with a dot",
    "two\nlines": "a line break",
    "<b>bold": "holds < >",
    "star*": "holds *",
    " spaced": "begins or ends with a space",
    "left\u202eright": "cannot be printed",
    "x" * 129: "has 129 characters",
}
GOOD = ["anna", "Müller, Anna [2]", "O'Brien", "c.d+e@f-g_h"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_that_cannot_be_carried_to_a_grade_is_refused_with_the_reason(name):
    assert STRANGE[name] in door.why_refused(name)


def test_a_folder_that_may_not_be_read_is_reported(tmp_path, monkeypatch):
    for student in ("anna", "bert"):
        (tmp_path / student / "x").mkdir(parents=True)
    monkeypatch.setattr(door.os, "access", lambda path, mode: path.name != "bert")
    names, (sentence,) = door.submissions(tmp_path, "x")
    assert names == ["anna"] and "'bert'" in sentence and "may not read" in sentence
    assert door.submissions(tmp_path, "x", "anna") == (["anna"], [])


def test_students_with_strange_names_are_reported_and_all_others_graded(course):
    for name in [*GOOD, *STRANGE]:
        course.hand_in(name, answered(course.release, **RIGHT))
    said = course.nbgrader("autograde", TOPIC, rc=1)
    assert scores(course) == dict.fromkeys(GOOD, 7.0)
    for name, reason in STRANGE.items():
        (line,) = [line for line in said.splitlines() if f"The folder {name!a} in" in line and "not graded" in line]
        assert reason in line and "Rename it" in line
    course.nbgrader("generate_feedback", TOPIC)
    for name in GOOD:
        assert "A number is doubled." in course.feedback(name)
    said = course.nbgrader("autograde", TOPIC, "--student=Müller, Anna [2]", "--force")
    assert "not graded" not in said, "nobody asked about the others"
    course.nbgrader("export", "--to=grades.csv")
    with (course.root / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows} == dict.fromkeys(GOOD, (7, 9))


@pytest.mark.parametrize("place", ["plain", "courses [2026]", "it's (mine)", "a+b {c}"])
def test_a_folder_is_found_by_its_name_and_others_by_a_pattern(tmp_path, place):
    for student in ("a", "b[1]", "b1"):
        (tmp_path / place / student / "x").mkdir(parents=True)
    base = f"{tmp_path}/{place}"
    assert sorted(door.find(f"{base}/*/x")) == [f"{base}/a/x", f"{base}/b1/x", f"{base}/b[1]/x"]
    assert door.find(f"{base}/b[1]/x") == [f"{base}/b[1]/x"]
    assert door.find(f"{base}/[b]1/x") == [f"{base}/b1/x"]
    assert door.find(f"{base}/./a") == [f"{base}/./a"]
    assert door.find(f"{base}/nobody") == []


def test_a_class_in_a_folder_with_brackets_is_graded(tmp_path):
    course = Course.make(tmp_path / "it's a [copy] (of) {2026}")
    assert {p.name for p in (course.root / "course" / TOPIC).iterdir()} == {f"{TOPIC}.ipynb"}, "no solutions beside it"
    course.hand_in("anna", answered(course.release, **WRONG))
    course.nbgrader("autograde", TOPIC)
    course.nbgrader("generate_feedback", TOPIC)
    assert "The sign is wrong." in course.feedback("anna")
    assert "anna" in course.python("-m", "autograder.grading.rejudge", TOPIC)


# --- Lost submissions, killed graders


UNLUCKY = """
from autograder.grading import converter

stock = converter.read_submission

def read_submission(folder, *rest):
    if folder.parent.name == "unlucky":
        raise MemoryError("nobody foresaw this")
    return stock(folder, *rest)

converter.read_submission = read_submission
"""


def test_every_lost_submission_has_a_sentence_and_a_page(course):
    course.hand_in("anna", answered(course.release, **RIGHT))
    course.hand_in("unlucky", answered(course.release, **RIGHT, essay="My essay."))
    (course.hand_in("directory", b"", "notes.txt") / f"{TOPIC}.ipynb").mkdir()
    course.hand_in("empty", b"")
    (course.root / "classroom" / "submitted" / "file").mkdir()
    (course.root / "classroom" / "submitted" / "file" / TOPIC).write_bytes(b"PK\x03\x04")
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + UNLUCKY)
    said = course.nbgrader("autograde", TOPIC, rc=1)
    assert "unlucky: The grader failed on it (MemoryError)" in said and "nobody foresaw this" in said
    course.nbgrader("generate_feedback", TOPIC)
    for student in ("unlucky", "directory", "empty", "file"):
        assert "could not be graded" in course.feedback(student), student
    assert scores(course)["anna"] == 7
    assert {cell for student, cell in waiting(course) if student == "unlucky"} == {"double_check", "shout_check", "essay"}
    assert "No response." not in course.feedback("unlucky")
    # Mended, and the same command again: whoever was lost is graded, nobody else is run again.
    config.write_text(config.read_text().replace("raise MemoryError", "pass  #"))
    before = (course.root / "classroom" / "autograded" / "anna" / TOPIC / f"{TOPIC}.ipynb").stat().st_mtime_ns
    course.nbgrader("autograde", TOPIC, "--student=unlucky")
    assert scores(course)["unlucky"] == 7
    assert (course.root / "classroom" / "autograded" / "anna" / TOPIC / f"{TOPIC}.ipynb").stat().st_mtime_ns == before


def test_what_a_killed_grader_left_is_graded_by_the_next(course):
    """It ends while the first student's notebook runs, or is written; the second has not been reached."""
    course.hand_in("anna", answered(course.release, **RIGHT))
    course.hand_in("bert", answered(course.release, **RIGHT))
    whole = (course.root / "nbgrader_config.py").read_text()
    killing = "\nimport os\nfrom autograder.grading import execute\nexecute.run_notebook = lambda *_: os._exit(9)\n"
    (course.root / "nbgrader_config.py").write_text(whole + killing)
    course.nbgrader("autograde", TOPIC, rc=9)
    (course.root / "nbgrader_config.py").write_text(whole)
    left = course.root / "classroom" / "autograded" / "anna" / TOPIC / f"{TOPIC}.ipynb"
    assert left.exists(), "the rebuilt notebook lies where an executed one would"
    assert "was not finished" in course.nbgrader("autograde", TOPIC)
    assert scores(course) == {"anna": 7, "bert": 7}
    executed = left.read_bytes()
    assert "not finished" not in course.nbgrader("autograde", TOPIC)
    assert left.read_bytes() == executed
    left.chmod(0o644)
    left.write_bytes(executed[: len(executed) // 2])
    assert "was not finished" in course.nbgrader("autograde", TOPIC)
    assert json.loads(left.read_text())["metadata"]["course"]["grading_seeds"] == GRADED_ON


# --- Judged again


def test_a_re_judge_reassigns_penalties_keeps_grades_by_hand_and_reads_points_from_the_gradebook(course):
    (course.root / "late.py").write_text(
        "from nbgrader.plugins import BasePlugin\n\n"
        "class Half(BasePlugin):\n"
        "    def late_submission_penalty(self, student, score, seconds):\n        return score / 2\n"
    )
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + "\nimport late\nc.AssignLatePenalties.plugin_class = late.Half\n")
    for student, answers in {"late": RIGHT, "hand": WRONG | {"essay": "My essay."}}.items():
        folder = course.hand_in(student, answered(course.release, **answers))
        (folder / "timestamp.txt").write_text("2026-03-02 12:00:00 UTC")
    url = f"sqlite:///{course.root / 'classroom' / 'gradebook.db'}"
    with Gradebook(url) as gradebook:
        gradebook.update_or_create_assignment(TOPIC, duedate="2026-03-01 12:00:00 UTC")
    course.nbgrader("autograde", TOPIC)

    def penalties() -> dict[str, float]:
        with Gradebook(url) as gradebook:
            return {s.student.id: s.late_submission_penalty for s in gradebook.assignment_submissions(TOPIC)}

    assert penalties()["late"] == 3.5
    assert waiting(course) == {("hand", "essay")}
    with Gradebook(url) as gradebook:  # as formgrader does
        for cell, points in {"essay": 1.5, "shout_check": 2.5}.items():
            grade = gradebook.find_grade(cell, TOPIC, TOPIC, "hand")
            grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()
        gradebook.update_or_create_grade_cell("double_check", TOPIC, TOPIC, max_score=8)
    said = course.python("-m", "autograder.grading.rejudge", TOPIC)
    assert "3.50 ->    5.50   changed" in said, "(8 + 3) / 2"
    assert scores(course)["late"] == 11 and penalties()["late"] == 5.5
    assert waiting(course) == set(), "a person has graded these, and nothing beneath has changed"
    (double,) = (c for c in course.autograded("late").cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double_check")
    assert "8 of 8 points" in double.outputs[0].data["text/plain"]
    # The reference is corrected: what a person decided on other points is shown to that person again.
    chapter = course.root / "solutions" / TOPIC / f"{TOPIC}.py"
    chapter.write_text(chapter.read_text().replace("return text.upper()", "return text.capitalize()"))
    course.python("-m", "autograder.grading.rejudge", TOPIC)
    assert waiting(course) == {("hand", "shout_check")}


LONG_RUNNING = """
import json, pathlib, sys
from autograder.grading import provisioner
from nbgrader.apps.baseapp import NbGrader
from nbgrader.apps.api import NbGraderAPI

app = NbGrader()
app.initialize([])
api = NbGraderAPI(app.coursedir, parent=app)
topic = sys.argv[1]
folder = pathlib.Path("solutions") / topic
notebook = pathlib.Path("classroom/autograded/anna") / topic / f"{topic}.ipynb"
for change in (None, ("mistakes.py", "The sign is wrong.", "A better hint."), (f"{topic}.py", "2 * x", "-2 * x")):
    if change:
        path = folder / change[0]
        path.write_text(path.read_text().replace(*change[1:]))
    result = api.autograde(topic, "anna")
    assert result["success"], result
    written = json.loads(notebook.read_text())
    shown = [c for c in written["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == "double_check"]
    print(json.dumps([list(written["metadata"]["course"]["grading_seeds"].values()), str(shown)]))
print("warm processes:", provisioner._server.cache_info().currsize)
"""


def test_a_formgrader_that_runs_for_weeks_sees_corrections_and_draws_seeds_for_each_grading(course):
    course.hand_in("anna", answered(course.release, **WRONG))
    (course.root / "weeks.py").write_text(LONG_RUNNING)
    said = course.python("weeks.py", TOPIC, COURSE_FIXED_SEEDS="")
    assert "warm processes: 1" in said or os.environ.get("COURSE_SANDBOX") == "off"
    seeds, shown = zip(*(json.loads(line) for line in said.splitlines() if line.startswith("[[[")), strict=True)
    assert len({tuple(drawn) for by_cell in seeds for drawn in by_cell}) == 6, "of two check cells in three gradings"
    assert ["The sign is wrong." in page for page in shown] == [True, False, False]
    assert ["A better hint." in page for page in shown] == [False, True, False]
    assert [re.search(r"(\d+) of \1 cases pass", page) is not None for page in shown] == [False, False, True]


# --- What students see


def test_progress_in_a_notebook_shows_nothing_of_the_graders(course):
    notebook = answered(course.release, **RIGHT)
    notebook.cells.append(new_code_cell("from autograder import progress\nprogress()"))
    course.hand_in("anna", notebook)
    course.nbgrader("autograde", TOPIC)
    course.nbgrader("generate_feedback", TOPIC)
    page = course.feedback("anna")
    assert "Progress is not shown in grading" in page and "perplexity" not in page


def test_plots_are_shown_though_somebody_set_a_backend_for_scripts(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = new_notebook(cells=[new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")])
    run_notebook(notebook, kernel_environment(), Limits(), None)
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[0].outputs), notebook.cells[0].outputs
