"""What a reader wrote in a former chapter is called again."""

import os
import subprocess
import sys
import textwrap

import pytest

from autograder import earlier
from autograder.earlier import as_module, keep_answer, load_answer
from autograder.evidence import GRADING


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(tmp_path / "kept" / "progress.json"))
    return tmp_path / "kept" / "answers"


def own(losses):
    return "the course's own"


# As a notebook's cells: an import under a short name, a constant, a helper, and the answer that uses them all.
NOTEBOOK = """
import math
import torch
import torch.nn.functional as F
from collections import Counter
from autograder import check

SCALE = 1.0

def total(values):
    return (values * SCALE).sum()

def mean_loss(losses: torch.Tensor) -> torch.Tensor:
    parts = [total(losses) / losses.numel() for _ in range(1)]
    return parts[0] + 0 * math.pi + 0 * len(Counter())
"""


def run_as_a_notebook(tmp_path, code: str) -> str:
    path = tmp_path / "notebook.py"  # a file, so that the source of its functions can be had, as IPython's cells can
    path.write_text(textwrap.dedent(code))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, path], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_answer_that_passed_is_called_in_a_later_chapter(tmp_path, capsys):
    import torch

    run_as_a_notebook(tmp_path, NOTEBOOK + '\ncheck("mean_loss", mean_loss)\n')
    answer = earlier("mean_loss", own)
    assert "yours, from 00_start_here" in capsys.readouterr().out
    assert answer(torch.tensor([[1.0, 3.0, 5.0]])).item() == 3.0


def test_without_one_the_courses_own_is_taken_and_said(capsys):
    assert earlier("mean_loss", own) is own
    assert "the course's own" in capsys.readouterr().out


def test_an_answer_that_fails_its_check_is_not_kept(tmp_path, kept):
    wrong = NOTEBOOK.replace("/ losses.numel()", "/ 2")
    run_as_a_notebook(tmp_path, f'{wrong}\ntry:\n    check("mean_loss", mean_loss)\nexcept Exception:\n    pass\n')
    assert not kept.exists()


def test_an_answer_that_names_a_tensor_passes_its_check_and_is_not_kept(tmp_path, kept):
    code = NOTEBOOK.replace("SCALE = 1.0", "SCALE = torch.tensor(1.0)")
    run_as_a_notebook(tmp_path, code + '\ncheck("mean_loss", mean_loss)\n')
    assert not kept.exists() and load_answer("mean_loss") is None


@pytest.mark.parametrize("content", ["", "mean_loss = 3", "import no_such_module", "def mean_loss(:", "raise SystemError"])
def test_a_file_that_cannot_be_used_is_as_none(content, kept):
    kept.mkdir(parents=True)
    (kept / "mean_loss.py").write_text(content)
    assert earlier("mean_loss", own) is own


def test_in_grading_it_is_the_courses_own_and_nothing_is_said(monkeypatch, kept, capsys):
    kept.mkdir(parents=True)
    (kept / "mean_loss.py").write_text("def mean_loss(losses):\n    return 0\n")
    monkeypatch.setenv(GRADING, "1")
    assert earlier("mean_loss", own) is own and capsys.readouterr().out == ""


def test_what_was_not_written_in_a_notebook_is_not_kept(kept):
    keep_answer("mean_loss", own)
    assert not kept.exists()


def test_a_module_names_the_answer_as_the_exercise_is_called():
    assert as_module("mean_loss", own).endswith("\nmean_loss = own\n")
