"""Run one notebook in one kernel, under limits.

`run_notebook` is the whole interface: a notebook goes in, its code cells come out with outputs.

A cell that ends the kernel, or cannot be interrupted, costs that cell: a fresh kernel runs the cells before it again,
without the check cells, and goes on behind it. A check cell is tried again first, with its cases in processes of their own:
so a case that hangs or dies costs that case. Answers that do neither need no such processes, and those are most.
"""

import contextlib
import copy
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.client import CellExecutionComplete
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.notebooknode import NotebookNode

from autograder import limits as of_cases
from autograder.evidence import APART, GRADING, GRADING_SEEDS
from autograder.grading import provisioner
from autograder.grading.cells import STOPPED, course_notes, grade_id, is_check, is_demo
from autograder.grading.demos import parts_to_run
from autograder.grading.nodes import new_output

MAX_OUTPUT = 30_000_000  # characters kept of the outputs of one cell; evidence is smaller by far
START_SECONDS = 60  # for a kernel to say that it is there
INTERRUPT_SECONDS = 10  # an interrupted cell that is not idle by then is not going to be
# Runs before a check cell: whatever a notebook did to its process, to `check` or to the probes is undone, so that its
# answers are tried as they are. This is fairness, not security: the judge believes nothing that comes out of the kernel.
RESTORE = (
    "import sys\n"
    "if not getattr(sys, '_course_restore', bool)():\n"
    "    for _module in [m for m in sys.modules if m.partition('.')[0] == 'autograder']: del sys.modules[_module]\n"
    "from autograder import check\n"
)
START = "__import__('autograder.grading.kernel', fromlist=['start']).start()\n"  # runs before the first cell
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Of matplotlib's, MPLCONFIGDIR alone: MPLBACKEND, set for scripts, would hide the plots of a notebook.
_PASSED_ON = frozenset(
    "PATH HOME USER LANG TZ TMPDIR PYTHONPATH VIRTUAL_ENV CONDA_PREFIX SYSTEMROOT MPLCONFIGDIR".split()
)
_PASSED_ON_PREFIXES = tuple("LC_ LD_ DYLD_ COURSE_ JUPYTER_ HF_ CUDA_ NVIDIA_ NBGRADER_".split())
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD", "COURSE_FIXED_SEEDS")


def _most_memory_mb() -> int:
    """Generous, and no more than three quarters of what this machine has."""
    try:
        return min(12_288, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4 // 2**20)
    except (AttributeError, ValueError, OSError):
        return 12_288


@dataclass(frozen=True)
class Limits:
    """cell_seconds: of a cell; check_seconds: of a check cell, whose cases have limits of their own;
    notebook_seconds: after which no further cell is begun; memory_mb: of the kernel; restarts: of kernels that died.
    """

    cell_seconds: int = 300
    check_seconds: int = 900
    notebook_seconds: int = 3600
    memory_mb: int = _most_memory_mb()
    restarts: int = 5


def run_notebook(
    notebook: NotebookNode,
    environment: dict[str, str],
    limits: Limits,
    log,
    seeds: dict[str, tuple[int, ...]] | None = None,
    server: provisioner.Server | None = None,
) -> NotebookNode:
    """Run the code cells in place, in an empty folder of their own.

    seeds: of each check cell, by its grade_id; they reach the kernel with the cell. server: where sandboxed kernels come
    from. Without one there is no sandbox, and `environment` is all that the kernel sees. Raises only where no kernel can
    be started, which is no fault of the notebook.
    """
    if server is not None:
        _Run(notebook, limits, log, seeds or {}, server).to_the_end()
        return notebook
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as folder:
        startup = Path(folder, ".ipython", "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "start.py").write_text(START, encoding="utf-8")
        environment = environment | {"IPYTHONDIR": f"{folder}/.ipython"}
        _Run(notebook, limits, log, seeds or {}, None, environment, folder).to_the_end()
    return notebook


def kernel_environment(**extra: str) -> dict[str, str]:
    """What a student's code may see of this process's environment (no secrets), single-threaded, and `extra`."""
    here = str(Path(__file__).resolve().parents[2])  # so that the kernel runs the probes this grader judges by
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)) and not any(word in name for word in _SECRET)
    }
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [here, kept.get("PYTHONPATH", "")]))
    return kept | {name: "1" for name in (*_THREADS, GRADING)} | extra


