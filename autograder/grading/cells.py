"""Questions about the cells of a released notebook, and where nbgrader keeps the course's files."""

from pathlib import Path

from nbformat.notebooknode import NotebookNode

from autograder.judging.reference import is_solution

DEMO = "demo"  # tag of long demonstrations (training runs, plots), which grading does not run
IMPORTS = "imports"
STOPPED = "Stopped"  # what the runner calls an output that says why it ended a cell


def grade_id(cell: NotebookNode) -> str | None:
    """The name nbgrader knows the cell by."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def is_check(cell: NotebookNode) -> bool:
    """Whether the cell's output decides points: graded, and not an answer itself."""
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks.get("grade")) and not is_solution(cell) and cell.cell_type == "code"


def is_demo(cell: NotebookNode) -> bool:
    """Whether the cell is a long demonstration."""
    return DEMO in cell.metadata.get("tags", [])


def why_stopped(cell: NotebookNode) -> list[str]:
    """The sentences in which the runner says why it ended a cell; none where it did not."""
    errors = [output for output in cell.get("outputs", ()) if output.get("ename") == STOPPED]
    return [str(error.get("evalue", "")) for error in errors]


def course_notes(notebook: NotebookNode) -> NotebookNode:
    """What grading notes in a notebook: repairs, unreadable, grading_seeds. None of it comes from the student."""
    return notebook.metadata.setdefault("course", NotebookNode())


def seeds_of(notebook: NotebookNode, cell: NotebookNode) -> tuple[int, ...]:
    """The seeds a check cell was run on; () where it was not. Older notebooks note one list for all their cells."""
    noted = course_notes(notebook).get("grading_seeds", ())
    return tuple(noted.get(grade_id(cell), ()) if isinstance(noted, dict) else noted)


def coursedir_of(preprocessor):
    """The course directory of the converter that runs a preprocessor."""
    return preprocessor.parent.parent.coursedir


def release_path(coursedir, assignment: str, notebook: str) -> Path:
    """Where the released notebook of an assignment lies."""
    return Path(coursedir.format_path(coursedir.release_directory, ".", assignment)) / f"{notebook}.ipynb"


def solutions_path(coursedir) -> Path:
    """The folder that holds the chapters as they are written."""
    return Path(coursedir.root) / coursedir.source_directory
