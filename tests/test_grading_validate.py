"""`nbgrader validate`, which students run, sees what a check says."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
import warm_python
from grading_chapter import answered

WRONG = "def mean_loss(losses):\n    return losses.sum()"
RIGHT = "def mean_loss(losses):\n    return losses.mean()"


@pytest.mark.parametrize(("source", "said"), [(RIGHT, "Success!"), (WRONG, "mean_loss: ")])
def test_validate_tells_right_from_wrong(root: Path, tmp_path: Path, source: str, said: str) -> None:
    release = nbformat.read(root / "course" / "00_start_here" / "00_start_here.ipynb", as_version=4)
    nbformat.write(answered(release, mean_loss=source), tmp_path / "homework.ipynb")
    run = warm_python.run(
        [sys.executable, "-m", "nbgrader", "validate", "homework.ipynb"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=warm_python.PIPE,
        text=True,
        timeout=200,
    )
    assert said in run.stdout, run.stdout
    assert ("VALIDATION FAILED" in run.stdout.upper()) == (source == WRONG), run.stdout
