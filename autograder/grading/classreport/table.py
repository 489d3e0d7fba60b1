"""The scores as CSV, for a learning management system: one row a student, one column a task."""

import csv
from pathlib import Path

from autograder.grading.classreport.gather import Class

ABSENT = "nothing handed in"
_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute what begins like this


def rows(found: Class) -> list[dict[str, str]]:
    """A field is empty where nothing is recorded: what the grader failed on and what waits for a person is no zero.

    waits: how many answers a person still has to read; until then the score is of the others.
    """
    table = []
    for one in found.submissions:
        answers = [(task, one.answers[task.name]) for task in found.tasks]
        points = {task.name: _number(None if a.waits or one.score is None else a.points) for task, a in answers}
        waits = sum(answer.waits for _, answer in answers)
        table.append(
            {"student": _name(one.student), "score": _number(one.score), "max_score": _number(found.points)}
            | {"state": one.state, "waits": str(waits)}
            | points
        )
    for student in found.absent:
        empty = {"score": "", "max_score": _number(found.points), "state": ABSENT, "waits": "0"}
        table.append({"student": _name(student)} | empty | {task.name: "" for task in found.tasks})
    return table


def write(found: Class, path: Path) -> None:
    """Write the table, in UTF-8."""
    columns = ["student", "score", "max_score", "state", "waits", *(task.name for task in found.tasks)]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows(found))


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2):g}"


def _name(student: str) -> str:
    return f"'{student}" if student.startswith(_FORMULA) else student
