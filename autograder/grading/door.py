"""Which folders of `classroom/submitted` are submissions, and under which names they can be graded.

nbgrader finds its files by patterns and tells students apart by the names of their folders. Here a path that is there
as it stands is meant as it stands, brackets and all, and a name that nbgrader cannot carry to a grade is refused with
the reason, for whoever grades to rename.
"""

import fnmatch
import glob
import os
import re
from pathlib import Path
from types import SimpleNamespace

from nbgrader import utils
from nbgrader.apps import api as nbgrader_api
from nbgrader.converters import base
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default import release_feedback

MARKUP = '<>&"'  # nbgrader's pages put a name into their markup
PATTERNS = "*?\\"
MAX_NAME = 128  # characters that the gradebook has for it: SQLite takes more, PostgreSQL ends the class


def find(pattern: str) -> list[str]:
    """glob.glob, where folders whose own names hold brackets are no patterns: a checkout in `courses [2026]`."""
    parts = os.fspath(pattern).split(os.sep)
    there = 0
    while there < len(parts) and os.path.lexists(os.sep.join(parts[: there + 1]) or os.sep):
        there += 1
    return glob.glob(os.sep.join([*map(glob.escape, parts[:there]), *parts[there:]]))


def install() -> None:
    """Make nbgrader find files with `find`, and take the folders of a course for what they are in its regular
    expressions too.
    """
    for module in (base, nbgrader_api, release_feedback, utils):
        module.glob = SimpleNamespace(glob=find)
    CourseDirectory.format_path = _format_path


_stock_format_path = CourseDirectory.format_path


def _format_path(coursedir, nbgrader_step: str, student_id: str, assignment_id: str, escape: bool = False) -> str:
    step = re.escape(nbgrader_step) if escape else nbgrader_step  # stock escapes the root, but no absolute step
    return _stock_format_path(coursedir, step, student_id, assignment_id, escape)


def submissions(submitted: Path, assignment: str, students: str = "*") -> tuple[list[str], list[str]]:
    """The names of those who handed in an assignment, and a sentence for each folder that is refused.

    students: a name, or a pattern of names.
    """
    names, refused = [], []
    for folder in sorted(submitted.iterdir()) if submitted.is_dir() else []:
        name = folder.name
        wanted = name == students or fnmatch.fnmatchcase(name, students)
        if not wanted or not folder.is_dir():
            continue
        reason = why_refused(name)
        if not os.access(folder, os.R_OK | os.X_OK):
            refused.append(f"The folder {name!a} in {submitted} was not graded: this user may not read it.")
        elif not os.path.lexists(folder / assignment):
            continue
        elif reason:
            refused.append(
                f"The folder {name!a} in {submitted} was not graded: its name {reason}. Rename it and grade again."
            )
        else:
            names.append(name)
    return names, refused


def why_refused(name: str) -> str:
    """What keeps a student's name from being carried to a grade and a page; '' where nothing does."""
    if name.startswith("."):
        return "begins with a dot, which makes it a hidden one"
    if not name.isprintable():
        return "holds a line break or another character that cannot be printed"
    if name != name.strip():
        return "begins or ends with a space"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, more than the {MAX_NAME} that the gradebook holds"
    marks = [mark for mark in MARKUP + PATTERNS if mark in name]
    return f"holds {' '.join(marks)}" if marks else ""
