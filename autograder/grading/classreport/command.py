"""autograder report 01_pretraining [--into FOLDER] [--text]

Writes the class report as a page and its scores as CSV, by default into `classroom/report/`; or prints the mistakes.
"""

import argparse
import inspect
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException

from autograder.grading.cells import solutions_path
from autograder.grading.classreport import count, page, table
from autograder.grading.classreport.alike import Alike, nearly_identical
from autograder.grading.classreport.gather import Class, NoClass, gather
from autograder.grading.classreport.text import to_text
from autograder.grading.gradebook import OPTIONS, reached
from autograder.judging.reference import Reference


def write_report(found: Class, folder: Path, given: Iterable[str]) -> tuple[Path, Path]:
    """Write page and table. given: sources that answers may share (see `nearly_identical`). Returns where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    html, scores = (folder / f"{found.topic}.{kind}" for kind in ("html", "csv"))
    html.write_text(page.to_html(found, alike_in(found, given), datetime.now()), encoding="utf-8")
    table.write(found, scores)
    return html, scores


def alike_in(found: Class, given: Iterable[str]) -> list[Alike]:
    """Whose answers are nearly identical."""
    read = count.read(found.submissions)
    answers = {
        task.name: {one.student: one.answers[task.name].source for one in read if one.answers[task.name].source}
        for task in found.tasks
        if not task.written
    }
    return nearly_identical(answers, given)


def given_sources(reference: Reference) -> list[str]:
    """What the course itself wrote for a chapter: the reference, and its known mistakes and alternatives with their helpers."""
    sources = [cell.source for cell in reference.notebook.cells if cell.cell_type == "code"]
    sources += [path.read_text(encoding="utf-8") for path in sorted(reference.folder.glob("*.py"))]
    kinds = (reference.mistake_functions, reference.second_references, reference.alternative_functions)
    for exercise in reference.points:
        sources += [inspect.getsource(function) for kind in kinds for function in kind(exercise).values()]
    return sources


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit code 1 when there is nothing to report."""
    from autograder.grading.rejudge import course_directory, executed

    parser = argparse.ArgumentParser(prog="autograder report", description="What the class did, on one page.", epilog=OPTIONS)
    parser.add_argument("topic", help="the chapter, such as 01_pretraining")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="where to write, instead of classroom/report")
    parser.add_argument("--text", action="store_true", help="only print the most frequent mistakes")
    arguments, options = parser.parse_known_args(argv)
    coursedir, topic = course_directory(options), arguments.topic
    try:
        with reached(coursedir.db_url), Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
            found = gather(topic, executed(coursedir, topic), gradebook)
    except (NoClass, NbGraderException) as reason:
        print(reason, file=sys.stderr)
        return 1
    if arguments.text:
        print(to_text(count.mistakes(found), len(found.submissions)))
        return 0
    classroom = (Path(coursedir.root) / coursedir.autograded_directory).parent
    given = given_sources(Reference(topic, solutions_path(coursedir)))
    html, scores = write_report(found, arguments.into or classroom / "report", given)
    print(f"The class, on one page: {html}\nScores, for an LMS:     {scores}")
    return 0
