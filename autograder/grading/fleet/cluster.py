"""Machines of a dask cluster that run notebooks: one task a submission.

    dask worker tcp://SCHEDULER:8786 --nthreads 2 --resources "kernels=2"      on each machine, with the course installed

What travels is data: a rebuilt notebook and how it is to be run go out, the executed notebook comes back, both as JSON.
Neither the class nor the solutions are on the other machines; reading, rebuilding and judging is done here, by the processes
that would else run the notebooks too.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import nbformat
from nbgrader.converters import NbGraderException

from autograder.grading.execute import Plan
from autograder.grading.fleet.local import LocalWorkers
from autograder.grading.fleet.steps import Examined, Steps
from autograder.grading.gradebook import patiently

RESOURCE = "kernels"  # what a worker has so many of as it may run notebooks at a time
WAIT_SECONDS = 30.0  # for the scheduler to answer
LOOK_SECONDS = 2.0  # between two questions how many workers there are
NOT_THERE = (
    "No dask scheduler answers at {address} ({error}). Start one (`dask scheduler`), and on each machine a worker: "
    'dask worker {address} --resources "kernels=2"'
)
NO_WORKERS = f"No worker of the cluster offers the resource {RESOURCE!r}. Until one does, nothing is run."
NO_DASK = "A cluster needs the package `distributed`: pip install 'training-language-models[cluster]'."


class WorkerKilled(Exception):
    """So many workers died with a submission as the scheduler allows ('distributed.scheduler.allowed-failures')."""

    sentence = "Each of several machines that ran it died, perhaps for want of memory"


class ClusterWorkers:
    """As `LocalWorkers`, of which it uses some; the notebooks run elsewhere."""

    died = BrokenProcessPool  # of a process here; of a machine elsewhere the scheduler knows whose work it had

    def __init__(self, opened: Callable, address: str, here: int):
        """address: the scheduler's. here: processes that read and judge. Raises NbGraderException where it is not there."""
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise NbGraderException(NO_DASK) from None
        self._asked, self._slots, self._told = -LOOK_SECONDS, 0, False
        self.local = LocalWorkers(opened, here)
        self.local.start()  # before there are threads: forks have none of them
        try:
            self.client = Client(address, timeout=WAIT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            self.local.close()
            raise NbGraderException(NOT_THERE.format(address=address, error=error)) from None

    @property
    def capacity(self) -> int:
        """How many notebooks the cluster can run now; machines come and go."""
        if time.monotonic() > self._asked + LOOK_SECONDS:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            self._slots = sum(int(worker["resources"].get(RESOURCE, 0)) for worker in workers)
            self._asked = time.monotonic()
            if not self._slots and not self._told:
                print(NO_WORKERS, file=sys.stderr)
            self._told = not self._slots
        return max(1, self._slots) + self.local.capacity

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
        self.client.close()

    def _through(self, whole: Future, student: str, paths: list[str]) -> None:
        from distributed import KilledWorker

        started = time.monotonic()
        try:
            prepared = self.local.submit(_prepare, student, paths).result()
            executed = {name: notebook for name, (notebook, plan) in prepared.items() if not plan}
            running = {
                name: self.client.submit(run, notebook, plan, pure=False, resources={RESOURCE: 1})
                for name, (notebook, plan) in prepared.items()
                if plan
            }
            executed |= {name: task.result() for name, task in running.items()}
            examined = self.local.submit(_judge, student, paths, executed).result()
            examined.seconds = time.monotonic() - started
            whole.set_result(examined)
        except KilledWorker as error:
            whole.set_exception(WorkerKilled(str(error)))
        except BaseException as error:
            whole.set_exception(error)


def run(notebook: str, plan: str) -> str:
    """On a machine of the cluster. Running it twice does no harm: nothing is kept there."""
    executed = Plan.from_json(json.loads(plan)).run(nbformat.reads(notebook, as_version=4), logging.getLogger(__name__))
    return nbformat.writes(executed)


def _prepare(steps: Steps, student: str, paths: list[str]) -> dict[str, tuple[str, str]]:
    return patiently(steps.prepare, student, paths)  # nbgrader reads the gradebook in it


def _judge(steps: Steps, student: str, paths: list[str], executed: dict[str, str]) -> Examined:
    return steps.judge(student, paths, executed)
