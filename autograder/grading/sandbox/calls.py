"""System calls that Python 3.11 has no function for (os.unshare came with 3.12), as functions that raise OSError."""

import ctypes
import os
import platform
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP = 0x10000000, 0x20000000, 0x40000000, 0x02000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_RECURSIVE = 0x8000
AT_FDCWD = -100

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 28, 38, 47, 4
LOCKED_SECUREBITS = 0xEF  # being root means nothing, now and after whatever is executed

# Numbers of calls without a function in glibc; those above 424 are the same on every machine.
_NUMBERS = {"x86_64": {"pivot_root": 155, "capset": 126}, "aarch64": {"pivot_root": 41, "capset": 91}}
_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None  # elsewhere nothing is called


class SandboxRefused(Exception):
    """This machine cannot give what was asked for. The message is a sentence for who grades: what, and what to do."""


def machine() -> str:
    """The kind of processor, by its name on Linux."""
    return platform.machine()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments, what: str) -> int:
    """Any system call, by its number."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *passed), what)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    passed = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(option, *passed), f"prctl {option}")


def unshare(flags: int) -> None:
    """unshare(2): new namespaces for this process (of processes: for its children)."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    source_, target_, kind_, data_ = texts
    _checked(_libc.mount(source_, target_, kind_, ctypes.c_ulong(flags), data_), f"mount {target}")


def unmount(target: str) -> None:
    """umount2(2), of whatever is there, now for the eye and later in fact."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, put_old: str) -> None:
    """pivot_root(2)."""
    number = _NUMBERS[machine()]["pivot_root"]
    syscall(number, os.fsencode(new), os.fsencode(put_old), what="pivot_root")


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def restrict_mount(target: str, attributes: int) -> None:
    """mount_setattr(2): set attributes of the mount at `target` and of all below it. Linux 5.12 and later."""
    asked = _MountAttr(attr_set=attributes)
    arguments = (AT_FDCWD, os.fsencode(target), AT_RECURSIVE, ctypes.byref(asked), ctypes.sizeof(asked))
    syscall(_MOUNT_SETATTR, *arguments, what=f"mount_setattr {target}")


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def drop_capabilities() -> None:
    """Give up all capabilities, also those that an executed file could give back."""
    last = int(_read("/proc/sys/kernel/cap_last_cap") or 63)
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_SECUREBITS, LOCKED_SECUREBITS)
    header, nothing = _CapHeader(0x20080522, 0), (ctypes.c_uint32 * 6)()
    number = _NUMBERS[machine()]["capset"]
    syscall(number, ctypes.byref(header), ctypes.byref(nothing), what="capset")


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
