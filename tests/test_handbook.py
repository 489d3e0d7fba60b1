"""The handbook's pages: what they tell a reader to type is there."""

import contextlib
import io
import re
import shlex
import sqlite3
import subprocess
import sys

import pytest
from conftest import ROOT

from autograder import cli
from autograder.grading.fleet import classrun, local
from autograder.grading.gradebook import AWAY_SECONDS
from autograder.grading.states import STATES

PAGES = sorted((ROOT / "autograder" / "handbook").glob("*.md"))
LARGE = ROOT / "autograder" / "handbook" / "large_classes.md"
CHAPTER = re.compile(r"\d\d_\w+")
NOT_OURS = {"python", "pg_dump", "createuser", "createdb", "du", "docker"}  # programs whose options are not looked up


def pieces(text: str) -> list[str]:
    """What a page shows as code: each line of its blocks without the comment, and each span in its prose."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    prose = re.sub(r"^```\n.*?^```$", "", text, flags=re.M | re.S)
    lines = [re.sub(r"\s{2,}#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [piece for piece in [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))] if piece]


def why_wrong(piece: str) -> str:
    """What in a piece is not there; '' where it is, or is no command."""
    if setting := re.match(r"c\.(\w+)\.(\w+)\b", piece):
        return "" if has_trait(*setting.groups()) else f"no setting {setting[0]}"
    if variable := re.match(r"export DASK_(\w+)=", piece):
        return "" if is_dask_setting(variable[1]) else f"no setting of dask {variable[0]}"
    words = shlex.split(piece)
    match words:
        case ["autograder", command, *rest] if command in commands():
            return unknown(rest, commands()[command])
        case ["nbgrader", command, *rest] if command in nbgraders():
            return unknown(rest, set())
        case ["dask", ("scheduler" | "worker") as command, *rest]:
            return unknown(rest, dask_options(command))
        case ["make", target, *_] if target in targets():
            return unknown(CHAPTER.findall(piece), set())
        case [flag] if flag.startswith("--"):
            everywhere = set.union(*commands().values(), dask_options("scheduler"), dask_options("worker"), {"--db"})
            return unknown(words, everywhere)
        case [program, *_] if len(words) == 1 or program in NOT_OURS:
            return ""
    return f"no command {piece}"


def unknown(words: list[str], flags: set[str]) -> str:
    for word in words:
        name = word.partition("=")[0]
        if trait := re.fullmatch(r"--(\w+)\.(\w+)", name):
            if not has_trait(*trait.groups()):
                return f"no option {name}"
        elif name.startswith("-") and name not in flags:
            return f"no option {name}"
        elif CHAPTER.fullmatch(word) and not (ROOT / "course" / word).is_dir():
            return f"no chapter {word}"
    return ""


def commands() -> dict[str, set[str]]:
    """Subcommand of `autograder` -> its options, as its help has them."""
    names = re.search(r"\{([\w,]+)\}", said_by(["--help"]))[1].split(",")
    return {name: set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said_by([name, "--help"]))) for name in names}


def said_by(arguments: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        cli.main(arguments)
    return out.getvalue()


def nbgraders() -> set[str]:
    from nbgrader.apps.nbgraderapp import NbGraderApp

    return set(NbGraderApp.subcommands)


def dask_options(command: str) -> set[str]:
    from distributed.cli import dask_scheduler, dask_worker

    main = {"scheduler": dask_scheduler, "worker": dask_worker}[command].main
    return {name for option in main.params for name in (*option.opts, *option.secondary_opts)}


def is_dask_setting(name: str) -> bool:
    import dask
    import distributed  # noqa: F401 - brings its settings

    key = ".".join(name.lower().split("__"))
    return dask.config.get(key, "missing") != "missing"


def has_trait(owner: str, name: str) -> bool:
    from nbgrader.coursedir import CourseDirectory

    from autograder.grading.execute import Execute

    owners = {"CourseDirectory": CourseDirectory, "Execute": Execute}
    return owner in owners and owners[owner].class_traits().get(name) is not None


def targets() -> set[str]:
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[1].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_tells_to_type_is_there(page):
    found = pieces(page.read_text(encoding="utf-8"))
    wrong = list(filter(None, map(why_wrong, found)))
    assert not wrong, wrong
    assert len([piece for piece in found if piece.startswith("autograder ")]) > 5, "the page is read"


@pytest.mark.parametrize(
    "wrong",
    [
        "autograder grade 01_pretraining --no-such-option",
        "autograder grades 01_pretraining",
        "autograder grade 77_nothing",
        "autograder grade 01_pretraining --Execute.no_such=1",
        "nbgrader autograding 01_pretraining",
        "dask worker tcp://10.0.0.1:8786 --kernels 2",
        "make grading",
        "c.Execute.no_such = 1",
        "export DASK_DISTRIBUTED__NO_SUCH=1",
        "--no-such-option",
        "rm everything",
    ],
)
def test_what_is_not_there_is_found(wrong):
    assert why_wrong(wrong)


def test_the_page_on_large_classes_says_what_the_code_does():
    text = " ".join(LARGE.read_text(encoding="utf-8").split())
    assert f"{local._EACH_GB} GB" in text and AWAY_SECONDS == 60 and "a minute long" in text
    assert classrun.TRIES == 3 and "with which three workers died" in text
    assert all(f"| {state} |" in text for state in STATES)


def test_its_backup_of_a_gradebook_is_one(tmp_path):
    (copying,) = [piece for piece in pieces(LARGE.read_text(encoding="utf-8")) if piece.startswith("python -c")]
    (tmp_path / "classroom").mkdir()
    with sqlite3.connect(tmp_path / "classroom" / "gradebook.db") as gradebook:
        gradebook.execute("create table grade as select 4 as score")
    subprocess.run([sys.executable, *shlex.split(copying)[1:]], cwd=tmp_path, check=True, timeout=100)
    assert sqlite3.connect(tmp_path / "gradebook-copy.db").execute("select score from grade").fetchall() == [(4,)]


def test_it_can_be_found():
    place = LARGE.relative_to(ROOT).as_posix()
    assert f"]({place})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert place in said_by(["grade", "--help"])
    assert all((LARGE.parent / path).exists() for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", LARGE.read_text()))
