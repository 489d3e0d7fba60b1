"""`nbgrader autograde` for submissions in any state: nobody's damage costs anybody else a grade.

Stock Autograde looks for notebooks of the right name, reads them as they are, copies a student's other files beside
them, and stops where a timestamp cannot be parsed. `install`, called by `nbgrader_config.py`, puts `CourseAutograde` in
its place for the command line and the formgrader alike. The commands stay nbgrader's own.
"""

import contextlib
import fnmatch
import os
import secrets
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import nbformat
from nbconvert.exporters import Exporter, NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import api as nbgrader_api
from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde, NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.nbgraderformat import SchemaTooNewError, SchemaTooOldError
from nbgrader.utils import parse_utc
from sqlalchemy.exc import OperationalError
from traitlets import Type

from autograder.grading import door
from autograder.grading.cells import course_notes, release_path
from autograder.grading.execute import HOW_WITHOUT, WITHOUT, Execute, draw_afresh
from autograder.grading.gradebook import reached
from autograder.grading.intake import read_submission
from autograder.grading.pictures import attach_pictures
from autograder.grading.rebuild import answers_among
from autograder.grading.sandbox import PolicyRefused, SandboxRefused
from autograder.grading.verdict import is_judged, reference

TIMESTAMP, SECRET = "timestamp.txt", "submission_secret.txt"
MAX_SECRET = 1000  # characters; nbgrader's has 128
_OF_THE_WHOLE_CLASS = (OperationalError, SchemaTooOldError, SchemaTooNewError)  # no submission's fault: stop


def install() -> None:
    """Make nbgrader's apps use what is defined here."""
    door.install()
    autogradeapp.Autograde = nbgrader_api.Autograde = CourseAutograde
    CourseDirectory.get_existing_timestamp = lambda coursedir, folder: read_timestamp(Path(folder), coursedir.log)
    nbgrader_api.NbGraderAPI.get_submitted_timestamp = _submitted_timestamp


class SubmissionExporter(NotebookExporter):
    """Reads a submission with `intake`, and everything else as usual."""

    def from_filename(self, filename: str, resources=None, **kw):
        """The notebook through the preprocessors. Called twice: for the submitted file, then for the rebuilt one."""
        if not self.parent._sanitizing:
            return super().from_filename(filename, resources, **kw)
        path = Path(filename)
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        return self.from_notebook_node(self.read(path), resources, **kw)

    def read(self, path: Path) -> NotebookNode:
        """What was handed in at that place, as it is read."""
        if self.parent.lost:
            return new_notebook(metadata={"course": {"unreadable": self.parent.lost, "repairs": []}})
        notebook = read_submission(path.parent, path.stem, lambda cells: answers_among(self._release(path.stem), cells))
        course_notes(notebook).repairs += attach_pictures(notebook, path.parent)
        return notebook

    def _release(self, name: str) -> NotebookNode:
        coursedir = self.parent.coursedir
        return nbformat.read(release_path(coursedir, coursedir.assignment_id, name), as_version=4)


