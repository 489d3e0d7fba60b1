"""`make release`: from `solutions/NN_topic/NN_topic.py` to `course/NN_topic/NN_topic.ipynb` and its answer key.

1. The jupytext source becomes the paired notebook beside it, with stable cell ids, the set-up cell, and a badge where the
   course is published.
2. Stock `nbgrader generate_assignment` removes the solutions and writes the release.
3. The reference runs on the public seeds; its outputs are the answer key.
4. The texts of `predictions.py` are packed.

    python -m autograder.workshop.release [--into FOLDER] [--only-notebooks] [NN_topic ...]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat

from autograder.exercise import exercises_of
from autograder.judging.key import KEYS, build_key, key_path, read_key, same_key, write_key
from autograder.judging.reference import ROOT, SOLUTIONS, Reference, checked_exercise
from autograder.predict import PACKED, pack
from autograder.workshop.setup_cell import published, setup_cell


class ReleaseFailed(Exception):
    """A chapter could not be released; the message says what to mend."""


def chapters(solutions: Path = SOLUTIONS) -> list[str]:
    """The chapters there are, by number."""
    return sorted(p.name for p in solutions.iterdir() if (p / f"{p.name}.py").exists())


def source_notebook(topic: str, solutions: Path = SOLUTIONS) -> nbformat.NotebookNode:
    """The chapter as the notebook that nbgrader reads: ids, set-up cell, badge where published, no jupytext metadata."""
    notebook = jupytext.read(solutions / topic / f"{topic}.py")
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        raise ReleaseFailed(f"{topic}.py must begin with a markdown cell that holds the title, “# …”.")
    title, _, rest = notebook.cells[0].source.partition("\n")
    where = published(solutions)
    if where and (badge := where.badge(topic)):
        notebook.cells[0].source = f"{title}\n\n{badge}\n{rest}"
    notebook.cells.insert(1, setup_cell(where))
    _give_ids(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)  # how jupytext remembers blank lines of the .py
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def release_notebooks(topics: list[str], course: Path, solutions: Path = SOLUTIONS) -> None:
    """Write the released notebooks of the chapters below `course`."""
    for topic in topics:
        nbformat.write(source_notebook(topic, solutions), solutions / topic / f"{topic}.ipynb")
    with tempfile.TemporaryDirectory() as scratch:
        produced = Path(scratch) / "release"
        _generate(topics, produced, solutions, Path(scratch) / "gradebook.db")
        for topic in topics:
            extra = [p.name for p in (produced / topic).iterdir() if p.name != f"{topic}.ipynb"]
            if extra:
                raise ReleaseFailed(f"The release of {topic} would hold {extra}: see CourseDirectory.ignore.")
            (course / topic).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(produced / topic / f"{topic}.ipynb", course / topic / f"{topic}.ipynb")
            _check(topic, nbformat.read(course / topic / f"{topic}.ipynb", as_version=4))


def release_key(topic: str, keys: Path, solutions: Path = SOLUTIONS) -> None:
    """Write the answer key of a chapter, unless the one there says the same: floats differ from machine to machine."""
    key = build_key(topic, Reference(topic, solutions))
    path = key_path(topic, keys)
    if path.exists() and same_key(read_key(path), json.loads(json.dumps(key))):
        return
    keys.mkdir(parents=True, exist_ok=True)
    write_key(key, path)


def release_predictions(topic: str, folder: Path, solutions: Path = SOLUTIONS) -> None:
    """Pack what a chapter's predictions tell. Raises ReleaseFailed where a text is missing."""
    path = solutions / topic / "predictions.py"
    if not path.exists():
        return
    found: dict = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), found)
    try:
        pack(topic, found["PREDICTIONS"], folder)
    except (KeyError, ValueError) as error:
        raise ReleaseFailed(f"{path}: {error}") from error


def tool_environment() -> dict[str, str]:
    """Environment for a child Python: it finds this repository, and what nbgrader calls by name (alembic)."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def _give_ids(notebook) -> None:
    """Ids that stay: the grade_id where there is one, else the section's heading and the place within it."""
    section, place, used = "start", 0, set()
    for cell in notebook.cells:
        heading = re.match(r"#+ +(.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading:
            section = re.sub(r"[^a-z0-9]+", "-", heading.group(1).lower()).strip("-")[:40]
            place = 0
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        wanted = re.sub(r"[^a-zA-Z0-9-_]", "-", grade_id) if grade_id else f"{section}-{place}"
        while wanted in used:
            if grade_id:
                raise ReleaseFailed(f"Two cells have the grade_id {grade_id!r}.")
            place += 1
            wanted = f"{section}-{place}"
        place += not grade_id
        used.add(wanted)
        cell.id = wanted[:64]


# nbgrader releases one chapter a command, and to start it takes longer than to release one.
ALL_IN_ONE_PROCESS = """\
import sys
from nbgrader.apps.nbgraderapp import NbGraderApp

topics, options = sys.argv[1].split(","), sys.argv[2:]
for topic in topics:
    NbGraderApp.launch_instance(["generate_assignment", topic, "--force", "--create", *options])
    NbGraderApp.clear_instance()
"""


def _generate(topics: list[str], produced: Path, solutions: Path, gradebook: Path) -> None:
    """Run stock nbgrader, with a gradebook of its own."""
    options = [
        f"--config={ROOT / 'nbgrader_config.py'}",
        f"--CourseDirectory.root={ROOT}",
        f"--CourseDirectory.source_directory={solutions.resolve()}",
        f"--CourseDirectory.release_directory={produced}",
        f"--CourseDirectory.db_url=sqlite:///{gradebook}",
    ]
    command = [sys.executable, "-c", ALL_IN_ONE_PROCESS, ",".join(topics), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=tool_environment())
    if run.returncode:
        raise ReleaseFailed(f"nbgrader generate_assignment failed, for one of {topics}:\n{run.stderr[-3000:]}")


def _check(topic: str, released) -> None:
    """What a released chapter must be: every exercise asked once, with points."""
    asked = [name for cell in released.cells if (name := checked_exercise(cell))]
    known = [exercise.name for exercise in exercises_of(topic)]
    if sorted(asked) != sorted(known):
        raise ReleaseFailed(
            f"{topic} asks {sorted(asked)} in its check cells, but autograder/chapters/ knows {sorted(known)}."
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make release", description="Generate course/ from solutions/.")
    parser.add_argument("topics", nargs="*", help="chapters, such as 01_pretraining; all when none is named")
    parser.add_argument("--into", type=Path, help="write course/ and keys/ below this folder instead")
    parser.add_argument(
        "--only-notebooks", action="store_true", help="leave the answer keys: where only prose or demonstrations changed"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.topics) - set(chapters())
    if unknown:
        parser.error(f"no such chapter: {', '.join(sorted(unknown))}. There are: {', '.join(chapters())}.")
    course = arguments.into / "course" if arguments.into else ROOT / "course"
    keys = arguments.into / "keys" if arguments.into else KEYS
    topics = arguments.topics or chapters()
    release_notebooks(topics, course)
    for topic in topics:
        release_predictions(topic, keys / PACKED.name)
        if not arguments.only_notebooks:
            release_key(topic, keys)
        print(f"released {topic}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
