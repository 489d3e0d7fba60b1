"""`nbgrader autograde` for submissions in any state: nobody's damage costs anybody else a grade.

Stock Autograde looks for notebooks of the right name, reads them as they are, copies a student's other files beside
them, and stops where a timestamp cannot be parsed. `install`, called by `nbgrader_config.py`, puts `CourseAutograde` in
its place for the command line and the formgrader alike. The commands stay nbgrader's own.
"""

import contextlib
import fnmatch
import glob
import os
import shutil
from datetime import datetime
from pathlib import Path

from nbconvert.exporters import Exporter, NotebookExporter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import api as nbgrader_api
from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde, NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc
from traitlets import Type

from autograder.grading.intake import read_submission

TIMESTAMP = "timestamp.txt"


def install() -> None:
    """Make nbgrader's apps use what is defined here."""
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
        return self.from_notebook_node(read_submission(path.parent, path.stem), resources, **kw)


class CourseAutograde(Autograde):
    """Every folder of a student is a submission, and of a submission nothing but the notebook is taken."""

    exporter_class = Type(SubmissionExporter, klass=Exporter).tag(config=True)

    def start(self) -> None:
        """Grade; fail at the end when something could not be judged, so that a script notices."""
        self.unjudged: list[str] = []
        super().start()
        if self.unjudged:
            for sentence in self.unjudged:
                self.log.error(sentence)
            self.log.error("Nothing was recorded for these cells: they wait for a manual grade, or for a re-judge.")
            raise NbGraderException("some check cells could not be judged")

    def init_notebooks(self) -> None:
        """Take the assignment's notebooks as submitted, whether the files are there or not."""
        names = self._notebook_names()
        pattern = self._format_source(self.coursedir.assignment_id, self.coursedir.student_id)
        folders = [folder for folder in glob.glob(pattern) if os.path.isdir(folder)]
        if not names or not folders:
            super().init_notebooks()  # which says what is missing, in nbgrader's words
            return
        self.notebooks = []
        self.assignments = {folder: [os.path.join(folder, f"{name}.ipynb") for name in names] for folder in folders}

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Stock, but copy no file of the student's or the instructor's beside the notebook that will run."""
        with _ignoring_everything(self.coursedir):
            super().init_assignment(assignment_id, student_id)
        source = Path(self._format_source(assignment_id, student_id))
        if read_timestamp(source, self.log) is not None:  # nbgrader tells by it that a submission is newer
            destination = Path(self._format_dest(assignment_id, student_id))
            destination.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / TIMESTAMP, destination / TIMESTAMP)

    def _notebook_names(self) -> list[str]:
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                notebooks = gradebook.find_assignment(self.coursedir.assignment_id).notebooks
            except MissingEntry:
                return []
            return [n.name for n in notebooks if fnmatch.fnmatch(n.name, self.coursedir.notebook_id)]


def read_timestamp(folder: Path, log=None) -> datetime | None:
    """The time of submission in a folder, in UTC; None where there is none or none that can be read."""
    path = folder / TIMESTAMP
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return parse_utc(path.read_text(encoding="utf-8-sig").strip() or None)
    except (ValueError, OverflowError, TypeError) as error:
        if log is not None:
            log.warning("%s cannot be read (%s): the submission counts as on time.", path, error)
        return None


def _submitted_timestamp(api, assignment_id: str, student_id: str) -> datetime | None:
    coursedir = api.coursedir
    return read_timestamp(Path(coursedir.format_path(coursedir.submitted_directory, student_id, assignment_id)))


@contextlib.contextmanager
def _ignoring_everything(coursedir: CourseDirectory):
    kept, coursedir.ignore = coursedir.ignore, ["*"]
    try:
        yield
    finally:
        coursedir.ignore = kept
