"""`autograder prepare`: make chapters ready for nbgrader to grade, in a fresh clone too.

    autograder prepare 01_pretraining

Writes the source as the notebook that nbgrader reads (solutions/NN_topic/NN_topic.ipynb, which git ignores), makes
`classroom/`, and registers the assignment in its gradebook with stock `nbgrader generate_assignment`. Nothing below
course/ is written over: what a class is graded against must be what it was given.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException

from autograder.grading.gradebook import reached
from autograder.grading.rejudge import course_directory
from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.release import ReleaseFailed, chapters, source_notebook, tool_environment

COURSE = ROOT / "course"


def prepare(topic: str) -> None:
    """Make one chapter ready. Raises ReleaseFailed, whose message says what to do."""
    known = chapters()
    if topic not in known:
        raise ReleaseFailed(f"There is no chapter {topic!r}. There are: {', '.join(known)}.")
    _reach_gradebook()
    nbformat.write(source_notebook(topic), SOLUTIONS / topic / f"{topic}.ipynb")
    released = COURSE / topic / f"{topic}.ipynb"
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "nbgrader", "generate_assignment", topic, "--force", "--create"]
        command.append(f"--CourseDirectory.release_directory={scratch}")
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=tool_environment())
        if run.returncode:
            raise ReleaseFailed(f"nbgrader generate_assignment {topic} failed:\n{run.stderr[-3000:]}")
        generated = nbformat.read(Path(scratch) / topic / f"{topic}.ipynb", as_version=4)
    if not released.exists() or nbformat.read(released, as_version=4) != generated:
        raise ReleaseFailed(
            f"{released.relative_to(ROOT)} is not what solutions/{topic}/{topic}.py generates, and a class is graded against "
            f'it. If you changed the chapter, release it: make release ARGS="{topic}". If you answered in that notebook, '
            f"move your copy elsewhere and take the file back: git checkout {released.relative_to(ROOT)}"
        )


def _reach_gradebook() -> None:
    """So that a server which is not there yet ends in a sentence, and not in what nbgrader says of it."""
    with contextlib.chdir(ROOT):
        coursedir = course_directory()
    try:
        with reached(coursedir.db_url), Gradebook(coursedir.db_url, coursedir.course_id):
            pass
    except NbGraderException as error:
        raise ReleaseFailed(str(error)) from error


def main(topics: list[str]) -> int:
    """The command line. Exit code 1 when a chapter is not ready."""
    try:
        for topic in topics:
            prepare(topic)
            print(f"{topic} is ready: put submissions into classroom/submitted/STUDENT/{topic}/{topic}.ipynb")
    except ReleaseFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0
