"""The class as plain data, from its autograded notebooks and the gradebook.

Points are the gradebook's, as people may have changed them; what was wrong is what the judge noted in the notebooks.
Notebooks are read one by one, and of each only what the report needs is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import (
    Assignment,
    BaseCell,
    Grade,
    Gradebook,
    MissingEntry,
    SubmittedAssignment,
    SubmittedNotebook,
)

from autograder.grading.cells import course_notes, grade_id, is_check, why_stopped
from autograder.grading.rebuild import defined_names
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, state_of
from autograder.judging.reference import checked_exercise


class NoClass(Exception):
    """There is nothing to report; the message says why."""


@dataclass(frozen=True)
class Task:
    """Something that gives points. name: of the exercise, or of the cell of a written answer; cell: its grade_id."""

    name: str
    cell: str
    points: float
    written: bool


@dataclass
class Answer:
    """What one student has for one task.

    points: None where nothing is recorded yet; waits: for a person; source: of the cell that defines the function;
    mistakes: name -> hint; shaky: the answers it calls that are not right; unnamed: failing case -> its sentence and
    what came, where no mistake was recognised; problem: why there was nothing to judge; seconds: of the check cell.
    """

    points: float | None = None
    waits: bool = False
    source: str = ""
    unanswered: bool = False
    mistakes: dict[str, str] = field(default_factory=dict)
    shaky: list[str] = field(default_factory=list)
    unnamed: dict[str, dict[str, str]] = field(default_factory=dict)
    problem: str = ""
    seconds: float | None = None


@dataclass
class Submission:
    """What one student handed in. score: with the late penalty taken off; None where something is not recorded.

    why: a sentence where it was lost or could not be read; stopped: sentences about cells that the runner ended.
    """

    student: str
    state: str = GRADED
    score: float | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    why: str = ""
    repairs: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


@dataclass
class Class:
    """All that the report is made of. absent: who is in the gradebook and handed in nothing."""

    topic: str
    title: str
    tasks: list[Task]
    submissions: list[Submission]
    absent: list[str]

    @property
    def points(self) -> float:
        return sum(task.points for task in self.tasks)


def gather(topic: str, executed: Iterable[tuple[str, Path]], gradebook: Gradebook) -> Class:
    """The class of an assignment that has one notebook.

    executed: (student, autograded notebook). Raises NoClass where there is none, or no such assignment.
    """
    worth, grades, penalties, students = _recorded(topic, gradebook)
    submissions: dict[str, Submission] = {}
    tasks: list[Task] = []
    title = topic
    for student, path in executed:
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception as error:  # cut off in the middle, or written over
            why = f"Its executed notebook cannot be read ({type(error).__name__}): grade it again."
            submissions[student] = Submission(student, INFRASTRUCTURE_ERROR, why=why)
            continue
        if not tasks:
            tasks, title = tasks_of(notebook, worth), title_of(notebook) or topic
        submissions[student] = read_submission(student, notebook, tasks)
    if not tasks:
        raise NoClass(f"No autograded submission of {topic} was found. Run nbgrader autograde {topic} first.")
    for student in grades.keys() - submissions.keys():
        why = "The gradebook knows it, and no executed notebook is there: grade it again."
        submissions[student] = Submission(student, INFRASTRUCTURE_ERROR, why=why)
    for submission in submissions.values():
        _take_grades(submission, tasks, grades.get(submission.student), penalties.get(submission.student, 0.0))
    ordered = [submissions[student] for student in sorted(submissions)]
    return Class(topic, title, tasks, ordered, sorted(students - submissions.keys()))


def tasks_of(notebook: NotebookNode, worth: dict[str, float]) -> list[Task]:
    """What gives points, in the notebook's order. worth: the gradebook's points by grade_id, where they differ."""
    tasks = []
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade"):
            name = checked_exercise(cell) or grade_id(cell)
            tasks.append(Task(name, grade_id(cell), worth.get(grade_id(cell), float(marks.points)), not is_check(cell)))
    return tasks


def title_of(notebook: NotebookNode) -> str:
    """The chapter's first heading."""
    lines = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), "")


