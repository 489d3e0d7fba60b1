"""How a submission ended: four words that tell a student's zero from a grader's trouble, everywhere the same."""

import json
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.grading.cells import course_notes, is_check

GRADED = "graded"
STUDENT_ERROR = "student error"  # the student's code ended Python, hung, or left a check cell without a result
SUBMISSION_ERROR = "submission error"  # what was handed in cannot be read
INFRASTRUCTURE_ERROR = "infrastructure error"  # the grader failed: there is no grade, and no zero
STATES = (GRADED, STUDENT_ERROR, SUBMISSION_ERROR, INFRASTRUCTURE_ERROR)
_STOPPED = ("Stopped", "Interrupted")  # what the runner writes into a cell


def state_of(notebook: NotebookNode) -> str:
    """The state of an autograded notebook, one of STATES."""
    notes, checks = course_notes(notebook), [course_notes(cell) for cell in notebook.cells if is_check(cell)]
    run = "grading_seeds" in notes or "unreadable" in notes
    if not run or notes.get("lost") or any("unjudged" in check or not check for check in checks):
        return INFRASTRUCTURE_ERROR
    if notes.get("unreadable"):
        return SUBMISSION_ERROR
    if any("problem" in check for check in checks) or any(map(_was_stopped, notebook.cells)):
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


def _was_stopped(cell: NotebookNode) -> bool:
    return any(output.output_type == "error" and output.ename in _STOPPED for output in cell.get("outputs", ()))
