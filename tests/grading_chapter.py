"""A tiny chapter and its class, in a folder of their own: what the tests of grading are run on."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import nbformat
import pytest
import warm_python
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook

from autograder import exercise
from autograder.evidence import collect
from autograder.judging.judge import judge_evidence
from autograder.judging.reference import Reference
from autograder.workshop.release import source_notebook

ROOT = Path(__file__).resolve().parent.parent
TOPIC = "90_tiny"
SEEDS = (11, 12, 13)
GRADED_ON = {"double_check": list(SEEDS), "shout_check": list(SEEDS)}  # what an executed notebook says

PROBES = '''
from autograder.exercise import Exercise

double = Exercise("double", topic="90_tiny", section="Doubling")
shout = Exercise("shout", topic="90_tiny", section="Shouting")


@double.case
def a_number(answer, seed):
    """A number is doubled."""
    return {"double": answer(seed + 0.5)}


@double.case
def zero(answer, seed):
    """Nought stays nought."""
    return {"double": answer(0.0)}


@shout.case
def a_word(answer, seed):
    """A word comes back in capitals."""
    return {"shout": answer("word" + "y" * (seed % 3))}
'''

ANSWER = '"locked": false, "schema_version": 3, "solution": true, "task": false'
LOCKED = '"locked": true, "schema_version": 3, "solution": false, "task": false'

CHAPTER = f'''
# %% [markdown]
# # A tiny chapter

# %% tags=["imports"]
import importlib

import tiny_probes
from autograder import check

# %% [markdown]
# ## Doubling

# %% nbgrader={{"grade": false, "grade_id": "double", {ANSWER}}}
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={{"grade": true, "grade_id": "double_check", "points": 4, {LOCKED}}}
importlib.reload(tiny_probes)  # the grader imports the course's own modules afresh, and this is none of them
check("double", double)

# %% tags=["demo"]
import math

HALF = 1.5


def loud(text):
    """The text in capitals."""
    return text.upper()


raise SystemExit("a demonstration must not run in grading")

# %% [markdown]
# ## Shouting

# %% nbgrader={{"grade": false, "grade_id": "shout", {ANSWER}}}
def shout(text):
    """The text in capitals."""
    ### BEGIN SOLUTION
    return text.upper()
    ### END SOLUTION

# %% nbgrader={{"grade": true, "grade_id": "shout_check", "points": 3, {LOCKED}}}
importlib.reload(tiny_probes)
check("shout", shout)

# %% [markdown] nbgrader={{"grade": true, "grade_id": "essay", "points": 2, {ANSWER}}}
# *Replace this line with your answer.*
'''

MISTAKES = '''
from autograder.judging.catalogue import mistake


@mistake("double")
def negated(x):
    """The sign is wrong."""
    return -2 * x


@mistake("shout")
def capitalised(text):
    """Only the first letter is a capital."""
    return text.capitalize()
'''

ALTERNATIVES = '''
from autograder.judging.catalogue import alternative


@alternative("double")
def added(x):
    """An addition."""
    return x + x
'''

CONFIG = f"""
import tiny_probes