def read_submission(student: str, notebook: NotebookNode, tasks: list[Task]) -> Submission:
    """What grading noted in an autograded notebook, without the points."""
    notes = course_notes(notebook)
    found = Submission(student, state_of(notebook), repairs=list(notes.get("repairs", [])))
    found.why = notes.get("lost") or notes.get("unreadable") or ""
    if found.state == INFRASTRUCTURE_ERROR and not found.why:
        found.why = "A check cell of it could not be judged: see the grader's last lines, then run autograder rejudge."
    found.stopped = [f"A cell was stopped: {why[:200]}" for cell in notebook.cells for why in why_stopped(cell)]
    cells = {grade_id(cell): place for place, cell in enumerate(notebook.cells) if grade_id(cell)}
    for task in tasks:
        if task.cell in cells:
            found.answers[task.name] = _read_answer(task, notebook, cells[task.cell])
    return found


def _read_answer(task: Task, notebook: NotebookNode, place: int) -> Answer:
    if task.written:
        return Answer()
    noted = notebook.cells[place].metadata.get("course", {})
    defining = [
        cell.source
        for cell in notebook.cells[:place]
        if cell.cell_type == "code" and task.name in defined_names(cell.source)
    ]
    return Answer(
        source=defining[-1] if defining else "",
        unanswered=noted.get("unanswered", False),
        mistakes=dict(noted.get("mistakes", {})),
        shaky=list(noted.get("shaky", [])),
        unnamed={case: dict(told) for case, told in noted.get("unnamed", {}).items()},
        problem=noted.get("problem", ""),
        seconds=noted.get("seconds"),
    )


def _recorded(topic: str, gradebook: Gradebook):
    """What the gradebook holds, in few queries: nbgrader's own properties ask it again for each student.

    Points by grade_id; {student: {grade_id: (score, waits)}}; late penalties; all students. score: None where none is
    recorded.
    """
    try:
        assignment = gradebook.find_assignment(topic)
    except MissingEntry:
        raise NoClass(f"The gradebook knows no assignment {topic}. Run autograder prepare {topic} first.") from None
    worth = {cell.name: float(cell.max_score) for book in assignment.notebooks for cell in book.grade_cells}
    asked = (SubmittedAssignment.student_id, BaseCell.name, Grade.auto_score, Grade.manual_score, Grade.extra_credit)
    rows = (
        gradebook.db.query(*asked, Grade.needs_manual_grade)
        .select_from(Grade)
        .join(BaseCell, Grade.cell_id == BaseCell.id)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .filter(Assignment.name == topic)
    )
    grades: dict[str, dict[str, tuple[float | None, bool]]] = {}
    for student, cell, auto, manual, extra, waits in rows:
        score = auto if manual is None else manual
        grades.setdefault(student, {})[cell] = (None if score is None else score + (extra or 0.0), bool(waits))
    penalties: dict[str, float] = {}
    late = (
        gradebook.db.query(SubmittedAssignment.student_id, SubmittedNotebook.late_submission_penalty)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .filter(Assignment.name == topic)
    )
    for student, penalty in late:
        penalties[student] = penalties.get(student, 0.0) + (penalty or 0.0)
    return worth, grades, penalties, {student.id for student in gradebook.students}


def _take_grades(submission: Submission, tasks: list[Task], grades: dict | None, penalty: float) -> None:
    """Put the recorded points into the answers. There is a score where everything but what waits for a person has points."""
    for task in tasks:
        answer = submission.answers.setdefault(task.name, Answer())
        answer.points, answer.waits = (grades or {}).get(task.cell, (None, False))
    if submission.state == INFRASTRUCTURE_ERROR or grades is None:
        if grades is None and submission.state != INFRASTRUCTURE_ERROR:
            submission.state, submission.why = INFRASTRUCTURE_ERROR, "Its points are not in the gradebook: grade it again."
        return
    total = sum(submission.answers[task.name].points or 0.0 for task in tasks)
    submission.score = max(0.0, total - penalty)
