"""Where the course can be had stands in one place, which `make publish` writes; until then no address stands anywhere."""

import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from autograder.judging.reference import ROOT
from autograder.workshop import publish
from autograder.workshop.publish import Refused, check_tag_is_free, checked_address, checked_revision, write
from autograder.workshop.release import chapters, source_notebook
from autograder.workshop.setup_cell import FILE, Published, published, setup_cell

HERE = "https://github.com/nobody/nothing"


@pytest.mark.parametrize(
    "said, address",
    [
        (HERE, HERE),
        (f"{HERE}/", HERE),
        (f"{HERE}.git", HERE),
        ("https://git.example.org:8443/group/sub/course", "https://git.example.org:8443/group/sub/course"),
    ],
)
def test_an_address_is_taken(said: str, address: str) -> None:
    assert checked_address(said) == address


@pytest.mark.parametrize(
    "said, why",
    [
        ("", "Say where"),
        ("http://github.com/nobody/nothing", "must begin with https://"),
        ("git@github.com:nobody/nothing", "must begin with https://"),
        ("git+https://github.com/nobody/nothing", "must begin with https://"),
        ("https://me:secret@github.com/nobody/nothing", "password"),
        (f"{HERE}@v1", "TAG="),
        ("https://github.com/nobody", "OWNER/REPOSITORY"),
        ("https://github.com/nobody/nothing/tree/main", "OWNER/REPOSITORY"),
        ("https://localhost/nothing", "name of a host"),
        (f"{HERE}?a=b", "letters, digits"),
        (f"{HERE}#egg=x", "letters, digits"),
        ('https://example.org/a"+"b', "letters, digits"),
        ("https://example.org/a/../b", "letters, digits"),
        ("https://example.org/", "letters, digits"),
    ],
)
def test_an_address_that_is_none_is_refused(said: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        checked_address(said)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit, on the branch `work`."""
    git(tmp_path, "init", "-q", "-b", "work")
    for name in ("autograder", "course", "data", "solutions"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("1\n")
    (tmp_path / "course" / "a.ipynb").write_text("{}\n")
    (tmp_path / "pyproject.toml").touch()
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *command: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
    run = subprocess.run(["git", *who, *command], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a state")
    return git(folder, "rev-parse", "HEAD")


def test_a_tag_or_a_whole_commit_is_taken(repository: Path) -> None:
    assert checked_revision("v1", repository) == "v1"
    head = git(repository, "rev-parse", "HEAD")
    (repository / "course" / "a.ipynb").write_text("generated anew\n")
    assert checked_revision(head, repository) == head


@pytest.mark.parametrize(
    "said, why",
    [
        ("work", "branch"),
        ("main", "branch"),
        ("HEAD", "branch"),
        ("0123456", "40 digits"),
        ("0" * 40, "no commit"),
        ("v 1", "no name"),
        ("-v", "no name"),
        ("v1..2", "no name"),
        ("v1'; ls", "no name"),
    ],
)
def test_what_may_change_or_is_no_name_is_refused(repository: Path, said: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        checked_revision(said, repository)


def test_a_commit_must_hold_what_is_here(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    (repository / "autograder" / "a.py").write_text("2\n")
    with pytest.raises(Refused, match="commit first"):
        checked_revision(head, repository)


def test_a_tag_that_is_there_must_know_the_address(repository: Path) -> None:
    where = Published(HERE, "v1")
    check_tag_is_free(where, repository)
    git(repository, "tag", "v1")
    with pytest.raises(Refused, match="TAG=v2"):
        check_tag_is_free(where, repository)
    write(where, repository / "solutions")
    commit(repository)
    git(repository, "tag", "-f", "v1")
    check_tag_is_free(where, repository)
    with pytest.raises(Refused, match="TAG=v2"):
        check_tag_is_free(Published("https://github.com/somebody/else", "v1"), repository)


@pytest.fixture
def solutions(tmp_path: Path) -> Path:
    """A folder of solutions with one chapter."""
    (tmp_path / "90_tiny").mkdir()
    (tmp_path / "90_tiny" / "90_tiny.py").write_text("# %% [markdown]\n# # A tiny chapter\n#\n# Words.\n")
    return tmp_path


def test_what_a_notebook_carries(solutions: Path) -> None:
    unpublished = source_notebook("90_tiny", solutions)
    assert unpublished.cells[0].source == "# A tiny chapter\n\nWords."
    assert published(solutions) is None
    assert "git+https://" not in unpublished.cells[1].source.replace('"git+https://"', ""), "the set-up cell knows no address"

    write(Published(HERE, "v1"), solutions)
    title, setup = source_notebook("90_tiny", solutions).cells
    assert "/github/nobody/nothing/blob/v1/course/90_tiny/90_tiny.ipynb)" in title.source
    assert f'"git+{HERE}"\n        "@v1"\n' in setup.source
    ids = [cell.id for cell in source_notebook("90_tiny", solutions).cells]
    assert ids == [cell.id for cell in unpublished.cells], "cells keep their names when the course is published"

    for where in (Published(HERE, "0" * 40), Published("https://git.example.org/a/b", "v1")):
        write(where, solutions)
        title, setup = source_notebook("90_tiny", solutions).cells
        assert "colab" not in title.source, "the notebooks of a commit cannot know it; Colab opens GitHub's alone"
        assert f'"git+{where.address}"\n' in setup.source and f'"@{where.revision}"\n' in setup.source

    write(None, solutions)
    assert source_notebook("90_tiny", solutions) == unpublished


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict:
    """The command, which writes and releases nothing: what it would have written."""
    done = {}
    monkeypatch.setattr(publish, "write", lambda where: done.update(where=where))
    monkeypatch.setattr(publish, "release_notebooks", lambda topics, course: done.update(topics=topics))
    # A repository in which nothing has the name that is asked for.
    monkeypatch.setattr(publish, "_git", lambda repository, *asked: None if "--verify" in asked else "")
    return done


def test_the_command_writes_releases_and_says_what_is_left(command: dict, capsys: pytest.CaptureFixture) -> None:
    assert publish.main([HERE, "--tag", "v7"]) == 0
    assert command == {"where": Published(HERE, "v7"), "topics": chapters()}
    said = capsys.readouterr().out
    assert "git tag v7" in said and f"git push {HERE} HEAD v7" in said
    assert publish.main([HERE, "--tag="]) == 0
    assert re.fullmatch(r"v\d+\.\d+\.\d+", command["where"].revision), "by default, the version of the course"
    assert publish.main(["none"]) == 0
    assert command["where"] is None


def test_what_is_refused_writes_nothing(command: dict, capsys: pytest.CaptureFixture) -> None:
    assert publish.main(["http://example.org/a"]) == 1
    assert publish.main([""]) == 1
    assert not command
    assert "Nothing was written" in capsys.readouterr().err


# --- One place


TEXT = {".py", ".md", ".toml", ".yml", ".json", ".ipynb", ".lock", ""}
INSTALLS_FROM = re.compile(r"git\+https?://[\w.-]+/[^\s\"'\\)]+|colab\.research\.google\.com/github/[\w.-]+/[^\s\"'\\)]+")
NOBODYS = re.compile(r"//(git\.)?example\.(org|com)/|/nobody/|/OWNER/")


def strange(text: str, where: Published | None) -> list[str]:
    """What is installed or opened from elsewhere than where the course is published."""
    ours = where.address.removeprefix("https://").partition("/")[2] if where else None  # OWNER/REPOSITORY
    return [name for name in INSTALLS_FROM.findall(text) if not NOBODYS.search(name) and (ours is None or f"/{ours}" not in name)]


def test_what_is_strange() -> None:
    where = Published("https://github.com/an-owner/a-course", "v1")
    page = f"{where.badge('90_tiny')} {setup_cell(where).source}"
    assert strange(page, where) == []
    assert len(strange(page, None)) == len(strange(page, Published("https://github.com/an-owner/other", "v1"))) == 2


def test_no_address_of_the_course_stands_anywhere_else() -> None:
    """Nothing in the repository installs or opens anything from an address that is not the one that was published."""
    where = published()
    files = [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix in TEXT and path.stat().st_size < 2_000_000
        and not {".venv", ".git", "classroom", "shared"} & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".venv") for part in path.relative_to(ROOT).parts)
        and path.name != FILE
    ]
    assert ROOT / "README.md" in files and ROOT / "pyproject.toml" in files
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert "github.com/training-" + "language-models" not in text, f"{path}: nobody owns this address"
        if where and not (path.suffix == ".ipynb" and path.parent.parent.name in ("course", "solutions")):
            assert where.address not in text, f"{path}: the address stands in solutions/{FILE} alone"
        found = [] if path.name in ("setup_cell.py", Path(__file__).name) else strange(text, where)
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize("topic", chapters())
def test_a_released_notebook_carries_a_badge_only_where_there_is_an_address(topic: str) -> None:
    released = nbformat.read(ROOT / "course" / topic / f"{topic}.ipynb", as_version=4)
    where = published()
    assert ("colab-badge" in released.cells[0].source) == bool(where and where.badge(topic))
    assert released.cells[1].metadata == {"jupyter": {"source_hidden": True}, "cellView": "form"}
