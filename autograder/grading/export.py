"""`nbgrader export` with every field quoted where it must be: a name with a comma stays in its column."""

import csv

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import CsvExportPlugin

COLUMNS = (
    "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score max_score"
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
                    table.writerow(_row(gradebook, assignment, student))


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
