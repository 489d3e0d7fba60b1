"""A chapter goes out to students and comes back as feedback: nbgrader's exchange, and the README's own commands."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import nbformat
import pytest
import warm_python
from grading_chapter import RIGHT, TOPIC, WRONG, Course, answered

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COURSE_ID = "training-language-models"
ALL_PASS = r"(\d+) of \1 cases pass"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Course:
    return Course.make(tmp_path_factory.mktemp("made") / "course")


@pytest.fixture
def course(made: Course, tmp_path: Path) -> Course:
    return made.copy(tmp_path / "course")


@pytest.fixture
def exchange(root: Path, course: Course, tmp_path: Path) -> Callable:
    """A function that runs an nbgrader command as somebody, in a folder of theirs."""
    (tmp_path / "exchange").mkdir()

    def run(user: str, *arguments: str) -> str:
        instructor = user == "instructor"
        folder = course.root if instructor else tmp_path / user
        folder.mkdir(exist_ok=True)
        options = [f"--Exchange.root={tmp_path / 'exchange'}", f"--course={COURSE_ID}"]
        # What was submitted is kept by nbgrader in Jupyter's folder.
        environment = {"PYTHONPATH": str(root), "JUPYTER_DATA_DIR": str(tmp_path / f"data of {user}")}
        if instructor:
            environment |= course.environment()
        done = warm_python.run(
            [sys.executable, "-m", "nbgrader", *arguments, *options],
            cwd=folder, env=os.environ | environment, stdout=warm_python.PIPE, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_from_release_to_feedback_through_the_exchange(course: Course, exchange: Callable, tmp_path: Path) -> None:
    exchange("instructor", "release_assignment", TOPIC)
    for student, answers in {"anna": RIGHT, "bert": WRONG}.items():
        exchange(student, "fetch_assignment", TOPIC)
        notebook = tmp_path / student / TOPIC / f"{TOPIC}.ipynb"
        nbformat.write(answered(nbformat.read(notebook, as_version=4), **answers), notebook)
        exchange(student, "submit", TOPIC, f"--student={student}")
    exchange("instructor", "collect", TOPIC)
    # Not everybody hands in by the exchange: such a submission has no secret, and here no readable time either.
    (course.hand_in("carl", answered(course.release, **RIGHT)) / "timestamp.txt").write_text("yesterday")
    for command in ("autograde", "generate_feedback", "release_feedback"):
        exchange("instructor", command, TOPIC)
    for student, said in {"anna": ALL_PASS, "bert": "The sign is wrong"}.items():
        exchange(student, "fetch_feedback", TOPIC, f"--student={student}")
        (page,) = (tmp_path / student / TOPIC / "feedback").rglob(f"{TOPIC}.html")
        assert re.search(said, page.read_text(encoding="utf-8"))
    released = list((tmp_path / "exchange" / COURSE_ID / "feedback").glob("*.html"))
    assert len(released) == 3


def test_zip_collect_stays_in_the_classroom(course: Course) -> None:
    archive = course.root / "classroom" / "downloaded" / TOPIC / "archive"
    archive.mkdir(parents=True)
    with zipfile.ZipFile(archive / "all.zip", "w") as file:
        name = f"anna_attempt_2026-01-30-15-30-10_{TOPIC}.ipynb"
        file.writestr(name, nbformat.writes(answered(course.release, **RIGHT)))
    before = {path.name for path in course.root.iterdir()}
    pattern = r"(?P<student_id>\w+)_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>.*)"
    course.nbgrader("zip_collect", TOPIC, f"--FileNameCollectorPlugin.named_regexp=.*/{pattern}")
    assert (course.root / "classroom" / "submitted" / "anna" / TOPIC / f"{TOPIC}.ipynb").exists()
    assert (course.root / "classroom" / "downloaded" / TOPIC / "extracted").is_dir()
    assert {path.name for path in course.root.iterdir()} == before


# --- The README's commands, as they stand there


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """What a fresh clone holds for chapter 00, in a folder whose name is no help."""
    clone = tmp_path / "a clone [of] it's own"
    ignored = ignore_patterns("__pycache__", ".*", "*.ipynb_checkpoints")
    for folder in ("autograder", "course", "data", "solutions"):
        copytree(root / folder, clone / folder, ignore=ignored)
    for path in clone.glob("solutions/*/*.ipynb"):  # git ignores them
        path.unlink()
    for name in ("nbgrader_config.py", "pyproject.toml"):
        copy2(root / name, clone / name)
    return clone


def readme_commands(root: Path) -> list[str]:
    """The commands in the blocks of the part for those who teach, without comments."""
    part = (root / "README.md").read_text(encoding="utf-8").partition("## If you teach")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def test_the_readmes_commands_work_in_a_fresh_clone(root: Path, checkout: Path) -> None:
    topic = "00_start_here"
    release = nbformat.read(checkout / "course" / topic / f"{topic}.ipynb", as_version=4)
    submitted = checkout / "classroom" / "submitted" / "anna" / topic
    submitted.mkdir(parents=True)
    right = answered(release, mean_loss="def mean_loss(losses):\n    return losses.mean()")
    nbformat.write(right, submitted / f"{topic}.ipynb")
    given = (checkout / "course" / topic / f"{topic}.ipynb").read_bytes()

    commands = readme_commands(root)
    assert len(commands) >= 7 and commands[0].startswith("autograder prepare")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # as after `source .venv/bin/activate`
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(checkout)}
    environment.pop("COURSE_CLASSROOM", None)
    for command in commands:
        words = shlex.split(command.replace("01_pretraining", topic))
        done = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    page = checkout / "classroom" / "feedback" / "anna" / topic / f"{topic}.html"
    assert re.search(ALL_PASS, page.read_text(encoding="utf-8"))
    assert "anna" in (checkout / "classroom" / "grades.csv").read_text()
    assert (checkout / "course" / topic / f"{topic}.ipynb").read_bytes() == given


def test_a_chapter_that_was_answered_in_place_is_not_what_a_class_is_graded_against(checkout: Path) -> None:
    """Its answers would be everybody's. It is not written over either: somebody's work is in it."""
    topic = "00_start_here"
    notebook = checkout / "course" / topic / f"{topic}.ipynb"
    mine = nbformat.writes(answered(nbformat.read(notebook, as_version=4), mean_loss="mine = 1"))
    notebook.write_text(mine)
    command = [sys.executable, "-m", "autograder.cli", "prepare", topic]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"course/{topic}/{topic}.ipynb is not what" in done.stderr and "make release" in done.stderr
    assert notebook.read_text() == mine
    done = subprocess.run([*command[:-1], "99_nothing"], cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "There is no chapter '99_nothing'. There are: 00_start_here" in done.stderr
