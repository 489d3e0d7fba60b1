"""Machines of a dask cluster that run notebooks: one task a submission's notebook.

    dask worker tcp://SCHEDULER:8786 --nthreads 2 --resources "kernels=2"      on each machine, with the course installed
"""

import sys
import threading
import time
from collections.abc import Callable

from nbgrader.converters import NbGraderException

from autograder.grading.fleet.classrun import WANT
from autograder.grading.fleet.elsewhere import Elsewhere, run

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
    """So many workers died with a submission as the scheduler allows ('distributed.scheduler.allowed-failures'), when no
    other that had met such a death was being tried."""

    sentence = f"Each of several machines that ran it died, {WANT}"


class ClusterWorkers(Elsewhere):
    """The scheduler knows which machine had whose work, and gives what a dead one had in hand to another."""

    def __init__(self, opened: Callable, address: str, here: int):
        """address: the scheduler's. Raises NbGraderException where it is not there."""
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise NbGraderException(NO_DASK) from None
        super().__init__(opened, here)
        self._asked, self._slots, self._told = -LOOK_SECONDS, 0, False
        self._suspected = threading.Lock()
        try:
            self.client = Client(address, timeout=WAIT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            self.local.close()
            raise NbGraderException(NOT_THERE.format(address=address, error=error)) from None

    def slots(self) -> int:
        """Machines come and go."""
        if time.monotonic() > self._asked + LOOK_SECONDS:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            self._slots = sum(int(worker["resources"].get(RESOURCE, 0)) for worker in workers)
            self._asked = time.monotonic()
            if not self._slots and not self._told:
                print(NO_WORKERS, file=sys.stderr)
            self._told = not self._slots
        return self._slots

    def run_all(self, student: str, notebooks: dict[str, tuple[str, str]]) -> dict[str, str]:
        """Raises WorkerKilled."""
        from distributed import KilledWorker

        try:
            return self._run_all(notebooks)
        except KilledWorker:  # whatever the dead machines had in hand is suspected: tried again, one after the other
            with self._suspected:
                try:
                    return self._run_all(notebooks)
                except KilledWorker as error:
                    raise WorkerKilled(str(error)) from None

    def _run_all(self, notebooks: dict[str, tuple[str, str]]) -> dict[str, str]:
        running = {
            name: self.client.submit(run, notebook, plan, pure=False, resources={RESOURCE: 1})
            for name, (notebook, plan) in notebooks.items()
        }
        return {name: task.result() for name, task in running.items()}

    def close(self) -> None:
        """Ask for nothing more."""
        super().close()
        self.client.close()
