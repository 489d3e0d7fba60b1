"""A student's own data.py or course.py beside the notebook does not hide the course's packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = "raise RuntimeError('this is the file of a student')\n"


def run(root: Path, folder: Path, program: str) -> subprocess.CompletedProcess:
    """Python as a kernel runs it: the folder of the notebook is searched first."""
    program = f"import sys; sys.path.insert(0, '')\n{program}"
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("own", ["data.py", "course.py", "data/__init__.py", "course/__init__.py"])
def test_our_packages_are_found_before_a_students(root: Path, tmp_path: Path, own: str) -> None:
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text(HOSTILE)
    program = "from autograder import check\nimport course, data, data.utility\nprint(data.__file__, course.__file__)"
    done = run(root, tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(root / name / "__init__.py") for name in ("data", "course")]
    assert done.stderr == ""


def test_what_was_imported_before_is_put_aside_and_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("mine = 1\n")
    done = run(root, tmp_path, "import data as own\nimport autograder\nimport data\nprint(own.mine, data.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(root / "data" / "__init__.py")]
    assert "Your own `data`" in done.stderr and "another name" in done.stderr


def test_other_modules_are_found_as_ever_and_the_finder_stands_there_once(root: Path, tmp_path: Path) -> None:
    """Also where the grader imports the package anew, before each check."""
    (tmp_path / "helpers.py").write_text("answer = 41\n")
    program = """
import autograder, data
for name in [m for m in sys.modules if m.partition('.')[0] == 'autograder']: del sys.modules[name]
from autograder import check
import helpers, data as again
print(helpers.answer, again is data, [type(f).__name__ for f in sys.meta_path].count("FoundFirst"))
"""
    done = run(root, tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["41", "True", "1"]
    assert done.stderr == ""


def test_every_chapter_imports_the_grader_before_our_other_packages(root: Path) -> None:
    """From there on they are found first."""
    for path in sorted(root.glob("solutions/*/*.py")):
        if path.stem == path.parent.name:
            lines = path.read_text(encoding="utf-8").splitlines()
            ours = ("from autograder", "from course", "import course", "from data", "import data")
            first = next(line for line in lines if line.startswith(ours))
            assert first.startswith("from autograder import"), path
