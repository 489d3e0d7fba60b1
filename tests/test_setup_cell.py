"""The first code cell of every notebook: it installs the course where it is not, and does nothing where it is."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from autograder.workshop.setup_cell import Published, setup_cell

ADDRESS = "https://example.org/course"
COLUMNS = 96


def run_cell(where: Published | None = None) -> None:
    exec(compile(setup_cell(where).source, "<set-up cell>", "exec"), {})


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with Python and pip. `present` is what is installed, `commands` what the cell ran, `code` what pip said."""
    machine = SimpleNamespace(present=set(), commands=[], code=0)

    def run(command, **_options):
        machine.commands.append(command)
        return SimpleNamespace(returncode=machine.code)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in machine.present else None)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("COURSE_SOURCE", raising=False)
    for name in ("numpy", "pandas", "pyarrow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return machine


def test_it_is_folded_away() -> None:
    for where in (None, Published("https://github.com/an-owner/a-repository-with-a-long-name", "0" * 40)):
        cell = setup_cell(where)
        assert cell.metadata == {"jupyter": {"source_hidden": True}, "cellView": "form"}
        assert cell.source.startswith("# @title Set-up"), "the title of Colab's form"
        assert max(map(len, cell.source.splitlines())) <= COLUMNS


def test_where_the_course_is_it_does_nothing(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    elsewhere.present |= {"autograder", "torchao"}
    monkeypatch.setenv("COURSE_SOURCE", ADDRESS)
    for where in (None, Published(ADDRESS, "v1")):
        run_cell(where)
    assert not elsewhere.commands
    assert not capsys.readouterr().out


def test_before_the_course_is_published_it_says_what_to_do_and_fetches_nothing(elsewhere: SimpleNamespace) -> None:
    with pytest.raises(SystemExit, match="COURSE_SOURCE") as said:
        run_cell()
    assert "make lab" in str(said.value)
    assert not elsewhere.commands


def test_elsewhere_it_installs_the_course_as_it_was_published_with_all_its_libraries(elsewhere: SimpleNamespace) -> None:
    where = Published(ADDRESS, "v1")
    run_cell(where)
    (command,) = elsewhere.commands
    assert command == [sys.executable, "-m", "pip", "install", "-q", "git+https://example.org/course@v1"]
    elsewhere.present.add("torchao")
    run_cell(where)
    assert elsewhere.commands[-1] == [*command, "torchao>=0.16"]


@pytest.mark.parametrize("where", [None, Published(ADDRESS, "v1")])
@pytest.mark.parametrize(
    "said, installed",
    [
        ("https://example.com/fork", "git+https://example.com/fork"),
        ("git+https://example.com/fork@main", "git+https://example.com/fork@main"),
        ("https://example.com/course-1-py3-none-any.whl", "https://example.com/course-1-py3-none-any.whl"),
        (" here ", "{folder}/here"),
        ("./course.whl", "{folder}/course.whl"),
        ("{folder}/here", "{folder}/here"),
    ],
)
def test_course_source_says_where_it_is(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where, said: str, installed: str
) -> None:
    """Also where an address is published. A folder is given to pip as a path, never as the name of a package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "course.whl").touch()
    monkeypatch.setenv("COURSE_SOURCE", said.format(folder=tmp_path))
    run_cell(where)
    assert elsewhere.commands[0][-1] == installed.format(folder=tmp_path)


@pytest.mark.parametrize("said", ["course", "not/there", "http://example.com/course", "--index-url=https://example.com"])
def test_what_is_neither_an_address_nor_there_never_reaches_pip(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    """pip would take `course` for a package of anybody's on the index."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_SOURCE", said)
    with pytest.raises(SystemExit, match="no such file or folder"):
        run_cell()
    assert not elsewhere.commands


def test_an_installation_that_fails_is_told(elsewhere: SimpleNamespace) -> None:
    elsewhere.code = 1
    with pytest.raises(SystemExit, match="The installation failed"):
        run_cell(Published(ADDRESS, "v1"))


@pytest.mark.parametrize("now", ["1.0", "2.0"])
def test_a_library_replaced_while_loaded_asks_for_a_restart(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    loaded = ModuleType("pyarrow")
    loaded.__version__ = "1.0"
    monkeypatch.setitem(sys.modules, "pyarrow", loaded)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: now)
    if now == "1.0":
        run_cell(Published(ADDRESS, "v1"))
    else:
        with pytest.raises(SystemExit, match="restart the session"):
            run_cell(Published(ADDRESS, "v1"))
