"""Run a command as an ordinary user, where the tests run as root: `python ordinary_user.py COMMAND ...`.

The sandbox takes other ways as root and not. The interpreter and the course may lie in a folder that only root may
enter (/root): in a mount namespace of its own, such a folder is given a stand-in that holds them and nothing else.
"""

import os
import sys
from pathlib import Path

from autograder.grading.sandbox import calls

USER = 54321  # nobody's
ROOT = Path(__file__).resolve().parents[1]


def become(*needed: str) -> None:
    """Make this process an ordinary user's, who can read the interpreter, the course and what else is `needed`."""
    calls.unshare(calls.CLONE_NEWNS)
    calls.mount("none", "/", None, calls.MS_REC | calls.MS_PRIVATE)
    wanted = dict.fromkeys([sys.prefix, sys.base_prefix, str(ROOT), *needed])
    closed: dict[str, list[str]] = {}
    for path in wanted:
        if folder := _closed_above(path):
            closed.setdefault(folder, []).append(path)
    for folder, paths in closed.items():
        held = [os.open(path, os.O_PATH) for path in paths]
        calls.mount("tmpfs", folder, "tmpfs", 0, "mode=0755,size=1m")
        for path, file in zip(paths, held, strict=True):
            os.makedirs(path, exist_ok=True)
            calls.mount(f"/proc/self/fd/{file}", path, None, calls.MS_BIND | calls.MS_REC)
            os.close(file)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


def _closed_above(path: str) -> str:
    """The first folder on the way to `path` that others may not pass; '' where there is none."""
    for folder in reversed(Path(path).parents):
        if not folder.stat().st_mode & 1:
            return str(folder)
    return ""


if __name__ == "__main__":
    become()
    os.execv(sys.argv[1], sys.argv[1:])
