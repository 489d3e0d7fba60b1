"""`make publish ADDRESS=https://github.com/OWNER/REPOSITORY TAG=v1`: say where the course can be had, and release it.

    python -m autograder.workshop.publish ADDRESS [--tag TAG]
    python -m autograder.workshop.publish none

Writes `solutions/address.json`, the one place where the address stands, and releases all notebooks with it: their set-up
cells install from there, their badges open them there, both at the tag. What a reader's session installs is code that
runs there: so the address must be one that you own, and TAG names what stays as it is, never a branch. It is a tag that is
still to be made, or a whole commit. A commit cannot hold its own name, so with a commit there are no badges.
Nothing is pushed, and no tag is made: the last lines say what is left to do. ADDRESS=none takes the address out again.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.release import chapters, release_notebooks
from autograder.workshop.setup_cell import COMMIT, FILE, Published

NONE = "none"


class Refused(Exception):
    """It cannot be published so; the message says what to do."""


def checked_address(text: str) -> str:
    """The address of a repository, without a slash or ".git" at its end. Raises Refused if it is not one for readers."""
    address = text.strip().rstrip("/").removesuffix(".git")
    if not address:
        raise Refused("Say where the repository is: make publish ADDRESS=https://github.com/OWNER/REPOSITORY TAG=v1")
    if not address.startswith("https://"):
        raise Refused(f"{text!r}: the address must begin with https://, so that nobody can change what is fetched on its way.")
    host, _, path = address.removeprefix("https://").partition("/")
    if "@" in address:
        raise Refused("The address holds an “@”. Every reader would see a name or a password; a tag is given by TAG=.")
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", host.lower()):
        raise Refused(f"{text!r}: “{host}” is no name of a host.")
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*", path) or ".." in path:
        raise Refused(f"{text!r}: after the host comes the repository's path, of letters, digits and - _ . ~ alone.")
    if host.lower() == "github.com" and path.count("/") != 1:
        raise Refused(f"{text!r}: an address on GitHub is https://github.com/OWNER/REPOSITORY.")
    return f"https://{host.lower()}/{path}"


def checked_revision(text: str, repository: Path = ROOT) -> str:
    """A tag that may be made, or a whole commit that is here and holds what is released. Raises Refused otherwise."""
    revision = text.strip()
    if COMMIT.fullmatch(revision):
        if _git(repository, "cat-file", "-e", f"{revision}^{{commit}}") is None:
            raise Refused(f"There is no commit {revision} here. `git log` shows those there are.")
        # What is installed must be what the notebooks were written for. Those themselves are released anew.
        installed = ("autograder", "course", "data", "pyproject.toml", ":!*.ipynb")
        if _git(repository, "diff", "--quiet", revision, "--", *installed) is None:
            raise Refused(f"The course here differs from commit {revision[:12]}, which readers would install: commit first.")
        return revision
    if re.fullmatch(r"[0-9a-fA-F]{7,64}", revision):
        raise Refused(f"{revision!r} looks like a commit. Write its whole name, 40 digits: git rev-parse {revision}")
    wrong = not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", revision) or ".." in revision or revision.endswith((".", ".lock"))
    if wrong:
        raise Refused(f"{revision!r} is no name for a tag: letters, digits and . _ - are, such as v1.")
    if revision in ("HEAD", "main", "master") or _git(repository, "rev-parse", "-q", "--verify", f"refs/heads/{revision}"):
        raise Refused(f"{revision!r} is a branch: what it holds changes. Name a tag, such as TAG=v1, or a whole commit.")
    return revision


def check_tag_is_free(where: Published, repository: Path = ROOT) -> None:
    """Raises Refused where the tag is there and what it holds was not released for this address."""
    if _git(repository, "rev-parse", "-q", "--verify", f"refs/tags/{where.revision}") is None:
        return
    held = _git(repository, "show", f"refs/tags/{where.revision}:solutions/{FILE}")
    if held != _as_text(where):
        raise Refused(
            f"The tag {where.revision} is there already, and the notebooks in it do not know this address. Take the next tag, "
            "such as TAG=v2: one that readers may have used stays as it is."
        )


def what_is_left(where: Published) -> str:
    """What to do by hand after the release."""
    keep = f"    git add solutions/{FILE} course && git commit -m 'Published at {where.revision[:12]}'"
    if COMMIT.fullmatch(where.revision):
        return (
            f"{keep}\n    git push {where.address} HEAD        (with commit {where.revision[:12]} in it)\n"
            "There are no badges: the notebooks of a commit do not know its name. A tag would bring them."
        )
    return f"{keep}\n    git tag {where.revision}\n    git push {where.address} HEAD {where.revision}"


def write(where: Published | None, solutions: Path = SOLUTIONS) -> None:
    """Write the address down, or take it out."""
    if where is None:
        (solutions / FILE).unlink(missing_ok=True)
    else:
        (solutions / FILE).write_text(_as_text(where), encoding="utf-8")


def _as_text(where: Published) -> str:
    return json.dumps(where._asdict(), indent=1) + "\n"


def _git(repository: Path, *command: str) -> str | None:
    """What a git command printed; None if it failed. "" counts as success."""
    run = subprocess.run(["git", "-C", str(repository), *command], capture_output=True, text=True)
    return run.stdout if run.returncode == 0 else None


def _next_version() -> str:
    """The tag that goes without saying: the version in pyproject.toml."""
    return "v" + tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make publish", description="Write the course's address down, and release.")
    parser.add_argument("address", nargs="?", default="", help="https://…, a repository of yours; none: take it out again")
    parser.add_argument("--tag", default="", help="a tag (by default the version in pyproject.toml) or a whole commit")
    arguments = parser.parse_args(argv)
    try:
        if arguments.address.strip().lower() == NONE:
            where = None
        else:
            address = checked_address(arguments.address)
            if _git(ROOT, "rev-parse", "--git-dir") is None:
                raise Refused("This folder is no git repository, so it has no tags: publish from a clone.")
            where = Published(address, checked_revision(arguments.tag or _next_version()))
            check_tag_is_free(where)
    except Refused as reason:
        print(f"Nothing was written. {reason}", file=sys.stderr)
        return 1
    write(where)
    release_notebooks(chapters(), ROOT / "course")
    if where is None:
        print("The notebooks carry no address now. Commit them: git add -A solutions course && git commit")
    else:
        print(f"The notebooks install from {where.requirement()}. To make it so:\n{what_is_left(where)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
