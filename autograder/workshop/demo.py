"""`make demo`: grade a made-up class with stock nbgrader, and compare every grade with what it should be.

    python -m autograder.workshop.demo [--topic 01_pretraining] [--into classroom/demo] [--only-answers] [--one-seed]
                                       [--only ada bert]

Makes the folder anew and leaves in it what an instructor would have: submissions, executed notebooks, feedback pages,
gradebook, grades.csv and the class report. Exit code 1 when any score is not the expected one.
"""

import argparse
import csv
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from autograder.grading.cells import is_check, seeds_of
from autograder.grading.classreport.command import given_sources, write_report
from autograder.grading.classreport.count import mistakes
from autograder.grading.classreport.gather import gather
from autograder.grading.classreport.text import to_text
from autograder.grading.execute import FIXED_SEEDS
from autograder.judging.reference import ROOT, SOLUTIONS, Reference, checked_exercise
from autograder.workshop.madeup import Submission, make_class, worth
from autograder.workshop.release import source_notebook, tool_environment

DEFAULT = ROOT / "classroom" / "demo"
# Endless loops in the class would otherwise take the generous limits of real grading.
CELL_SECONDS, CASE_SECONDS = 60, 15


class DemoFailed(Exception):
    """The class could not be graded; the message says where to look."""


def run(topic: str, folder: Path, troubles: bool = True, only: Sequence[str] = (), one_seed: bool = False) -> bool:
    """Make, grade and show the class, with or without files that are in trouble. Returns whether every score is as expected.

    only: the students that hand in, where not all of the class do.
    one_seed: grade with one fresh seed, which shows what as many as usual would, in less time.
    """
    released = ROOT / "course" / topic / f"{topic}.ipynb"
    if not released.exists():
        raise DemoFailed(f"There is no {released.relative_to(ROOT)}. Run `make release` first.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reference = Reference(topic)
    submissions = list(make_class(nbformat.read(released, as_version=4), reference, troubles))
    if unknown := set(only) - {s.student for s in submissions}:
        raise DemoFailed(f"Nobody in this class is called {', '.join(sorted(unknown))}.")
    submissions = [s for s in submissions if s.student in only or not only]
    for submission in submissions:
        submission.write(folder / "submitted", topic)
    print(f"A class of {len(submissions)} hands in {topic}. Grading takes some minutes …", flush=True)
    started = time.monotonic()
    grade_class(topic, folder, (1000 + secrets.randbelow(10**6),) if one_seed else ())
    print(f"nbgrader autograde took {time.monotonic() - started:.0f} s.\n")
    finished = sorted((folder / "autograded").glob(f"*/{topic}/{topic}.ipynb"))
    notebooks = (nbformat.read(path, as_version=4) for path in finished)
    executed = next(nb for nb in notebooks if "grading_seeds" in nb.metadata.course)
    seeds = {checked_exercise(cell): seeds_of(executed, cell) for cell in executed.cells if is_check(cell)}
    right = show(submissions, read_grades(folder), {s.student: worth(s, reference, seeds) for s in submissions})
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        found = gather(topic, [(path.parent.parent.name, path) for path in finished], gradebook)
    page, _ = write_report(found, folder / "report", given_sources(reference))
    print("\n" + to_text(mistakes(found), len(finished)))
    print(f"\nFeedback: {folder / 'feedback'}\nGrades:   {folder / 'grades.csv'}\nReport:   {page}")
    return right


def grade_class(topic: str, folder: Path, seeds: tuple[int, ...] = ()) -> None:
    """Stock nbgrader, from assignment to export. seeds: those to grade with, where not as many fresh ones as usual."""
    source = folder / "source" / topic
    source.mkdir(parents=True)
    nbformat.write(source_notebook(topic, SOLUTIONS), source / f"{topic}.ipynb")
    elsewhere = [  # so that the demonstration writes neither into course/ nor into solutions/
        f"--CourseDirectory.source_directory={folder / 'source'}",
        f"--CourseDirectory.release_directory={folder / 'release'}",
    ]
    nbgrader(folder, "generate_assignment", topic, *elsewhere)
    fixed = {FIXED_SEEDS: ",".join(map(str, seeds))} if seeds else {}
    nbgrader(folder, "autograde", topic, f"--Execute.timeout={CELL_SECONDS}", **fixed)
    nbgrader(folder, "generate_feedback", topic)
    nbgrader(folder, "export", f"--to={folder / 'grades.csv'}")


def nbgrader(folder: Path, *arguments: str, **environment: str) -> None:
    """Run one nbgrader command for the class in `folder`. Raises DemoFailed with the end of its log."""
    environment |= {"COURSE_CLASSROOM": str(folder), "COURSE_CASE_SECONDS": str(CASE_SECONDS)}
    log = folder / "nbgrader.log"
    with log.open("a") as out:
        print("$ nbgrader", *arguments, file=out, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=ROOT,
            env=tool_environment() | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-30:])
        raise DemoFailed(f"nbgrader {arguments[0]} failed. The end of {log}:\n{end}")


def read_grades(folder: Path) -> dict[str, float]:
    """Student -> score, from nbgrader's export."""
    with (folder / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def show(submissions: list[Submission], grades: dict[str, float], expected: dict[str, float]) -> bool:
    """Print the table of grades. Returns whether all are as expected."""
    print(f"{'student':<10} {'what was handed in':<50} {'score':>7} {'expected':>9}")
    all_right = set(grades) == set(expected)
    for submission in submissions:
        score, want = grades.get(submission.student), expected[submission.student]
        right = score is not None and abs(score - want) < 0.005
        all_right &= right
        shown = "none" if score is None else f"{score:.2f}"
        print(f"{submission.student:<10} {submission.story:<50} {shown:>7} {want:>9.2f}{'' if right else '   WRONG'}")
    return all_right


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make demo", description="Grade a made-up class with stock nbgrader.")
    parser.add_argument("--topic", default="01_pretraining")
    parser.add_argument("--into", type=Path, default=DEFAULT, help="the folder, removed and made anew")
    parser.add_argument("--only-answers", action="store_true", help="a small class, in which every file is as it should be")
    parser.add_argument("--only", nargs="+", default=[], metavar="STUDENT", help="these students alone hand in")
    parser.add_argument("--one-seed", action="store_true", help="grade with one fresh seed, which is quicker")
    arguments = parser.parse_args(argv)
    try:
        right = run(
            arguments.topic, arguments.into.resolve(), not arguments.only_answers, arguments.only, arguments.one_seed
        )
    except DemoFailed as error:
        print(error, file=sys.stderr)
        return 1
    print("\nEvery score is the expected one." if right else "\nSome scores are not the expected ones.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
