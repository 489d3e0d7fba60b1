"""The first code cell of every notebook: it installs the course where it is not, and does nothing where it is."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from autograder.workshop.release import SETUP_CELL

CELL = compile(SETUP_CELL.format(repository="https://example.org/course"), "<set-up cell>", "exec")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with Python and pip. `present` is what is installed, `commands` what the cell ran, `code` what pip said."""
    machine = SimpleNamespace(present=set(), commands=[], code=0)

    def run(command, **_options):
        machine.commands.append(command)
        return SimpleNamespace(returncode=machine.code)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in machine.present else None)
    monkeypatch.setattr(subprocess, "run", run)
    for name in ("numpy", "pandas", "pyarrow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return machine


def test_where_the_course_is_it_does_nothing(elsewhere: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    elsewhere.present |= {"autograder", "torchao"}
    exec(CELL, {})
    assert not elsewhere.commands
    assert not capsys.readouterr().out


def test_elsewhere_it_installs_the_course_with_all_its_libraries(elsewhere: SimpleNamespace) -> None:
    exec(CELL, {})
    (command,) = elsewhere.commands
    assert command == [sys.executable, "-m", "pip", "install", "-q", "git+https://example.org/course"]
    elsewhere.present.add("torchao")
    exec(CELL, {})
    assert elsewhere.commands[-1] == [*command, "torchao>=0.16"]


def test_an_installation_that_fails_is_told(elsewhere: SimpleNamespace) -> None:
    elsewhere.code = 1
    with pytest.raises(SystemExit, match="The installation failed"):
        exec(CELL, {})


@pytest.mark.parametrize("now", ["1.0", "2.0"])
def test_a_library_replaced_while_loaded_asks_for_a_restart(
    elsewhere: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    loaded = ModuleType("pyarrow")
    loaded.__version__ = "1.0"
    monkeypatch.setitem(sys.modules, "pyarrow", loaded)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: now)
    if now == "1.0":
        exec(CELL, {})
    else:
        with pytest.raises(SystemExit, match="restart the session"):
            exec(CELL, {})
