"""`nbgrader export`, where a name with a comma stays in its column, and a grader's failure is no zero.

The column `state` says how a submission ended (see `states.py`; "" where nothing was handed in). Where the grader failed
there is no score: the field is empty, for a person to see.
"""

import csv
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import CsvExportPlugin

from autograder.grading.states import INFRASTRUCTURE_ERROR, state_of_file, worst

COLUMNS = (
    "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score max_score state"
).split()


class CsvExport(CsvExportPlugin):
    """nbgrader's table, column by column, written by Python's csv module."""

    def export(self, gradebook: Gradebook) -> None:
        """A row for each student and assignment, in UTF-8; who handed in nothing has a score of zero."""
        destination = self.to or "grades.csv"
        self.log.info("Exporting grades to %s", destination)
        assignments, students = map(str, self.assignment), map(str, self.student)
        chosen = {"assignment": set(assignments), "student": set(students)}
        with open(destination, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            table.writeheader()
            for assignment in gradebook.assignments:
                for student in gradebook.students:
                    if chosen["assignment"] and assignment.name not in chosen["assignment"]:
                        continue
                    if chosen["student"] and student.id not in chosen["student"]:
                        continue
                    table.writerow(self._with_state(_row(gradebook, assignment, student)))

    def _with_state(self, row: dict) -> dict:
        coursedir = self.parent.coursedir
        folder = Path(coursedir.format_path(coursedir.autograded_directory, row["student_id"], row["assignment"]))
        state = worst([state_of_file(path) for path in sorted(folder.glob("*.ipynb"))])
        failed = {"raw_score": "", "score": ""} if state == INFRASTRUCTURE_ERROR else {}
        return row | {"state": state} | failed


def _row(gradebook: Gradebook, assignment, student) -> dict:
    row = {
        "assignment": assignment.name,
        "duedate": assignment.duedate,
        "student_id": student.id,
        "last_name": student.last_name,
        "first_name": student.first_name,
        "email": student.email,
        "max_score": assignment.max_score,
    }
    try:
        submission = gradebook.find_submission(assignment.name, student.id)
    except MissingEntry:
        return row | {"raw_score": 0.0, "late_submission_penalty": 0.0, "score": 0.0}
    penalty = submission.late_submission_penalty
    return row | {
        "timestamp": submission.timestamp,
        "raw_score": submission.score,
        "late_submission_penalty": penalty,
        "score": max(0.0, submission.score - penalty),
    }
