"""How a submission ended: four words that tell a student's zero from a grader's trouble, everywhere the same."""

import json
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.grading.cells import course_notes, is_check, why_stopped

GRADED = "graded"
STUDENT_ERROR = "student error"  # the student's code ended Python, hung, or left a check cell without a result
SUBMISSION_ERROR = "submission error"  # what was handed in cannot be read
INFRASTRUCTURE_ERROR = "infrastructure error"  # the grader failed: there is no grade, and no zero
STATES = (GRADED, STUDENT_ERROR, SUBMISSION_ERROR, INFRASTRUCTURE_ERROR)


def state_of(notebook: NotebookNode) -> str:
    """The state of an autograded notebook, one of STATES."""
    notes, checks = course_notes(notebook), [course_notes(cell) for cell in notebook.cells if is_check(cell)]
    if "lost" in notes or not all("exercise" in check for check in checks):
        return INFRASTRUCTURE_ERROR
    if "unreadable" in notes:
        return SUBMISSION_ERROR
    if any("problem" in check for check in checks) or any(map(why_stopped, notebook.cells)):
        return STUDENT_ERROR
    return GRADED


def state_of_file(path: Path) -> str:
    """The state of an autograded notebook that may have been cut off when a grader was killed."""
    try:
        return state_of(nbformat.from_dict(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, AttributeError):
        return INFRASTRUCTURE_ERROR


def worst(states: list[str]) -> str:
    """The state of a submission of several notebooks; '' of one that has none."""
    return max(states, key=STATES.index, default="")
