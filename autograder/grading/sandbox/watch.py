"""A sandbox seen from outside: how many processes are in it, and how much memory they use together.

A limit on one process is passed by having several; a control group would sum over them, but an ordinary user has none to
write to. So whoever started a sandbox looks at it a few times a second. What cannot be read counts as much as it could be.
"""

import os
from pathlib import Path

SECONDS = 0.1  # between two looks


def processes_below(first: int) -> list[int]:
    """All processes of a PID namespace, but its first one: what loses its parent there becomes a child of the first."""
    found, todo = [], [first]
    while todo:
        children = _children(todo.pop())
        found += children
        todo += children
    return found


def _children(process: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            found += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    except OSError:  # it is gone
        pass
    return found


class Watched:
    """What a sandbox uses beyond what is there when the watch begins: a kernel that has read nothing yet."""

    def __init__(self, first: int, memory_mb: int, processes: int):
        self.first, self.most = first, processes
        there = processes_below(first)
        self.rough, self.exact = (memory_mb * 2**20 + sum(map(measure, there)) for measure in (_at_most, _exactly))

    def exceeded(self) -> str:
        """Why the sandbox has to end: 'memory' or 'processes'; '' where it need not."""
        there = processes_below(self.first)
        if sum(map(_threads, there)) > self.most:
            return "processes"
        # What is shared with a parent is counted for each here: too much, and cheap to know. So the exact sum, which
        # takes a while, is only asked for where this one is too large.
        if sum(map(_at_most, there)) > self.rough and sum(map(_exactly, there)) > self.exact:
            return "memory"
        return ""


def _threads(process: int) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/task"))
    except OSError:
        return 0


def _at_most(process: int) -> int:
    """Memory that is not of files: anonymous and shared."""
    return sum(_status(process, "RssAnon", "RssShmem"))


def _exactly(process: int) -> int:
    """The same, where what several processes share is divided among them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except ProcessLookupError:
        return 0
    except OSError:
        return _at_most(process)
    values = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(values[name].split()[0]) * 1024 for name in ("Pss_Anon", "Pss_Shmem", "SwapPss") if name in values)


def _status(process: int, *names: str) -> list[int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return [0]
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return [int(values[name].split()[0]) * 1024 for name in names if name in values]
