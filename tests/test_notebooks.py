"""Every released notebook runs up to its first open exercise and stops kindly. What a solved one shows: test_cNN_notebook.py"""

import nbformat
import pytest
from conftest import WHOLE
from nbclient.exceptions import CellExecutionError
from notebook_runs import MINUTES, SMALL_DOSE

from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.record import execute
from autograder.workshop.release import chapters, source_notebook


@pytest.mark.timeout(5 * MINUTES)
def test_start_here_solved(tmp_path):
    execute(source_notebook("00_start_here", SOLUTIONS), tmp_path)


@pytest.mark.parametrize("topic", chapters())
@pytest.mark.timeout(10 * MINUTES)
def test_released_runs_up_to_the_first_exercise_and_stops_kindly(topic, tmp_path):
    notebook = nbformat.read(ROOT / "course" / topic / f"{topic}.ipynb", as_version=4)
    with pytest.raises(CellExecutionError):
        execute(notebook, tmp_path, {} if WHOLE else {"COURSE_DOSE": SMALL_DOSE})
    failed = [cell for cell in notebook.cells if any(o["output_type"] == "error" for o in cell.get("outputs", []))]
    assert len(failed) == 1 and failed[0].source.startswith("check("), "only the first check cell stops the notebook"
    outputs = failed[0].outputs
    html = next(o["data"]["text/html"] for o in outputs if o["output_type"] == "display_data")
    assert "not answered yet" in html
    error = next(o for o in outputs if o["output_type"] == "error")
    assert error["ename"] == "CheckFailed" and len(error["traceback"]) == 1, "one kind line, no stack of our frames"
    assert "not answered yet" in error["evalue"]
