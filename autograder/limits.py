"""Bounds on code nobody has read: a time and a memory limit.

`stream` runs it in a forked child, `bounded_here` in this process, which ends where the time is over: quicker, for who can
begin again. Where a system cannot fork (Windows), code runs in this process without limits.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CAN_FORK = hasattr(os, "fork")
CAN_END = hasattr(signal, "setitimer")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """seconds: wall time between two messages; memory_mb: what the child may allocate beyond what it starts with."""

    seconds: float = 30.0
    memory_mb: int = 4096

    @classmethod
    def from_environment(cls) -> "Limits":
        """The defaults, unless COURSE_CASE_SECONDS or COURSE_MEMORY_MB say otherwise."""
        return cls(
            float(os.environ.get("COURSE_CASE_SECONDS", cls.seconds)),
            int(os.environ.get("COURSE_MEMORY_MB", cls.memory_mb)),
        )


@dataclass(frozen=True)
class Stopped:
    """The child ended before it was done. `reason` is 'time', 'memory' or 'died'; `sentence` is for the student."""

    reason: str
    sentence: str


def stream(produce: Callable[[], Iterator], limits: Limits) -> Iterator:
    """Run the generator function `produce` in a child and yield its messages (JSON values) as they come.

    The last item is a `Stopped` when the child hung, ran out of memory or died.
    """
    if not CAN_FORK:
        yield from produce()
        return
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_the_child(produce, writer, limits)
    os.close(writer)
    try:
        yield from _read_messages(reader, child, limits)
    finally:
        os.close(reader)
        _kill_group(child)


def _be_the_child(produce, writer: int, limits: Limits) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()  # a group of its own, so that what the answer starts dies with it
        _die_with_parent()
        faulthandler.disable()  # a crash is told in our own sentence, not in a dump on the terminal
        silence = open(os.devnull, "w")  # noqa: SIM115 - it must outlive this function
        sys.stdout = sys.stderr = silence
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        allow_memory(limits.memory_mb, for_good=True)
        _single_thread()
        with os.fdopen(writer, "w") as pipe:
            for message in produce():
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()
            pipe.write("end\n")
        code = 0
    except MemoryError:
        code = 77
    finally:
        os._exit(code)


@contextlib.contextmanager
def bounded_here(limits: Limits) -> Iterator[None]:
    """The block has so much time in all, and so much memory; nothing that it writes is seen.

    Beyond the memory, a MemoryError. Beyond the time a signal ends this process, which no code has to hear for that.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        with (
            open(os.devnull, "w") as silence,
            _less_memory(limits.memory_mb),
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
        ):
            signal.setitimer(signal.ITIMER_REAL, limits.seconds)
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _less_memory(memory_mb: int) -> Iterator[None]:
    """The limit of a child, in this process for a while."""
    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    allow_memory(memory_mb)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def allow_memory(memory_mb: int, of: str = "RLIMIT_AS", for_good: bool = False) -> None:
    """Let this process allocate so much more than it has, where a system can say that.

    of: which memory, by the name of its limit; for_good: whether nothing can take the limit away.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        kind = getattr(resource, of)
        with open("/proc/self/statm") as file:  # in pages
            used = int(file.read().split()[_IN_STATM[of]]) * os.sysconf("SC_PAGE_SIZE")
        limit = used + memory_mb * 2**20
        resource.setrlimit(kind, (limit, limit if for_good else resource.getrlimit(kind)[1]))


_IN_STATM = {"RLIMIT_AS": 0, "RLIMIT_DATA": 5}  # where /proc/self/statm says how much there is


def _single_thread() -> None:
    # OpenMP's worker threads do not survive a fork: a parallel region in the child would wait for them for ever.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _read_messages(reader: int, child: int, limits: Limits) -> Iterator:
    pending = b""
    deadline = time.monotonic() + limits.seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            yield Stopped("time", f"it did not finish within {limits.seconds:g} seconds. Is there an endless loop?")
            return
        piece = os.read(reader, 1 << 20)
        if not piece:
            yield _how_it_died(child, limits)
            return
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            if line == b"end":
                return
            try:
                message = json.loads(line)
            except ValueError:
                yield Stopped("died", "it disturbed the channel by which its results are read.")
                return
            yield message
            deadline = time.monotonic() + limits.seconds


def _how_it_died(child: int, limits: Limits) -> Stopped:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 77 or code == -signal.SIGKILL:
        return Stopped("memory", f"it asked for more than {limits.memory_mb / 1024:g} GiB of memory.")
    if code < 0:
        return Stopped("died", f"it crashed the Python process ({signal.Signals(-code).name}).")
    return Stopped("died", f"it ended the Python process (exit code {code}).")


def _kill_group(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
