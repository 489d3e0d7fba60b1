"""A gradebook on PostgreSQL: the grades that SQLite gives, on a server that these tests start, and end whatever happens."""

import contextlib
import ctypes
import os
import pwd
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from conftest import why_no_sandbox
from grading_chapter import RIGHT, TOPIC, Course, answered, cell_of
from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException
from test_grading_fleet import CLASS, exported, grade, graded

from autograder.grading.gradebook import reached
from autograder.workshop import prepare


def tool(name: str) -> str:
    """Where a program of PostgreSQL is; Debian keeps its server's off the PATH. '' where there is none."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(beside[-1]) if beside else "")


def server_user() -> str:
    """Whose the server is, where these tests run as root: it refuses to be root's. '' where they do not."""
    if os.geteuid():
        return ""
    names = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def why_no_server() -> str:
    """'' where there can be one."""
    if not (tool("initdb") and tool("postgres")):
        return (
            "no initdb and postgres on the PATH or below /usr/lib/postgresql. Install them: apt install postgresql (Debian, "
            "Ubuntu), dnf install postgresql-server (Fedora), brew install postgresql (macOS)."
        )
    if os.geteuid() not in {0, *(user.pw_uid for user in pwd.getpwall())}:
        return "initdb wants a user who has a name, and this one has none in /etc/passwd."
    return ""


