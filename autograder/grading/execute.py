"""The step of `nbgrader autograde` that runs the rebuilt notebook on fresh seeds, in a sandbox."""

import hmac
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Integer, List, Unicode

from autograder.grading.cells import course_notes, coursedir_of, grade_id, is_check
from autograder.grading.provisioner import Server, server_for
from autograder.grading.runner import Limits, kernel_environment, run_notebook
from autograder.grading.sandbox.policy import course_policy

FIXED_SEEDS = "COURSE_FIXED_SEEDS"  # for tests: the seeds to grade with
SEEDS = 3
SANDBOX = "COURSE_SANDBOX"
WITHOUT = """\
THERE IS NO SANDBOX: none was wanted. What students hand in runs as you: it can read the solutions, the gradebook,
other submissions, your home and your keys, write and delete what you can, use the network, and stay when you are done.
Grade like this only what you have read, or inside a container that holds nothing else."""
HOW_WITHOUT = "To grade without one, say so: COURSE_SANDBOX=off in the environment, or --Execute.sandbox=False."


class Execute(NbGraderPreprocessor):
    """nbgrader preprocessor in place of nbgrader's own of that name.

    The seeds are written into the notebook here, on the grader's side: the judge never takes them from the evidence.
    """

    timeout = Integer(Limits.cell_seconds, help="Seconds for a cell.").tag(config=True)
    check_timeout = Integer(Limits.check_seconds, help="Seconds for a check cell with all its cases.").tag(config=True)
    notebook_timeout = Integer(Limits.notebook_seconds, help="Seconds for the whole notebook.").tag(config=True)
    memory_mb = Integer(Limits.memory_mb, help="Memory a kernel may allocate, with all it starts, in MiB.").tag(config=True)
    files_mb = Integer(1024, help="What a kernel may write, in MiB.").tag(config=True)
    processes = Integer(256, help="Processes and threads a kernel may have.").tag(config=True)
    restarts = Integer(Limits.restarts, help="Kernels that may die before the rest is not run.").tag(config=True)
    sandbox = Bool(True, help="Whether kernels are sandboxed; COURSE_SANDBOX=off says no too.").tag(config=True)
    visible = List(Unicode(), help="Files and folders that kernels may read, beside the public course.").tag(config=True)
    seeds_by_student = Bool(
        False, help="Whether each submission has seeds of its own: the reference is then computed for each."
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict):
        plan = self.plan(nb, resources["nbgrader"])
        if plan is not None:
            run_notebook(nb, _environment(), plan.limits, self.log, plan.seeds, self.server(coursedir_of(self)))
        return nb, resources

    def plan(self, nb: NotebookNode, names: dict) -> "Plan | None":
        """How a notebook is to be run, noted in it; None where there is nothing to run. names: nbgrader's, of what it is."""
        notes = course_notes(nb)
        if notes.get("unreadable"):
            return None
        seeds = self._seeds(nb, names)
        notes.grading_seeds = {name: list(drawn) for name, drawn in seeds.items()}
        limits = Limits(self.timeout, self.check_timeout, self.notebook_timeout, self.memory_mb, self.restarts)
        return Plan(seeds, limits, self._policy() if self.is_sandboxed() else None)

    def is_sandboxed(self) -> bool:
        """Whether a sandbox is asked for."""
        return self.sandbox and sandbox_asked_for()

    def _policy(self) -> dict:
        return {
            "also": tuple(self.visible),
            "memory_mb": self.memory_mb,
            "files_mb": self.files_mb,
            "processes": self.processes,
            "cpu_seconds": 2 * self.notebook_timeout,
        }

    def server(self, coursedir) -> Server | None:
        """Where kernels come from; None where there is to be no sandbox."""
        if not self.is_sandboxed():
            return None
        kinds = ("source", "submitted", "autograded", "feedback", "solution")
        held_back = [Path(coursedir.root) / getattr(coursedir, f"{kind}_directory") for kind in kinds]
        if coursedir.db_url.startswith("sqlite:///"):
            held_back.append(Path(coursedir.db_url.removeprefix("sqlite:///")))
        return server_for(course_policy(held_back=tuple(map(str, held_back)), **self._policy()), _environment())

    def _seeds(self, nb: NotebookNode, names: dict) -> dict[str, tuple[int, ...]]:
        """Check cell -> its seeds. Nobody knows them before the cell is run, not from another cell either."""
        whose = names["student"] if self.seeds_by_student else ""
        checks = [grade_id(cell) for cell in nb.cells if is_check(cell)]
        return {name: draw_seeds(names["assignment"], name, whose) for name in checks}


@dataclass(frozen=True)
class Plan:
    """All that running a notebook takes, as data. sandbox: what `course_policy` is asked for; None where none is wanted."""

    seeds: dict[str, tuple[int, ...]]
    limits: Limits
    sandbox: dict | None

    def as_json(self) -> dict:
        """For another machine."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> "Plan":
        """The inverse."""
        sandbox = data["sandbox"] and data["sandbox"] | {"also": tuple(data["sandbox"]["also"])}
        return cls({name: tuple(drawn) for name, drawn in data["seeds"].items()}, Limits(**data["limits"]), sandbox)

    def run(self, nb: NotebookNode, log) -> NotebookNode:
        """On a machine that knows nothing of the class: what is held back there is what the course holds back anywhere."""
        server = None if self.sandbox is None else server_for(course_policy(**self.sandbox), _environment())
        return run_notebook(nb, _environment(), self.limits, log, self.seeds, server)


def _environment() -> dict[str, str]:
    """The kernel's. nbgrader says what it does in the last of them, and only while it does it: one warm process serves all."""
    return kernel_environment(NBGRADER_EXECUTION="autograde")


def draw_seeds(*names: str) -> tuple[int, ...]:
    """Seeds for what the names name: the same for as long as one command grades."""
    fixed = os.environ.get(FIXED_SEEDS)
    if fixed:
        return tuple(int(seed) for seed in fixed.split(","))
    drawn = hmac.digest(_secret_of_this_run(), "\0".join(names).encode(), "sha256")
    pieces = [int.from_bytes(drawn[8 * i : 8 * i + 8], "big") for i in range(SEEDS)]
    return tuple(1000 + piece % (2**31 - 1000) for piece in pieces)


_secret: list[bytes] = []


def _secret_of_this_run() -> bytes:
    return _secret[0] if _secret else draw_afresh()


def draw_afresh(secret: bytes = b"") -> bytes:
    """From here on, other seeds: a formgrader runs for weeks. Returns what another process draws the same seeds from."""
    _secret[:] = [secret or secrets.token_bytes(32)]
    return _secret[0]


def sandbox_asked_for() -> bool:
    """What COURSE_SANDBOX says; a sandbox where it says nothing. Raises ValueError for a word that means nothing."""
    said = os.environ.get(SANDBOX, "on")
    if said not in ("on", "off"):
        raise ValueError(f"{SANDBOX} is {said!r}. It can be 'on' (which it is by itself) or 'off'.")
    return said == "on"
