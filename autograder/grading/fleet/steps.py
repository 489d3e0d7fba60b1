"""One submission's way from the folder to the gradebook, in three pieces, so that the slow one can be done elsewhere.

    begin      the gradebook learns that there is a submission                      where the gradebook is written
    examine    read, rebuild, run, judge: a judged notebook, as text                in any process that sees the class
    record     grades and penalties into the gradebook, the notebook to its place   where the gradebook is written

`prepare` and `judge` are what of `examine` comes before and behind the run, for where another machine runs the notebook.

The pieces are nbgrader's own converter (`CourseAutograde`), cut where it stores the first grade. What a killed grader
leaves is what a killed `nbgrader autograde` leaves: an unfinished submission, which the next run grades again.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbconvert.writers import FilesWriter
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata, SaveAutoGrades
from traitlets.utils.importstring import import_item

from autograder.exercise import find_exercise
from autograder.grading.cells import grade_id, is_check, release_path, solutions_path
from autograder.grading.converter import CourseAutograde
from autograder.grading.execute import Execute
from autograder.grading.sandbox import PolicyRefused, SandboxRefused
from autograder.grading.verdict import reference
from autograder.judging.reference import checked_exercise

READ_SECONDS, JUDGE_SECONDS = 300, 600  # beyond which the grader hangs in what a student made


@dataclass
class Examined:
    """What came of one submission: judged notebooks as JSON by name, sentences of what was not judged, seconds."""

    student: str
    notebooks: dict[str, str]
    unjudged: list[str] = field(default_factory=list)
    seconds: float = 0.0


class GraderTooSlow(Exception):
    """The grader's own work on a submission takes longer than any should."""