class CourseAutograde(Autograde):
    """Every folder of a student is a submission, and of a submission nothing but the notebook is taken."""

    exporter_class = Type(SubmissionExporter, klass=Exporter).tag(config=True)
    lost = ""  # why the submission in hand is lost, a sentence for its page; '' where it is not

    def start(self) -> None:
        """Grade; fail at the end when something could not be judged, so that a script notices.

        A command begins with seeds of its own and with the solutions as they are now: a formgrader runs for weeks.
        """
        draw_afresh()
        reference.cache_clear()
        self.unjudged: list[str] = []
        self.refused: list[str] = []
        self.try_sandbox()
        try:
            self._start_where_there_is_a_gradebook()
        finally:
            for sentence in self.refused + self.unjudged:
                self.log.error(sentence)
        if self.unjudged:
            self.log.error("Nothing was recorded for these cells: they wait for a manual grade, or for a re-judge.")
            raise NbGraderException("some check cells could not be judged")
        if self.refused:
            raise NbGraderException("some folders were not graded: see their names above")

    def _start_where_there_is_a_gradebook(self) -> None:
        try:
            with reached(self.coursedir.db_url):
                super().start()
        except NbGraderException as error:
            if error.__cause__ is not None:  # nbgrader has said its own
                self.log.error(error)
            raise

    def try_sandbox(self) -> None:
        """Say before the first submission what could be said of each: there is no sandbox, or none was asked for."""
        try:
            server = Execute(parent=self).server(self.coursedir)
            if server is None:
                for line in WITHOUT.splitlines():
                    self.log.warning(line)
            else:
                server.try_out()
        except (SandboxRefused, PolicyRefused, ValueError) as error:
            self.log.error("Nothing was graded: there is no sandbox. %s", error)
            self.log.error(HOW_WITHOUT)
            raise NbGraderException(str(error)) from error

    def init_notebooks(self) -> None:
        """Take the assignment's notebooks as submitted, whether the files are there or not."""
        names, assignment = self._notebook_names(), self.coursedir.assignment_id
        submitted = Path(self.coursedir.root) / self.coursedir.submitted_directory
        students, self.refused = door.submissions(submitted, assignment, self.coursedir.student_id)
        if not names or not students:
            super().init_notebooks()  # which says what is missing, in nbgrader's words
            return
        self.notebooks = []
        folders = [self._format_source(assignment, student) for student in students]
        self.assignments = {folder: [os.path.join(folder, f"{name}.ipynb") for name in names] for folder in folders}

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        """Stock, but what a killed grader left behind is no grade: it is graded again."""
        if super().init_destination(assignment_id, student_id):
            return True
        destination = Path(self._format_dest(assignment_id, student_id))
        excluded = student_id in self.coursedir.student_id_exclude.split(",")
        if excluded or all(_is_finished(destination / Path(notebook).name) for notebook in self.notebooks):
            return False
        self.log.warning("%s was not finished: it is graded again.", destination)
        with _set(self, "force", True):
            return super().init_destination(assignment_id, student_id)

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Stock, but copy no file of the student's or the instructor's beside the notebook that will run.

        Two files travel on to the feedback, for nbgrader: it tells by the time that a submission is newer, and
        names by the secret what it releases. Where one is missing, as in a class that did not use the exchange, an
        empty time and a secret of nobody's stand in: `release_feedback` ends for the whole class without them.
        """
        with _set(self.coursedir, "ignore", ["*"]):
            super().init_assignment(assignment_id, student_id)
        source, destination = (Path(f(assignment_id, student_id)) for f in (self._format_source, self._format_dest))
        destination.mkdir(parents=True, exist_ok=True)
        timed = read_timestamp(source, self.log) is not None
        _write(destination / TIMESTAMP, _read_small(source / TIMESTAMP) if timed else "")
        _write(destination / SECRET, _read_small(source / SECRET) or secrets.token_hex(64))

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Stock, but a submission on which the grader fails gets a page that says so, and waits for a person."""
        self.or_lost(super().convert_single_notebook, notebook_filename)

    def or_lost(self, convert: Callable, notebook_filename: str):
        """`convert` it; where the grader fails, again as a submission that is lost, of which nothing is read."""
        try:
            return convert(notebook_filename)
        except _OF_THE_WHOLE_CLASS:
            raise
        except Exception as error:
            self.log.error("%s\n%s", notebook_filename, traceback.format_exc())
            reason = f"The grader failed on it ({type(error).__name__}); that is no fault of the student's."
            with self.lost_to(f"{reason} An instructor will look at it."):
                return convert(notebook_filename)

    def lost_to(self, why: str) -> AbstractContextManager:
        """Within it the submission in hand is lost, for a reason; not, where that is ''."""
        return _set(self, "lost", why)

    def _notebook_names(self) -> list[str]:
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                notebooks = gradebook.find_assignment(self.coursedir.assignment_id).notebooks
            except MissingEntry:
                return []
            return [n.name for n in notebooks if fnmatch.fnmatch(n.name, self.coursedir.notebook_id)]


def read_timestamp(folder: Path, log=None) -> datetime | None:
    """The time of submission in a folder, in UTC; None where there is none or none that can be read."""
    try:
        return parse_utc(_read_small(folder / TIMESTAMP).strip() or None)
    except (ValueError, OverflowError, TypeError) as error:
        if log is not None:
            log.warning("%s cannot be read (%s): the submission counts as on time.", folder / TIMESTAMP, error)
        return None


def _read_small(path: Path) -> str:
    """The text of a regular file of at most MAX_SECRET characters; '' where it is none."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_SECRET:
            return ""
        return path.read_text(encoding="utf-8-sig")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    """Write a file that nbgrader may have left read-only."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def _is_finished(path: Path) -> bool:
    """Whether an autograded notebook is one, judged to its end."""
    try:
        return is_judged(nbformat.read(path, as_version=4))
    except Exception:  # cut off in the middle, or not there
        return False


def _submitted_timestamp(api, assignment_id: str, student_id: str) -> datetime | None:
    coursedir = api.coursedir
    return read_timestamp(Path(coursedir.format_path(coursedir.submitted_directory, student_id, assignment_id)))


@contextlib.contextmanager
def _set(thing, name: str, value):
    """An attribute with another value for as long as the block takes."""
    kept = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, kept)