NOT_TESTED = f"A GRADEBOOK ON POSTGRESQL IS NOT TESTED: {why_no_server()}"
needs_server = pytest.mark.skipif(bool(why_no_server()), reason=NOT_TESTED)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Server:
    """A server of its own below `folder`, reached through a socket there and by no network."""

    folder: Path
    port: int = field(default_factory=lambda: random.randint(20000, 60000))
    process: subprocess.Popen | None = None

    def make(self) -> None:
        """The files of a server that holds nothing. Whoever reaches its socket is let in: the sandbox alone is tried."""
        if user := server_user():
            shutil.chown(self.folder, user, pwd.getpwnam(user).pw_gid)
        self.folder.chmod(0o755)
        options = ["-U", "course", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        run = self._program("initdb", *options, "-D", str(self.folder / "data"))
        said, _ = run.communicate(timeout=100)
        assert run.returncode == 0, said

    def start(self) -> None:
        options = ["listen_addresses=", "fsync=off", f"unix_socket_directories={self.folder}"]
        settings = [word for option in options for word in ("-c", option)]
        self.process = self._program("postgres", "-D", str(self.folder / "data"), "-p", str(self.port), *settings)
        until = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(self.address("postgres")).close()
            except psycopg.OperationalError as error:
                assert self.process.poll() is None and time.monotonic() < until, error
                time.sleep(0.05)

    def stop(self) -> None:
        """At once: those who are connected are sent away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
            self.process = None

    def do(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            connection.execute(statement)

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def address(self, database: str) -> str:
        return f"postgresql://course@/{database}?host={self.folder}&port={self.port}"

    def url(self, database: str) -> str:
        """As nbgrader takes it."""
        return self.address(database).replace("postgresql:", "postgresql+psycopg:")

    def _program(self, name: str, *arguments: str) -> subprocess.Popen:
        user = server_user()
        other = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        return subprocess.Popen(
            [tool(name), *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_end_with_the_tests,
            **other,
        )


def _end_with_the_tests() -> None:
    """In the new process: end with the thread that starts it, which therefore is the one that the tests run in."""
    with contextlib.suppress(AttributeError):  # Linux alone can
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short name, and not pytest's: those are closed to others
    server = Server(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


# Written into an answer: what can be done with the server's socket. Run by these tests themselves, it reaches it.
TRY = """
import socket
try:
    socket.socket(socket.AF_UNIX).connect({path!r})
    found = "reached"
except OSError as error:
    found = "refused"
print("the server:", found)
"""


@pytest.fixture(scope="module")
def courses(server, tmp_path_factory) -> tuple[Course, Course]:
    """One class, graded with SQLite and with the server, which is started again in the middle."""
    sqlite = Course.make(tmp_path_factory.mktemp("sqlite") / "course")
    for student, answers in CLASS.items():
        sqlite.hand_in(student, answered(sqlite.release, **answers))
    trying = TRY.format(path=str(server.socket)) + RIGHT["double"]
    sqlite.hand_in("spy", answered(sqlite.release, **RIGHT | {"double": trying}))
    sqlite.hand_in("fool", b"this is no notebook")
    course = sqlite.copy(tmp_path_factory.mktemp("postgresql") / "course")
    (course.root / "classroom" / "gradebook.db").unlink()
    server.do("create database course")
    course.nbgrader("generate_assignment", TOPIC, "--force", option(server))
    grade(sqlite, "--workers=3")
    with ThreadPoolExecutor(1) as beside:
        grading = beside.submit(grade, course, "--workers=3", option(server))
        while not (list((course.root / "classroom" / "autograded").glob(f"*/{TOPIC}/{TOPIC}.ipynb")) or grading.done()):
            time.sleep(0.02)
        server.stop()
        time.sleep(1)
        server.start()
        said = grading.result()
    assert "7 of 7 submissions" in said and "3 workers" in said
    return sqlite, course


def option(server: Server) -> str:
    return f"--CourseDirectory.db_url={server.url('course')}"


@needs_server
def test_a_class_has_the_same_grades_though_the_server_is_started_again_in_the_middle(courses, server):
    sqlite, course = courses
    assert graded(course, server.url("course")) == graded(sqlite)
    assert len(graded(sqlite)) == 3 * 7
    assert not (course.root / "classroom" / "gradebook.db").exists(), "no other gradebook was made"


@needs_server
def test_all_other_commands_work_with_it(courses, server):
    sqlite, course = courses
    here, classroom = option(server), course.root / "classroom"
    course.nbgrader("autograde", TOPIC, "--force", "--student=bert", here)
    said = course.python("-m", "autograder.cli", "rejudge", TOPIC, here)
    assert len(re.findall(r"-> ", said)) == 7 and "changed" not in said
    assert "anna" in grade(course, "--rejudge", "--student=anna", here)
    assert graded(course, server.url("course")) == graded(sqlite)
    assert exported(course, here) == exported(sqlite)
    course.nbgrader("generate_feedback", TOPIC, "--student=bert", here)
    assert "The sign is wrong." in course.feedback("bert")
    course.python("-m", "autograder.cli", "report", TOPIC, here)
    assert "The sign is wrong." in (classroom / "report" / f"{TOPIC}.html").read_text(encoding="utf-8")
    with Gradebook(server.url("course")) as gradebook:  # what a formgrader shows, which groups and sums
        assert {one["student"] for one in gradebook.submission_dicts(TOPIC)} == {*CLASS, "spy", "fool"}
        assert {one["id"] for one in gradebook.student_dicts()} == {*CLASS, "spy", "fool"}
        assert len(gradebook.notebook_submission_dicts(TOPIC, TOPIC)) == 7
    assert not (classroom / "gradebook.db").exists()


@needs_server
@pytest.mark.skipif(bool(why_no_sandbox()), reason=f"THE SANDBOX IS NOT TESTED: {why_no_sandbox()}")
def test_a_submission_cannot_reach_the_server(courses, server, capsys):
    _, course = courses
    exec(TRY.format(path=str(server.socket)), {})
    assert capsys.readouterr().out == "the server: reached\n"
    (output,) = cell_of(course.autograded("spy"), "double").outputs
    assert output.text == "the server: refused\n"


@needs_server
def test_a_server_that_is_not_there_is_a_sentence(courses):
    _, course = courses
    away = f"--db=postgresql+psycopg://course:secret@/course?host={course.root}"
    commands = {
        "grade": ["-m", "autograder.cli", "grade", TOPIC, away],
        "rejudge": ["-m", "autograder.cli", "rejudge", TOPIC, away],
        "report": ["-m", "autograder.cli", "report", TOPIC, away],
        "nbgrader": ["-m", "nbgrader", "autograde", TOPIC, away],
    }
    for name, command in commands.items():
        said = course.python(*command, rc=1)
        assert "cannot be used: " in said and "No such file or directory" in said, (name, said)
        assert "c.CourseDirectory.db_url" in said and "Traceback" not in said and "secret" not in said, (name, said)


@needs_server
def test_a_user_who_may_not_read_it_is_told_so(courses, server):
    server.do("create role nobodys login", "course")
    url = server.url("course").replace("course@", "nobodys@")
    with pytest.raises(NbGraderException, match=r"nobodys@.* cannot be used: permission denied"), reached(url):
        Gradebook(url)


@pytest.mark.parametrize(
    ("url", "says"),
    {
        "postgres://course:secret@host/db": r"postgres://course:\*\*\*@host/db cannot be used: Can't load plugin",
        "postgresql+psycopg2://course:secret@host/db": "needs the package psycopg2, which is not installed",
        "course:secret, at home": "The gradebook cannot be used: Could not parse",
        "sqlite:////no/folder/gradebook.db": "cannot be used: unable to open database file",
    }.items(),
)
def test_an_address_that_leads_nowhere_is_a_sentence_without_the_password(url, says):
    with pytest.raises(NbGraderException, match=says) as told, reached(url):
        Gradebook(url)
    assert "secret" not in str(told.value) and "postgresql+psycopg://" in str(told.value)


def test_a_chapter_is_not_made_ready_where_there_is_no_gradebook(tmp_path, monkeypatch, capsys):
    (tmp_path / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.db_url = 'postgresql+psycopg://course@/course?host={tmp_path}'\n"
    )
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    assert prepare.main(["00_start_here"]) == 1
    said = capsys.readouterr().err
    assert "cannot be used: " in said and "No such file or directory" in said and "Traceback" not in said


def test_what_is_missing_besides_a_driver_is_no_matter_of_the_gradebook():
    with pytest.raises(ModuleNotFoundError), reached("sqlite://"):
        import no_such_module  # noqa: F401
