"""The step of `nbgrader autograde` that runs the rebuilt notebook on fresh seeds."""

import os
import secrets
from functools import lru_cache

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Integer

from autograder.check import GRADING_SEEDS
from autograder.grading.cells import course_notes
from autograder.grading.runner import Limits, kernel_environment, run_notebook

FIXED_SEEDS = "COURSE_FIXED_SEEDS"  # for tests: the seeds to grade with
SEEDS = 3


class Execute(NbGraderPreprocessor):
    """nbgrader preprocessor in place of nbgrader's own of that name.

    The seeds are written into the notebook here, on the grader's side: the judge never takes them from the evidence.
    """

    timeout = Integer(Limits.cell_seconds, help="Seconds for a cell.").tag(config=True)
    check_timeout = Integer(Limits.check_seconds, help="Seconds for a check cell with all its cases.").tag(config=True)
    notebook_timeout = Integer(Limits.notebook_seconds, help="Seconds for the whole notebook.").tag(config=True)
    memory_mb = Integer(Limits.memory_mb, help="Memory a kernel may allocate, in MiB.").tag(config=True)
    restarts = Integer(Limits.restarts, help="Kernels that may die before the rest is not run.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict):
        notes = course_notes(nb)
        if notes.get("unreadable"):
            return nb, resources
        seeds = grading_seeds()
        environment = kernel_environment(**{GRADING_SEEDS: ",".join(map(str, seeds))})
        limits = Limits(self.timeout, self.check_timeout, self.notebook_timeout, self.memory_mb, self.restarts)
        run_notebook(nb, environment, limits, self.log)
        notes.grading_seeds = list(seeds)
        return nb, resources


@lru_cache
def grading_seeds() -> tuple[int, ...]:
    """Seeds nobody knew before, drawn once for all submissions that one command grades."""
    fixed = os.environ.get(FIXED_SEEDS)
    if fixed:
        return tuple(int(seed) for seed in fixed.split(","))
    return tuple(1000 + secrets.randbelow(2**31 - 1000) for _ in range(SEEDS))