class _Run:
    """The state of one run: the kernel, the time left, the restarts left, the cells that must not be run again."""

    def __init__(self, notebook, limits, log, seeds, server, environment=None, folder=""):
        self.notebook, self.limits, self.log, self.seeds = notebook, limits, log, seeds
        self.server, self.environment, self.folder = server, environment, folder
        self.client: _Client | None = None
        self.group: int | None = None  # the kernel's process group
        self.restarts = 0
        self.apart = False  # whether check cells run their cases in processes of their own
        self.bad: set[int] = set()
        self.parts = parts_to_run(notebook)  # of demonstrations
        self.deadline = time.monotonic() + limits.notebook_seconds

    def to_the_end(self) -> None:
        """All cells. There is no kernel afterwards, whatever came."""
        try:
            self.all_cells()
        finally:
            self.stop_kernel()

    def all_cells(self) -> None:
        self.start_kernel()
        for index, cell in enumerate(self.notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            cell.outputs = []
            if is_demo(cell) and index not in self.parts:
                cell.outputs = [new_output("stream", text="(a long demonstration: it is not run in grading)\n")]
            elif self.restarts > self.limits.restarts:
                _tell(cell, "not run: cells before it ended the Python process too often.")
            elif time.monotonic() > self.deadline:
                _tell(cell, "not run: the cells before it used up the time for the whole notebook.")
            else:
                self._run_or_recover(cell, index)
            if index in self.parts and not any(output.output_type == "error" for output in cell.outputs):
                names = ", ".join(self.parts[index].names)
                said = f"(a long demonstration: in grading it only defined what your cells use: {names})\n"
                cell.outputs = [new_output("stream", text=said)]

    def start_kernel(self) -> None:
        self.client = _Client(self.notebook)
        self.client.km = self.client.create_kernel_manager()
        self.client.km.client_factory = _Channels
        if self.server is not None:
            provisioner.use(self.client.km, self.server)
            self.client.start_new_kernel()
            self.client.start_new_kernel_client()
            return
        silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.client.start_new_kernel(env=self.environment, cwd=self.folder, **silence)
        self.client.start_new_kernel_client()
        self.group = self.client.km.provisioner.pgid
        _limit_memory(self.client.km.provisioner.pid, self.limits.memory_mb)

    def stop_kernel(self) -> None:
        if self.client is None:
            return
        if self.client.km is not None:  # nbclient takes it away where a kernel did not start
            self.client._cleanup_kernel()
        self.client = None
        if self.group and self.group != os.getpgrp():
            with contextlib.suppress(OSError):  # what a dead kernel left running
                os.killpg(self.group, signal.SIGKILL)

    def _run_or_recover(self, cell: NotebookNode, index: int) -> None:
        trouble = self._run_cell(cell, index)
        if trouble and is_check(cell) and not self.apart:
            trouble = self._run_apart(cell, index)
        if trouble:
            _tell(cell, trouble)
        while trouble and self.client is None and self.restarts < self.limits.restarts:
            self.restarts += 1
            self.start_kernel()
            trouble = self._replay(index)
        if self.client is None:
            self.restarts += 1  # one more than allowed: the cells that follow say so

    def _run_apart(self, cell: NotebookNode, index: int) -> str:
        """A check cell again, in a fresh kernel and as all that follow: each case for itself."""
        self.stop_kernel()
        self.apart, cell.outputs = True, []
        self.start_kernel()
        return self._replay(index) or self._run_cell(cell, index)

    def _replay(self, before: int) -> str:
        """Run the harmless cells before an index again, for what they define. Returns the trouble, if any."""
        scratch = copy.deepcopy(self.notebook)  # what the cells printed the first time stays
        self.client.nb = scratch
        for index, cell in enumerate(scratch.cells[:before]):
            runnable = cell.cell_type == "code" and cell.source.strip() and not is_check(cell)
            runnable = runnable and (not is_demo(cell) or index in self.parts)
            if runnable and index not in self.bad:
                trouble = self._run_cell(cell, index)
                if self.client is None:
                    return trouble
        self.client.nb = self.notebook
        return ""

    def _run_cell(self, cell: NotebookNode, index: int) -> str:
        """Run one cell. Returns why it was stopped, '' where it was not; the kernel is gone where it had to be."""
        client = self.client
        client.timeout = self._seconds_for(cell)
        client.begin_cell()
        try:
            with self._as_it_runs(cell, index):
                client.execute_cell(cell, index)
        except DeadKernelError:
            trouble = self._why_it_died()
        except CellTimeoutError:
            trouble = f"this cell did not finish within {client.timeout} seconds and could not be interrupted."
        except Exception:  # a kernel sends what it likes
            self.log.warning("Cell %s: the kernel sent what is no message.", index, exc_info=True)
            trouble = "what this cell sent to the grader could not be read."
        else:
            if client.interrupted:
                self.bad.add(index)
                return f"this cell did not finish within {client.timeout} seconds. Is there an endless loop?"
            return ""
        self.log.warning("Cell %s: %s", index, trouble)
        self.bad.add(index)
        self.stop_kernel()
        return trouble

    def _seconds_for(self, cell: NotebookNode) -> int:
        if not is_check(cell):
            return self.limits.cell_seconds
        if self.apart:
            return self.limits.check_seconds
        return min(self.limits.check_seconds, int(of_cases.Limits.from_environment().seconds) + 2 * INTERRUPT_SECONDS)

    def _why_it_died(self) -> str:
        match getattr(self.client.km.provisioner, "ended_by", ""):
            case "memory":
                return f"this cell and what it started used more than {self.limits.memory_mb / 1024:.2g} GiB of memory."
            case "processes":
                return "this cell started too many processes or threads."
        return "this cell ended the Python process (it left it, crashed it, or used too much memory)."

    @contextlib.contextmanager
    def _as_it_runs(self, cell: NotebookNode, index: int) -> Iterator[None]:
        """A check cell with its seeds, and timed; a demonstration as what is run of it; the page shows what is written."""
        shown, begun = cell.source, time.monotonic()
        if is_check(cell):
            cell.source = RESTORE + _set_seeds(self.seeds.get(grade_id(cell), ()), self.apart) + shown
        elif index in self.parts:
            cell.source = self.parts[index].source
        try:
            yield
        finally:
            cell.source = shown
            if is_check(cell):
                course_notes(cell).seconds = round(time.monotonic() - begun, 2)


class _Channels(AsyncKernelClient):
    """The grader's ends of a kernel's sockets: nothing waits for ever where the other end was broken on purpose.

    libzmq drops a connection over which came what is no message, for good, and to send to nobody is to wait. The heartbeat,
    which would be such a sender in a thread of its own, is not needed: the provisioner knows whether a kernel lives.
    """

    def _context_default(self) -> zmq.asyncio.Context:
        context = super()._context_default()
        context.sndtimeo = 1000 * INTERRUPT_SECONDS
        return context

    def start_channels(self, *arguments, **named) -> None:
        super().start_channels(*arguments, **named | {"hb": False})

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """As jupyter_client's own, which listens until nothing has come for a fifth of a second: here, until the kernel has
        said on both channels that it has answered.
        """
        until = time.monotonic() + (timeout or START_SECONDS)
        while True:
            asked = self.kernel_info()
            with contextlib.suppress(Empty):
                return await self._hear_the_answer_to(asked)
            if not await self._async_is_alive():
                raise RuntimeError("The kernel died before it said that it was there.")
            if time.monotonic() > until:
                raise RuntimeError("The kernel did not say that it was there.")

    async def _hear_the_answer_to(self, asked: str) -> None:
        """Raises Empty where not all of it comes: what is said before anybody listens is lost."""
        found: dict = {}
        while found.get("parent_header", {}).get("msg_id") != asked:
            found = await self.shell_channel.get_msg(timeout=1)
        self._handle_kernel_info_reply(found)
        while found["parent_header"].get("msg_id") != asked or found["content"].get("execution_state") != "idle":
            found = await self.iopub_channel.get_msg(timeout=0.2)


class _Manager(AsyncKernelManager):
    """Looks more often whether a kernel that was ended has ended."""

    async def _async_wait(self, pollinterval: float = 0.01) -> None:
        await super()._async_wait(pollinterval)


class _Client(NotebookClient):
    """nbclient, except that it believes nothing of what the kernel's messages hold, keeps little, and shows no widgets.

    All that a cell displays becomes `stream`, `error` or `display_data` outputs without metadata.
    """

    def __init__(self, notebook: NotebookNode):
        super().__init__(
            notebook,
            kernel_name=notebook.metadata.get("kernelspec", {}).get("name", "python3"),
            kernel_manager_class=_Manager,
            allow_errors=True,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "Interrupted", "evalue": "", "traceback": []},
            raise_on_iopub_timeout=True,
            iopub_timeout=INTERRUPT_SECONDS,
            shutdown_kernel="immediate",
            record_timing=False,
            skip_cells_with_tag="",
        )
        self.begin_cell()

    def begin_cell(self) -> None:
        self.interrupted = False
        self.kept = 0  # characters
        self.displays: dict[str, NotebookNode] = {}  # outputs that later messages may update, by display_id
        self.clear_first = False

    async def _async_handle_timeout(self, timeout, cell=None):
        self.interrupted = True
        return await super()._async_handle_timeout(timeout, cell)

    def process_message(self, msg, cell, cell_index) -> None:
        kind, content = msg["msg_type"], msg["content"]
        if kind == "status" and content.get("execution_state") == "idle":
            raise CellExecutionComplete()
        if kind == "clear_output" and content.get("wait"):
            self.clear_first = True
        elif kind == "clear_output":
            cell.outputs.clear()
        elif kind == "execute_input":
            count = content.get("execution_count")
            if type(count) is int and count >= 0:  # a notebook with another one is not valid
                cell.execution_count = count
        elif kind in ("stream", "error", "display_data", "execute_result", "update_display_data"):
            self.kept += sum(len(str(value)) for value in content.values())
            if self.kept <= MAX_OUTPUT:
                with contextlib.suppress(Exception):  # a message of no agreed form is dropped
                    self._keep(kind, content, cell)

    def _keep(self, kind: str, content: dict, cell: NotebookNode) -> None:
        output = _plain_output(kind, content)
        name = (content.get("transient") or {}).get("display_id")
        if kind == "update_display_data":
            if name in self.displays:
                self.displays[name].data = output.data
            return
        if self.clear_first:
            cell.outputs.clear()
            self.clear_first = False
        last = cell.outputs[-1] if cell.outputs else {}
        if kind == "stream" and last.get("output_type") == "stream" and last.name == output.name:
            last.text += output.text
            return
        cell.outputs.append(output)
        if isinstance(name, str):
            self.displays[name] = output


def _plain_output(kind: str, content: dict) -> NotebookNode:
    if kind == "stream":
        name = "stderr" if content["name"] == "stderr" else "stdout"
        return new_output("stream", name=name, text=_clean(content["text"]))
    if kind == "error":
        lines = [_clean(line) for line in content["traceback"]]
        return new_output("error", ename=_clean(content["ename"]), evalue=_clean(content["evalue"]), traceback=lines)
    return new_output("display_data", data={_clean(mime): _clean(value) for mime, value in content["data"].items()})


def _clean(value):
    """A JSON value that can be written to a file: half surrogate pairs cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _set_seeds(seeds: tuple[int, ...], apart: bool) -> str:
    settings = {GRADING_SEEDS: ",".join(map(str, seeds)), APART: "yes" if apart else ""}
    return f"__import__('os').environ.update({settings!r})\n"


def _tell(cell: NotebookNode, sentence: str) -> None:
    cell.outputs.append(new_output("error", ename=STOPPED, evalue=sentence, traceback=[f"{STOPPED}: {sentence}"]))


def _limit_memory(process: int, memory_mb: int) -> None:
    # RLIMIT_DATA rather than RLIMIT_AS: torch maps far more addresses than it uses.
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(process, resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
