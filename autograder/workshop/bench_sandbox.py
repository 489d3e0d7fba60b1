"""How long one submission takes in a warm sandboxed kernel, against a kernel that is started as stock does it.

    python -m autograder.workshop.bench sandbox

The same cells, with the chapter's right answers, in turn in the same run. What a stock kernel's cells import is imported
by that kernel, as in `nbgrader autograde` as it comes; the warm process's own start is printed apart, once a class.
"""

import copy
import logging
import os
import statistics
import time

from autograder.grading.cells import grade_id, is_check
from autograder.grading.execute import draw_seeds
from autograder.grading.provisioner import Server
from autograder.grading.runner import Limits, kernel_environment, run_notebook
from autograder.grading.sandbox.policy import course_policy
from autograder.grading.sandbox.watch import processes_below
from autograder.judging.reference import SOLUTIONS
from autograder.workshop.release import source_notebook

IMPORTS = "import torch, transformers, peft"  # what a chapter's first cells come to


def bench_sandbox(times: int = 5, topic: str = "00_start_here") -> list[str]:
    """Seconds of both, and their ratio."""
    solved = source_notebook(topic, SOLUTIONS)
    first = next(cell for cell in solved.cells if cell.cell_type == "code")
    first.source = f"{IMPORTS}\n{first.source}"
    server = Server(course_policy(), kernel_environment())
    started = time.perf_counter()
    server.try_out()
    lines = [f"sandbox: the warm process {time.perf_counter() - started:.1f} s, once"]
    taken: dict[str, list[float]] = {"stock": [], "warm": []}
    used: dict[str, list[float]] = {"stock": [], "warm": []}
    for _ in range(times):
        for name, source in (("warm", server), ("stock", None)):
            before, began = _processor_seconds(server), time.perf_counter()
            run_notebook(copy.deepcopy(solved), kernel_environment(), Limits(), logging.getLogger(), _seeds(solved), source)
            taken[name].append(time.perf_counter() - began)
            while processes_below(server.process.pid):  # what has ended is counted by its parent then
                time.sleep(0.2)
            used[name].append(_processor_seconds(server) - before)
    server.stop()
    for name in taken:
        wall, processor = statistics.median(taken[name]), statistics.median(used[name])
        lines.append(f"sandbox: {name} {wall:.2f} s a submission, {processor:.2f} s of a processor (medians of {times})")
    wall, processor = (statistics.median(t["stock"]) / statistics.median(t["warm"]) for t in (taken, used))
    lines.append(f"sandbox: ratio {wall:.1f} in time, {processor:.1f} in processor time, one submission at a time")
    return lines


def _seeds(notebook) -> dict[str, tuple[int, ...]]:
    return {grade_id(cell): draw_seeds("bench", grade_id(cell)) for cell in notebook.cells if is_check(cell)}


def _processor_seconds(server: Server) -> float:
    """Of this process, of its children that have ended, and of the warm process with its own."""
    with open(f"/proc/{server.process.pid}/stat") as file:
        ticks = sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    ours = os.times()
    return ticks / os.sysconf("SC_CLK_TCK") + ours.user + ours.system + ours.children_user + ours.children_system