load_subconfig("nbgrader_config.py", path={str(ROOT)!r})
c = get_config()
c.CourseDirectory.root = {{root!r}}
c.Execute.visible = [{{root!r}} + "/tiny_probes.py"]
"""

# What students write.
RIGHT = {"double": "def double(x):\n    return x + x", "shout": "def shout(text):\n    return text.upper()"}
WRONG = {"double": "def double(x):\n    return -2 * x", "shout": "def shout(text):\n    return text.capitalize()"}


@dataclass
class Course:
    """A course of one chapter below `root`, with a class in `root/classroom`."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Course":
        """Write the chapter and release it with stock nbgrader."""
        course = cls(root)
        solutions = root / "solutions" / TOPIC
        solutions.mkdir(parents=True)
        for path, text in {
            root / "tiny_probes.py": PROBES,
            root / "nbgrader_config.py": CONFIG.format(root=str(root)),
            solutions / f"{TOPIC}.py": CHAPTER.lstrip(),
            solutions / "mistakes.py": MISTAKES,
            solutions / "alternatives.py": ALTERNATIVES,
        }.items():
            path.write_text(text, encoding="utf-8")
        notebook = source_notebook(TOPIC, root / "solutions")
        nbformat.write(notebook, solutions / f"{TOPIC}.ipynb")
        course.nbgrader("generate_assignment", TOPIC, "--force")
        return course

    def copy(self, root: Path) -> "Course":
        """The same course elsewhere, for a test that changes it: releasing one takes long."""
        copytree(self.root, root)
        (root / "nbgrader_config.py").write_text(CONFIG.format(root=str(root)), encoding="utf-8")
        return Course(root)

    @property
    def release(self) -> NotebookNode:
        return nbformat.read(self.root / "course" / TOPIC / f"{TOPIC}.ipynb", as_version=4)

    def hand_in(self, student: str, notebook: NotebookNode | bytes, name: str = f"{TOPIC}.ipynb") -> Path:
        """Put a notebook, or the bytes of a file, where a student's submission lies."""
        folder = self.root / "classroom" / "submitted" / student / TOPIC
        folder.mkdir(parents=True, exist_ok=True)
        content = notebook if isinstance(notebook, bytes) else nbformat.writes(notebook).encode()
        (folder / name).write_bytes(content)
        return folder

    def autograded(self, student: str) -> NotebookNode:
        path = self.root / "classroom" / "autograded" / student / TOPIC / f"{TOPIC}.ipynb"
        return nbformat.read(path, as_version=4)

    def feedback(self, student: str) -> str:
        return (self.root / "classroom" / "feedback" / student / TOPIC / f"{TOPIC}.html").read_text(encoding="utf-8")

    def grades(self) -> dict[str, float]:
        """The scores in the gradebook, by student."""
        with Gradebook(f"sqlite:///{self.root / 'classroom' / 'gradebook.db'}") as gradebook:
            return {s.student.id: s.score for s in gradebook.assignment_submissions(TOPIC)}

    @contextlib.contextmanager
    def worth(self, counts: dict[str, dict[str, str]]) -> Iterator[dict[str, float]]:
        """Student -> the points that the answers deserve which count, as the judge says on the seeds of grading.

        The chapter's probes are known in this process for as long as the block takes.
        """
        known = dict(exercise.load_exercises())
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(self.root)
            __import__("tiny_probes")
            reference = Reference(TOPIC, self.root / "solutions")
            yield {student: _worth(answers, reference) for student, answers in counts.items()}
        del sys.modules["tiny_probes"]
        exercise._registry.clear()
        exercise._registry.update(known)

    def nbgrader(self, *arguments: str, rc: int = 0, **environment: str) -> str:
        """A stock nbgrader command, run in this course. Returns what it logged."""
        return self.python("-m", "nbgrader", *arguments, rc=rc, **environment)

    def python(self, *arguments: str, rc: int = 0, **environment: str) -> str:
        """Python in this course's folder. Returns what it wrote."""
        run = warm_python.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=os.environ | self.environment() | environment,
            stdout=warm_python.PIPE,
            text=True,
            timeout=500,
        )
        assert run.returncode == rc, run.stdout
        return run.stdout

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.root)]),
            "COURSE_CLASSROOM": str(self.root / "classroom"),
            "COURSE_FIXED_SEEDS": ",".join(map(str, SEEDS)),
            "COURSE_CASE_SECONDS": "3",
        }


def _worth(answers: dict[str, str], reference: Reference) -> float:
    points = 0.0
    for name, most in reference.points.items():
        if name in answers:
            namespace: dict = {}
            exec(answers[name], namespace)
            evidence = collect(exercise.find_exercise(name), namespace[name], SEEDS)
            points += round(most * judge_evidence(name, evidence, reference, SEEDS).score, 2)
    return points


def answered(release: NotebookNode, **answers: str) -> NotebookNode:
    """The release with answer cells filled in, by grade_id."""
    notebook = nbformat.from_dict(release)
    for name, source in answers.items():
        cell_of(notebook, name).source = source
    return notebook


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with a grade_id."""
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)
