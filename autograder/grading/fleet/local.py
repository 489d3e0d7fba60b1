"""Processes of this machine that examine submissions: Python's own process pool.

Where a process can be forked they are forks of the one that grades: it has imported everything, knows the class and has
its warm process for kernels started, so a worker costs nothing to start and little memory.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from autograder.grading.sandbox import calls
from autograder.limits import allow_memory

_EACH_GB = 0.7  # what a worker and its kernel take at most, where kernels do what notebooks do
_MOST_MB = 4096  # and beyond which it ends: a kernel's messages wait in it until they are read, and may be huge
_opened: Callable | None = None  # gives what a worker works with; a fork has it from its parent


class LocalWorkers:
    """So many processes. `submit` gives futures; where a worker dies, all that are not done fail with `died`, and
    `renew` makes others.
    """

    died = BrokenProcessPool  # a future that failed with it may have died of a neighbour

    def __init__(self, opened: Callable, count: int):
        """opened: gives what each worker works with, its first argument."""
        self.opened, self.capacity = opened, count
        self.renew()

    def slots(self) -> int:
        """How many submissions are examined at a time."""
        return self.capacity

    def submit(self, work: Callable, *arguments) -> Future:
        """`work(opened(), *arguments)` in one of the processes."""
        return self.pool.submit(_work, work, arguments)

    def start(self) -> None:
        """Let all of them be there now, and not when the first work comes: forks of a process that has no threads yet."""
        self.pool.submit(int).result()

    def renew(self) -> None:
        """New processes."""
        global _opened
        _opened = self.opened
        context = multiprocessing.get_context("fork" if _can_fork() else "spawn")
        self.pool = ProcessPoolExecutor(self.capacity, context, _begin, (self.opened, os.getpid()))

    def close(self) -> None:
        """End them, whatever they do."""
        processes = list((self.pool._processes or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _can_fork() -> bool:
    return sys.platform.startswith("linux")


def _begin(opened: Callable, parent: int) -> None:
    """In a new worker: Ctrl-C is for the process that grades, and with that process, however it ends, this one does."""
    global _opened
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _can_fork():
        calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before this line
            os._exit(1)
    allow_memory(_MOST_MB, "RLIMIT_DATA")
    _opened = opened
    logging.raiseExceptions = False  # a terminal that has gone is no reason to fail


def _work(work: Callable, arguments: tuple):
    return work(_opened(), *arguments)


def default_count() -> int:
    """Two for a core, since a kernel waits for a third of its time, as far as the memory goes."""
    return max(1, min(2 * cores(), int(_free_gb() / _EACH_GB)))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_gb() -> float:
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError, ValueError):
        return 4.0
