"""Running a notebook of the course as a reader would, and reading off what it measured. Used by the test_notebook* files."""

import json
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.release import repository, source_notebook

MINUTES = 60


def execute(notebook, folder: Path, tail: str = "") -> nbformat.NotebookNode:
    """Run all cells in a fresh kernel, as JupyterLab would, and `tail` in one more cell at the end."""
    if tail:
        notebook.cells.append(nbformat.v4.new_code_cell(tail))
    environment = os.environ | {"COURSE_PROGRESS_FILE": str(folder / "progress.json"), "PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, timeout=20 * MINUTES, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def values_of(notebook) -> dict:
    """What the tail cell printed."""
    return json.loads(notebook.cells[-1].outputs[-1]["text"])


def run_solved(topic: str, folder: Path, tail: str, record_property) -> dict:
    """Run a chapter with its reference solutions. Returns what the tail printed, and "minutes"; both are recorded."""
    started = time.monotonic()
    notebook = execute(source_notebook(topic, repository(), SOLUTIONS), folder, tail)
    values = values_of(notebook) | {"minutes": (time.monotonic() - started) / 60}
    record_property("values", values)
    short = {name: value for name, value in values.items() if len(str(value)) < 2000}
    print("\n" + json.dumps(short, indent=1))
    return values
