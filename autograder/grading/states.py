"""In which of four states a submission is after grading: whose move is it?"""

from nbformat.notebooknode import NotebookNode

from autograder.grading.cells import is_check, why_stopped

GRADED = "graded"
STUDENT_ERROR = "student error"  # graded, and something of the student's crashed, hung or gave no result
SUBMISSION_ERROR = "submission error"  # what was handed in cannot be read
INFRASTRUCTURE_ERROR = "infrastructure error"  # the grader failed: never a zero


def state_of(notebook: NotebookNode) -> str:
    """The state of an autograded notebook, from what grading noted in it."""
    notes = notebook.metadata.get("course", {})
    checks = [cell.metadata.get("course", {}) for cell in notebook.cells if is_check(cell)]
    if "lost" in notes or not all("exercise" in check for check in checks):
        return INFRASTRUCTURE_ERROR
    if "unreadable" in notes:
        return SUBMISSION_ERROR
    if any(map(why_stopped, notebook.cells)) or any("problem" in check for check in checks):
        return STUDENT_ERROR
    return GRADED
