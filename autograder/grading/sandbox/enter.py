"""A process goes into its sandbox, for good. What it forks and executes later is in it too.

    begin(policy)      in the process that stays outside and watches
    inside(policy)     in its child, which is the first process of the sandbox, before a line of a student's is read
    seal()             in each process that is left after that, once it has no more to set up

As an ordinary user the new user namespace comes first, since it alone gives the right to make the others. As root the
file system is made first, with root's right to read it; then root becomes nobody, and only then the user namespace is
made: it belongs to nobody, and root is not in it.
"""

import errno
import os
import resource
import socket

from autograder.grading.sandbox import calls, landlock, places, seccomp
from autograder.grading.sandbox.calls import SandboxRefused
from autograder.grading.sandbox.policy import Policy

NOBODY = 65534  # who a submission runs as where the grader is root
_OTHERS = calls.CLONE_NEWNS | calls.CLONE_NEWIPC | calls.CLONE_NEWUTS | calls.CLONE_NEWNET
WHAT_TO_DO = "`autograder doctor` says what this machine can give, and what to do about it."


def begin() -> None:
    """Let the children of this process be in a PID namespace of their own. It must have one thread, and no other use."""
    if threads() > 1:
        raise SandboxRefused("A process with threads cannot enter a sandbox.")
    if os.geteuid() != 0:
        proc = os.open("/proc", os.O_PATH)
        _new_user(proc, os.geteuid(), os.getegid())
        os.close(proc)
    _step("a PID namespace", calls.unshare, calls.CLONE_NEWPID)


def inside(policy: Policy) -> None:
    """Take away from this process all that no answer needs. It must be the child of one that called `begin`."""
    root = os.geteuid() == 0  # inside a user namespace nobody is: `_new_user` says 1000
    proc = os.open("/proc", os.O_PATH)  # the old one: the new one is read-only
    _step("mount, IPC, UTS and network namespaces", calls.unshare, _OTHERS)
    socket.sethostname("sandbox")
    _step("a file system of its own", places.build, policy, NOBODY if root else places.USER)
    if root:
        become(NOBODY)
        _new_user(proc, NOBODY, NOBODY)
    os.close(proc)
    os.umask(0o077)
    limit(policy)
    _step("no capabilities", calls.drop_capabilities)
    _step("no_new_privs", calls.prctl, calls.PR_SET_NO_NEW_PRIVS, 1)
    _step("Landlock", landlock.restrict, ("/tmp", "/dev/shm"))


def seal(dumpable: bool = True) -> None:
    """Filter system calls from now on. A process that is not `dumpable` keeps its memory from others of its user."""
    if not dumpable:
        calls.prctl(calls.PR_SET_DUMPABLE, 0)
    _step("a filter of system calls", seccomp.install)


def limit(policy: Policy) -> None:
    """Limits on one process; `watch` sums over all of them."""
    used = _data_in_use()
    mb = 2**20
    limits = {
        resource.RLIMIT_DATA: used + policy.memory_mb * mb,
        resource.RLIMIT_FSIZE: policy.files_mb * mb,
        resource.RLIMIT_CPU: policy.cpu_seconds,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 8 * mb,
    }
    if _linux() >= (5, 14):  # before, it counts all processes of the user, and those outside may be many; `watch` is left
        limits[resource.RLIMIT_NPROC] = policy.processes
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def _linux() -> tuple[int, ...]:
    return tuple(map(int, os.uname().release.split("-")[0].split("+")[0].split(".")[:2]))


def _data_in_use() -> int:
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields["VmData"].split()[0]) * 1024


def become(user: int) -> None:
    """From root to another user, for good."""
    what = "another user than root"
    _step(what, os.setgroups, [])
    _step(what, os.setresgid, user, user, user)
    _step(what, os.setresuid, user, user, user)


def _new_user(proc: int, user: int, group: int) -> None:
    """A user namespace in which `user` is places.USER and nobody else is anybody. proc: a /proc that can be written."""
    _step("a user namespace", calls.unshare, calls.CLONE_NEWUSER)
    calls.prctl(calls.PR_SET_DUMPABLE, 1)  # root that became nobody is not: its own /proc/self would be closed to it
    for name, text in {
        "setgroups": "deny",
        "uid_map": f"{places.USER} {user} 1",
        "gid_map": f"{places.USER} {group} 1",
    }.items():
        file = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            _step("a user namespace", os.write, file, text.encode())
        finally:
            os.close(file)


def _step(what: str, function, *arguments) -> None:
    try:
        function(*arguments)
    except SandboxRefused as error:
        raise SandboxRefused(f"A submission cannot be given {what}: {error} {WHAT_TO_DO}") from error
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        raise SandboxRefused(f"A submission cannot be given {what} ({error.strerror or error}, {name}). {WHAT_TO_DO}") from error
