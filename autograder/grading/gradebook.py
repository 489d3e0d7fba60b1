"""Where the gradebook's database is away: held by another program, on a server that is started again, or not there at all.

nbgrader opens the gradebook anew for each thing it asks, so what has failed can be asked again. `opened_quickly` lets a
process that grades a class prepare its queries once, and look at the tables once, instead of each time.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator

from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker

OPTIONS = "nbgrader's options may follow, such as --db=URL for another gradebook than that of nbgrader_config.py."
AWAY_SECONDS = 60.0  # for another program to let the gradebook go, or for a server to come back
DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000")
HOW_TO_NAME = (
    "c.CourseDirectory.db_url in nbgrader_config.py says where it is: sqlite:////FOLDER/gradebook.db, or "
    "postgresql+psycopg://USER@HOST/DATABASE with the package psycopg: pip install 'training-language-models[postgresql]'."
)
BUSY = (
    "The gradebook could not be used: another program holds it (a formgrader, another grading, a copy being made), its "
    "server is away, or the disk is full. All that was graded so far is recorded. Give the same command again when it is "
    "free."
)


_stock_init = Gradebook.__init__
_engines: dict[tuple[str, str], Engine] = {}  # of gradebooks that this process has opened before


def opened_quickly() -> None:
    """In this process and its forks. Connections are closed with each gradebook, as ever."""
    Gradebook.__init__ = _init


def _init(gradebook: Gradebook, db_url: str, course_id: str = "default_course", authenticator=None) -> None:
    if (db_url, course_id) not in _engines:
        _stock_init(gradebook, db_url, course_id, authenticator)
        _engines[db_url, course_id] = gradebook.engine
        return
    gradebook.engine = _engines[db_url, course_id]
    gradebook.db = scoped_session(sessionmaker(autoflush=True, bind=gradebook.engine, future=True))
    gradebook.course_id, gradebook.authenticator = course_id, authenticator


class GradebookBusy(NbGraderException):
    """The gradebook was there, and now is not for longer than one waits."""


def patiently(do: Callable, *arguments):
    """Do what uses the gradebook, again and again for a while where it is away. Raises GradebookBusy when that is over."""
    until = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return do(*arguments)
        except OperationalError as error:
            if not _passes(error) or time.monotonic() > until:
                raise GradebookBusy(f"{BUSY} ({_told(error)})") from error
            time.sleep(1)


def _passes(error: OperationalError) -> bool:
    """Whether the same may succeed in a moment. Of SQLite that is a lock alone; a server may be there again."""
    return not isinstance(error.orig, sqlite3.Error) or "locked" in str(error.orig)


@contextlib.contextmanager
def reached(db_url: str) -> Iterator[None]:
    """Raise NbGraderException, a sentence, where in this block the database cannot be reached or refuses what it is asked."""
    try:
        yield
    except SQLAlchemyError as error:
        says = f"The gradebook {_without_password(db_url)}cannot be used: {_told(error)}."
        raise NbGraderException(f"{says} {HOW_TO_NAME}") from error
    except ModuleNotFoundError as error:
        if error.name not in DRIVERS:
            raise
        says = f"The gradebook {_without_password(db_url)}needs the package {error.name}, which is not installed."
        raise NbGraderException(f"{says} {HOW_TO_NAME}") from error


def _told(error: SQLAlchemyError) -> str:
    """What the database said, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")


def _without_password(db_url: str) -> str:
    try:
        return f"at {make_url(db_url).render_as_string(hide_password=True)} "
    except SQLAlchemyError:  # it is no address: there may be a password anywhere in it
        return ""
