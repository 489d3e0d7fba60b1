"""A sandbox seen from outside: how many processes are in it, and how much memory they use together.

A limit on one process is passed by having several; a control group would sum over them, but an ordinary user has none to
write to. So whoever started a sandbox looks at it a few times a second. What cannot be read counts as much as it could be.

Memory is also what the system keeps for a process: its page tables, and what waits in sockets to be read. How much waits
is told nowhere, so each socket counts as full: `seccomp` sees to it that none is made larger.
"""

import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SECONDS = 0.1  # between two looks
MOST_FILES = 1024  # of one process, as `enter.limit` has it


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
        there = _with_memory(processes_below(first))
        self.rough, self.exact = (memory_mb * 2**20 + measure(there) for measure in (_at_most, _exactly))

    def exceeded(self) -> str:
        """Why the sandbox has to end: 'memory' or 'processes'; '' where it need not."""
        there = processes_below(self.first)
        if sum(map(_threads, there)) > self.most:
            return "processes"
        there = _with_memory(there)
        # What is shared with a parent is counted for each here: too much, and cheap to know. So the exact sum, which
        # takes a while, is only asked for where this one is too large.
        if _at_most(there) > self.rough and _exactly(there) > self.exact:
            return "memory"
        return ""


def _threads(process: int) -> int:
    return len(_threads_of(process))


def _threads_of(process: int) -> list[int]:
    try:
        return [*map(int, os.listdir(f"/proc/{process}/task"))]
    except OSError:
        return []


def _with_memory(processes: list[int]) -> list[int]:
    """Those that have memory; of one whose first thread has ended, of which nothing is told any more, another thread."""
    return [one for process in processes if (one := next(filter(_has_memory, _first_and_others(process)), None))]


def _first_and_others(process: int) -> Iterator[int]:
    yield process
    yield from _threads_of(process)


def _has_memory(process: int) -> bool:
    try:
        return "VmRSS" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def _at_most(processes: list[int]) -> int:
    """Memory that is not of files, as if nothing were shared and every open file were a full socket."""
    return sum(_own(process) + _a_full_socket() * len(_open_files(process)) for process in processes)


def _exactly(processes: list[int]) -> int:
    """The same, where what several processes share is divided among them."""
    sockets = {target for process in processes for target in _sockets(process)}
    return sum(map(_share, processes)) + _a_full_socket() * len(sockets)


def _own(process: int) -> int:
    return sum(_status(process, "RssAnon", "RssShmem", "VmPTE"))


def _share(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except ProcessLookupError:
        return 0
    except OSError:
        return _own(process)
    values = dict(line.split(":", 1) for line in lines[1:])
    kept = [int(values[name].split()[0]) * 1024 for name in ("Pss_Anon", "Pss_Shmem", "SwapPss") if name in values]
    return sum(kept) + sum(_status(process, "VmPTE"))


def _open_files(process: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError:
        return [""] * MOST_FILES


def _sockets(process: int) -> set[str]:
    """Names of the sockets that a process has open, the same in all that have them."""
    found = set()
    for place, file in enumerate(_open_files(process)):
        try:
            target = os.readlink(f"/proc/{process}/fd/{file}")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            target = f"socket:{process}/{place}"
        if target.startswith("socket:"):
            found.add(target)
    return found


@cache
def _a_full_socket() -> int:
    """Bytes: as much as may wait in one, and the piece that was let in when there was little room left."""
    with socket.socket(socket.AF_UNIX) as one:
        return one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) * 3 // 2


def _status(process: int, *names: str) -> list[int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return [0]
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return [int(values[name].split()[0]) * 1024 for name in names if name in values]
