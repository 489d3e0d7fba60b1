"""What the class did not understand: the known mistakes in its answers, counted.

python -m autograder.grading.classreport 01_pretraining
"""

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.grading.cells import course_notes, is_check


@dataclass(frozen=True)
class Count:
    """How many submissions of a class made a mistake."""

    exercise: str
    mistake: str
    hint: str
    count: int


def mistakes_of(notebook: NotebookNode) -> dict[tuple[str, str], str]:
    """(exercise, mistake) -> hint, as the judge noted them in an autograded notebook."""
    found = {}
    for cell in notebook.cells:
        if is_check(cell):
            notes = course_notes(cell)
            for mistake, hint in notes.get("mistakes", {}).items():
                found[notes.exercise, mistake] = hint
    return found


def count_mistakes(notebooks: Iterable[NotebookNode]) -> list[Count]:
    """The mistakes of a class, most frequent first."""
    counts: Counter = Counter()
    hints: dict[tuple[str, str], str] = {}
    for notebook in notebooks:
        found = mistakes_of(notebook)
        counts.update(found.keys())
        hints |= found
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Count(exercise, mistake, hints[exercise, mistake], n) for (exercise, mistake), n in ordered]


def to_text(counts: list[Count], submissions: int) -> str:
    """The table, with the hint the students read under each mistake."""
    if not counts:
        return f"No known mistake was recognised in {submissions} submissions."
    width = max(len(c.exercise) for c in counts)
    lines = [f"Mistakes in {submissions} submissions:"]
    for c in counts:
        lines.append(f"{c.count:4d}  {c.exercise:<{width}}  {c.mistake}")
        lines += textwrap.wrap(c.hint, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines)


def read_class(paths: Iterable[Path]) -> list[NotebookNode]:
    """The autograded notebooks at `paths`."""
    return [nbformat.read(path, as_version=4) for path in paths]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    from autograder.grading.rejudge import course_directory, executed

    parser = argparse.ArgumentParser(prog="autograder.grading.classreport", description=__doc__.partition("\n")[0])
    parser.add_argument("topic", help="the chapter, such as 01_pretraining")
    topic = parser.parse_args(argv).topic
    notebooks = read_class(path for _, path in executed(course_directory(), topic))
    if not notebooks:
        print(f"No autograded submission of {topic} was found. Run nbgrader autograde {topic} first.")
        return 1
    print(to_text(count_mistakes(notebooks), len(notebooks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
