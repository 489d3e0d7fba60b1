"""Chapter 03's written derivation goes through stock nbgrader: it waits for a person, and a person's points count."""

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import nbformat
import pytest
import warm_python
from grading_chapter import ROOT, answered, cell_of

from autograder.workshop.release import source_notebook, tool_environment

TOPIC = "03_reinforce"
STUB = "*Replace this line with your answer.*"
WRITTEN = "By the product rule $\\nabla J = \\sum f \\nabla p + \\sum p \\nabla f$. <script>alert(1)</script>"


def release() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "course" / TOPIC / f"{TOPIC}.ipynb", as_version=4)


def test_the_release_asks_for_it_and_does_not_answer_it():
    cell = cell_of(release(), "derivation")
    assert cell.cell_type == "markdown" and cell.source == STUB
    marks = cell.metadata.nbgrader
    assert marks.grade and marks.solution and not marks.locked and marks.points == 6
    answer = cell_of(source_notebook(TOPIC), "derivation").source
    everything = "\n".join(cell.source for cell in release().cells)
    assert not [line for line in answer.splitlines() if len(line) > 30 and line in everything]


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> Path:
    """Two students, graded by stock nbgrader: one wrote a derivation, one did not; both answered nothing else."""
    folder = tmp_path_factory.mktemp("class")
    source = folder / "source" / TOPIC
    source.mkdir(parents=True)
    nbformat.write(source_notebook(TOPIC), source / f"{TOPIC}.ipynb")
    for student, notebook in (("writer", answered(release(), derivation=WRITTEN)), ("blank", release())):
        place = folder / "submitted" / student / TOPIC
        place.mkdir(parents=True)
        nbformat.write(notebook, place / f"{TOPIC}.ipynb")
    elsewhere = [f"--CourseDirectory.{kind}_directory={folder / kind}" for kind in ("source", "release")]
    nbgrader(folder, "generate_assignment", TOPIC, *elsewhere)
    nbgrader(folder, "autograde", TOPIC)
    return folder


def nbgrader(folder: Path, *arguments: str) -> None:
    environment = tool_environment() | {"COURSE_CLASSROOM": str(folder), "COURSE_CASE_SECONDS": "6"}
    run = warm_python.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=warm_python.PIPE,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]


def grades_of(folder: Path, student: str) -> list[tuple]:
    """(auto_score, manual_score, needs_manual_grade) of the derivation, read as formgrader does: from the gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("derivation", TOPIC, TOPIC, student)
        return [grade.auto_score, grade.manual_score, grade.needs_manual_grade]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_written_waits_for_a_person_and_the_stub_does_not(classroom):
    assert grades_of(classroom, "writer") == [None, None, True]
    assert grades_of(classroom, "blank") == [0.0, None, False]
    kept = nbformat.read(classroom / "autograded" / "writer" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    assert "product rule" in cell_of(kept, "derivation").source and "<script" not in cell_of(kept, "derivation").source


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_persons_points_count_and_survive_a_second_autograde(classroom):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{classroom / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("derivation", TOPIC, TOPIC, "writer")
        grade.manual_score, grade.needs_manual_grade = 4.5, False
        gradebook.db.commit()
        assert gradebook.find_submission(TOPIC, "writer").score == 4.5
    shutil.rmtree(classroom / "autograded" / "writer")
    nbgrader(classroom, "autograde", TOPIC, "--student=writer", "--force")
    with sqlite3.connect(classroom / "gradebook.db") as db:
        assert (4.5,) in db.execute("select manual_score from grade").fetchall()