class Steps(CourseAutograde):
    """The converter of one assignment, its pieces to be called one by one."""

    def open(self) -> list[str]:
        """Find the class. Returns the students' names; `refused` has a sentence for each folder that is none."""
        self.unjudged, self.refused = [], []
        self.init_notebooks()
        self.writer = FilesWriter(parent=self, config=self.config)
        self.exporter = self.exporter_class(parent=self, config=self.config)
        os.chdir(self.coursedir.root)
        self.folders = {Path(folder).parent.name: folder for folder in sorted(self.assignments)}
        return list(self.folders)

    def begin_sandbox(self) -> None:
        """Let the kernels' warm process start; `try_sandbox` waits for it, and says what is wrong."""
        with contextlib.suppress(SandboxRefused, PolicyRefused, ValueError):
            if server := Execute(parent=self).server(self.coursedir):
                server.start()

    def compute_reference(self) -> None:
        """What the reference gives on this run's seeds, once for all workers that are forked later."""
        topic, solutions = self.coursedir.assignment_id, solutions_path(self.coursedir)
        for name in self._notebook_names():
            notebook = nbformat.read(release_path(self.coursedir, topic, name), as_version=4)
            plan = Execute(parent=self).plan(notebook, {"assignment": topic, "student": ""})
            for cell in filter(is_check, notebook.cells):
                with contextlib.suppress(Exception):  # the judge will meet it again, and say it of the cell
                    exercise = find_exercise(checked_exercise(cell))
                    reference(exercise.topic, solutions).evidence_size(exercise, plan.seeds[grade_id(cell)])

    def begin(self, student: str) -> list[str]:
        """Make the submission known. Returns the notebooks to examine: none where it was graded before."""
        self.notebooks = sorted(self.assignments[self.folders[student]])
        if not self.init_destination(self.coursedir.assignment_id, student):
            return []
        self.run_pre_convert_hook()
        self.init_assignment(self.coursedir.assignment_id, student)
        return self.notebooks

    def examine(self, student: str, paths: list[str], lost: str = "") -> Examined:
        """Read, rebuild, run and judge. lost: why there is nothing of the student's to look at, where that is known."""
        started, self.unjudged = time.monotonic(), []
        notebooks = {}
        for path in paths:
            with self.lost_to(lost):
                notebooks[Path(path).stem] = self.or_lost(self._examine, path)
        return Examined(student, notebooks, self.unjudged, time.monotonic() - started)

    def prepare(self, student: str, paths: list[str]) -> dict[str, tuple[str, str]]:
        """Of `examine` what comes before the run. Returns for each notebook itself and how to run it (`Plan`), both as JSON;
        '' for a plan where there is nothing to run.
        """
        before, execute, _, _ = self._cut()
        prepared, execute = {}, _class_of(execute)(parent=self.exporter)
        for path in paths:
            resources = self._resources(path)
            notebook = self._through(before, self._read(path, resources), resources)
            plan = execute.plan(notebook, resources["nbgrader"])
            prepared[Path(path).stem] = _text_of(notebook), json.dumps(plan.as_json()) if plan else ""
        return prepared

    def judge(self, student: str, paths: list[str], executed: dict[str, str]) -> Examined:
        """Of `examine` what comes behind the run."""
        self.unjudged = []
        notebooks = {}
        for path in paths:
            notebook = _notebook_of(executed[Path(path).stem])
            notebooks[Path(path).stem] = self._judge(notebook, self._resources(path))
        return Examined(student, notebooks, self.unjudged)

    def record(self, examined: Examined) -> list[NotebookNode]:
        """Write it down. Returns the notebooks."""
        assignment, folder = self.coursedir.assignment_id, self.folders[examined.student]
        *_, last = self._cut()
        recorded = []
        for name, text in examined.notebooks.items():
            resources = self._resources(os.path.join(folder, f"{name}.ipynb"))
            recorded.append(self._through(last, _notebook_of(text), resources))
            self.write_single_notebook(nbformat.writes(recorded[-1]), resources)
        self.set_permissions(assignment, examined.student)
        self.run_post_convert_hook()
        return recorded

    def _examine(self, path: str) -> str:
        before, execute, _, _ = self._cut()
        resources = self._resources(path)
        notebook = self._read(path, resources)
        return self._judge(self._through([*before, execute], notebook, resources), resources)

    def _read(self, path: str, resources: dict) -> NotebookNode:
        with _at_most(READ_SECONDS):
            # What is rebuilt from the release has the release's metadata, which were checked when it was made.
            steps = [step for step in self.sanitize_preprocessors if _class_of(step) is not CheckCellMetadata]
            return self._through(steps, self.exporter.read(Path(path)), resources)

    def _judge(self, notebook: NotebookNode, resources: dict) -> str:
        _, _, behind, _ = self._cut()
        with _at_most(JUDGE_SECONDS):
            return _text_of(self._through(behind, notebook, resources))

    def _cut(self) -> tuple[list, type | str, list, list]:
        """The preprocessors of nbgrader's second half: before the run, the one that runs, behind it, and from the first that
        stores a grade.
        """
        steps = self.autograde_preprocessors
        run, store = (_first(steps, kind) for kind in (Execute, SaveAutoGrades))
        return steps[:run], steps[run], steps[run + 1 : store], steps[store:]

    def _through(self, steps: list, notebook: NotebookNode, resources: dict) -> NotebookNode:
        """nbconvert would copy and validate the notebook at each step; it is our own, and was valid when it was read."""
        self._use(steps)
        for step in self.exporter._preprocessors:
            notebook, resources = step(notebook, resources)
        nbformat.validate(notebook)
        return notebook

    def _use(self, preprocessors: list) -> None:
        self.exporter._preprocessors = []
        for one in preprocessors:
            self.exporter.register_preprocessor(one)

    def _resources(self, path: str) -> dict:
        resources = self.init_single_notebook_resources(path)
        place = {"name": Path(path).stem, "path": str(Path(path).parent)}
        return resources | {"metadata": place, "output_extension": self.exporter.file_extension, "outputs": {}}


def _text_of(notebook: NotebookNode) -> str:
    """For another process. nbformat's own text is for people and for git, with a line for each line: that takes long."""
    return json.dumps(notebook)


def _notebook_of(text: str) -> NotebookNode:
    """What `_text_of` was given, which was valid."""
    return nbformat.from_dict(json.loads(text))


def _class_of(step: str | type) -> type:
    return import_item(step) if isinstance(step, str) else step


def _first(steps: list, kind: type) -> int:
    """Where among preprocessors, classes or their names, the first of a kind stands."""
    return next(i for i, step in enumerate(steps) if issubclass(_class_of(step), kind))


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise GraderTooSlow in this block after so long. Without effect where a process has no alarm (Windows, a thread)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_slow(*_):
        raise GraderTooSlow(f"it took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
