"""Judge an executed class again, running nothing: after a reference, a case's rule or a mistake was corrected.

    autograder rejudge 01_pretraining [--student NAME] [--workers 4]

Reads the evidence that the check cells of `autograded` notebooks carry, writes the new reports into them, and records
the new points and late penalties with nbgrader's own means. What a check is worth is read from the gradebook. Grades
given by hand stay, and are shown for another look only where the points beneath them changed. Afterwards,
`nbgrader generate_feedback --force` makes new pages.
"""

import argparse
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties

from autograder.grading import door
from autograder.grading.cells import grade_id, solutions_path
from autograder.grading.fleet.local import LocalWorkers, cores
from autograder.grading.gradebook import OPTIONS, reached
from autograder.grading.verdict import SaveGrades, judge_notebook, reference


@dataclass
class Rejudged:
    """One submission: its score (late penalty taken off) before and after, and what failed in the judge, by check cell."""

    student: str
    notebook: str
    old: float
    new: float
    failures: dict[str, str] = field(default_factory=dict)


def course_directory(options: Sequence[str] = ()) -> CourseDirectory:
    """The course that the `nbgrader_config.py` in this folder describes. options: nbgrader's, as on a command line."""
    app = NbGrader()
    app.initialize(list(options))
    return app.coursedir


def executed(coursedir: CourseDirectory, topic: str, student: str = "*") -> Iterator[tuple[str, Path]]:
    """(student, notebook) of every submission that was autograded."""
    for folder in sorted(door.find(coursedir.format_path(coursedir.autograded_directory, student, topic))):
        for path in sorted(Path(folder).glob("*.ipynb")):
            yield Path(folder).parent.name, path


def rejudge(coursedir: CourseDirectory, topic: str, student: str = "*", workers: int = 1) -> Iterator[Rejudged]:
    """Judge again, several at a time, and record, one submission after the other."""
    todo, judging = deque(executed(coursedir, topic, student)), deque()
    worth = {name: _points(coursedir, name, topic) for name in {path.stem for _, path in todo}}
    for name, path in list(todo)[:1]:  # here, so that workers which are forked have the reference's answers
        yield _record(coursedir, topic, name, path, *_judge_again(solutions_path(coursedir), path, worth[path.stem]))
        todo.popleft()
    pool = LocalWorkers(partial(solutions_path, coursedir), workers)
    try:
        while todo or judging:
            while todo and len(judging) < workers + 2:
                name, path = todo.popleft()
                judging.append((name, path, pool.submit(_judge_again, path, worth[path.stem])))
            name, path, judged = judging.popleft()
            yield _record(coursedir, topic, name, path, *judged.result())
    finally:
        pool.close()


def _judge_again(solutions: Path, path: Path, points: dict[str, float]) -> tuple[str, dict[str, str]]:
    """In a worker: the notebook with its new reports, and what failed in the judge."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if grade_id(cell) in points:
            cell.metadata.nbgrader.points = points[grade_id(cell)]
    failures = judge_notebook(notebook, lambda chapter: reference(chapter, solutions))
    return nbformat.writes(notebook), {cell: f"{type(e).__name__}: {e}" for cell, e in failures.items()}


def _record(
    coursedir: CourseDirectory, topic: str, student: str, path: Path, text: str, failures: dict[str, str]
) -> Rejudged:
    notebook, names = nbformat.reads(text, as_version=4), (path.stem, topic, student)
    old = _score(coursedir, *names)
    _replace(path, text)
    resources = {"nbgrader": dict(zip(("notebook", "assignment", "student"), names, strict=True)) | {"db_url": coursedir.db_url}}
    app = coursedir.parent  # which has the whole configuration: the plugin for late submissions too
    SaveGrades(parent=app, same_answers=True).preprocess(notebook, resources)
    AssignLatePenalties(parent=app).preprocess(notebook, resources)
    return Rejudged(student, path.stem, old, _score(coursedir, *names), failures)


def _score(coursedir: CourseDirectory, notebook: str, topic: str, student: str) -> float:
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        found = gradebook.find_submission_notebook(notebook, topic, student)
        return found.score - (found.late_submission_penalty or 0.0)


def _points(coursedir: CourseDirectory, name: str, topic: str) -> dict[str, float]:
    """What each graded cell is worth by the gradebook: that may have changed since the class was executed."""
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        return {cell.name: float(cell.max_score) for cell in gradebook.find_notebook(name, topic).grade_cells}


def _replace(path: Path, text: str) -> None:
    """Write over a file that nbgrader made read-only, leaving it so, and never half written."""
    mode, unfinished = path.stat().st_mode, path.with_suffix(".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.chmod(mode)
    unfinished.replace(path)


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit code 1 when something could not be judged or nothing was there."""
    parser = argparse.ArgumentParser(prog="autograder rejudge", description="Judge an executed class again.", epilog=OPTIONS)
    parser.add_argument("topic", help="the chapter, such as 01_pretraining")
    parser.add_argument("--student", default="*", help="one student only, or a pattern")
    parser.add_argument("--workers", type=int, default=0, help="submissions at a time (one for each core)")
    arguments, options = parser.parse_known_args(argv)
    coursedir, rejudged = course_directory(options), []
    try:
        with reached(coursedir.db_url):
            for one in rejudge(coursedir, arguments.topic, arguments.student, arguments.workers or cores()):
                rejudged.append(one)
                changed = "" if one.old == one.new else "   changed"
                print(f"{one.student:<24} {one.old:7.2f} -> {one.new:7.2f}{changed}")
                for cell, error in one.failures.items():
                    print(f"    {cell} could not be judged: {error}")
    except NbGraderException as error:
        print(error, file=sys.stderr)
        return 1
    if not rejudged:
        print(
            f"No autograded submission of {arguments.topic} was found. Run nbgrader autograde {arguments.topic} first."
        )
    return int(not rejudged or any(one.failures for one in rejudged))


if __name__ == "__main__":
    sys.exit(main())
