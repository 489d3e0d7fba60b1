"""Notebooks that run somewhere else: in containers of this machine, or on the machines of a cluster.

What travels is data. A rebuilt notebook and how it is to be run go out; what its cells gave comes back, and nothing else of
what came back is believed. Neither the class nor the solutions are there; reading, rebuilding and judging is done here, by
the processes that would else run the notebooks too.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import nbformat

from autograder.grading.cells import course_notes
from autograder.grading.execute import Plan
from autograder.grading.fleet.local import LocalWorkers
from autograder.grading.fleet.steps import Examined, Steps
from autograder.grading.gradebook import patiently


class GaveNonsense(Exception):
    """What came back is not what the cells of that notebook can have given."""

    sentence = "What came back from where it ran is not what the cells of a notebook give"


class Elsewhere:
    """As `LocalWorkers`, of which it uses some. Who inherits says how many notebooks run at a time, and runs them."""

    died = BrokenProcessPool  # of a process here

    def __init__(self, opened: Callable, here: int):
        """here: processes that read and judge."""
        self.local = LocalWorkers(opened, here)
        self.local.start()  # before there are threads: forks have none of them

    def slots(self) -> int:
        """How many notebooks can be run at a time, now."""
        raise NotImplementedError

    def run_all(self, student: str, notebooks: dict[str, tuple[str, str]]) -> dict[str, str]:
        """Name -> notebook and plan, to name -> what `run` gives. In a thread; raises what became of it, with a `sentence`
        where there is something to say."""
        raise NotImplementedError

    @property
    def capacity(self) -> int:
        """How many submissions may be in hand."""
        return max(1, self.slots()) + self.local.capacity

    def submit(self, work: Callable, student: str, paths: list[str]) -> Future:
        """Read here, run there, judge here. `work`, which would do all of it in one process, is not called."""
        whole: Future = Future()
        threading.Thread(target=self._through, args=(whole, student, paths), daemon=True).start()
        return whole

    def renew(self) -> None:
        """Other processes here."""
        self.local.renew()

    def close(self) -> None:
        """Ask for nothing more."""
        self.local.close()

    def _through(self, whole: Future, student: str, paths: list[str]) -> None:
        started = time.monotonic()
        try:
            prepared = self.local.submit(_prepare, student, paths).result()
            gave = self.run_all(student, {name: pair for name, pair in prepared.items() if pair[1]})
            notebooks = {name: notebook for name, (notebook, _) in prepared.items()}
            examined = self.local.submit(_judge, student, paths, notebooks, gave).result()
            examined.seconds = time.monotonic() - started
            whole.set_result(examined)
        except BaseException as error:
            whole.set_exception(error)


def run(notebook: str, plan: str) -> str:
    """There. Returns what each cell gave, as JSON. Running it twice does no harm: nothing is kept there."""
    executed = Plan.from_json(json.loads(plan)).run(nbformat.reads(notebook, as_version=4), logging.getLogger(__name__))
    return json.dumps([_given_by(cell) for cell in executed.cells])


def _given_by(cell) -> dict | None:
    if cell.cell_type != "code":
        return None
    return {"outputs": cell.outputs, "seconds": course_notes(cell).get("seconds")}


def with_outputs(notebook: str, gave: str) -> str:
    """The notebook that went out, with what its cells gave. Raises GaveNonsense."""
    nb = nbformat.reads(notebook, as_version=4)
    try:
        found = json.loads(gave)
        for cell, given in zip(nb.cells, found, strict=True):
            if cell.cell_type == "code":
                cell.outputs = [nbformat.from_dict(dict(output)) for output in given["outputs"]]
                if given["seconds"] is not None:
                    course_notes(cell).seconds = float(given["seconds"])
        nbformat.validate(nb)
    except (ValueError, TypeError, KeyError, RecursionError, nbformat.ValidationError) as error:
        raise GaveNonsense(str(error)[:300]) from error
    return json.dumps(nb)


def _prepare(steps: Steps, student: str, paths: list[str]) -> dict[str, tuple[str, str]]:
    return patiently(steps.prepare, student, paths)  # nbgrader reads the gradebook in it


def _judge(steps: Steps, student: str, paths: list[str], notebooks: dict[str, str], gave: dict[str, str]) -> Examined:
    executed = {name: with_outputs(text, gave[name]) if name in gave else text for name, text in notebooks.items()}
    return steps.judge(student, paths, executed)
