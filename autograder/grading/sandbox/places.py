"""The file system of a sandbox: an allow-list of places, read-only, and one private folder with a size.

What is not in the list is not hidden but absent: the old file system is unmounted when the new one is complete.
"""

import os
import stat

from autograder.grading.sandbox import calls
from autograder.grading.sandbox.calls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT
from autograder.grading.sandbox.policy import PACKAGES, PUBLIC, SHARED, SYSTEM, Policy

WORK, HOME = "/tmp/work", "/tmp/home"  # the folder a kernel starts in, and its home: both are gone with it
USER = 1000  # who a student's process is, seen from inside
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
FILES = {
    "/etc/passwd": f"student:x:{USER}:{USER}::{HOME}:/nonexistent\n",
    "/etc/group": f"student:x:{USER}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_OLD, _NEW = "/old", "/new"
_BASE = "/tmp"  # only the place where the first mount goes; what lies there stays reachable below _OLD until the end
_PLAIN = MS_NOSUID | MS_NODEV


def build(policy: Policy, owner: int) -> None:
    """Make the file system of this process be what the policy lists. owner: whose the private folder is.

    Needs a mount namespace of its own, and to be the first process of its PID namespace (for /proc).
    """
    os.umask(0o022)  # folders on the way to a place can be passed by whoever this process becomes
    shown = _shown([*SYSTEM, *SHARED, *policy.visible])  # before the links on the way lead elsewhere
    calls.mount("none", "/", None, MS_REC | calls.MS_PRIVATE)
    calls.mount("tmpfs", _BASE, "tmpfs", _PLAIN, "mode=0755,size=4m")
    os.mkdir(_BASE + _OLD)
    os.mkdir(_BASE + _NEW)
    calls.pivot_root(_BASE, _BASE + _OLD)
    os.chdir("/")
    calls.mount("tmpfs", _NEW, "tmpfs", _PLAIN, "mode=0755,size=4m")
    _make_private(policy.files_mb, owner)  # before the places: one of them may lie in /tmp
    for place, real in shown.items():
        _show(place, real)
    for path in policy.covered:
        for place, real in shown.items():  # one file may be there under two names
            if path.startswith(f"{real}/"):
                _cover(place + path.removeprefix(real))
    _make_files()
    _make_devices()
    os.makedirs(f"{_NEW}/proc")
    calls.mount("proc", f"{_NEW}/proc", "proc", MS_RDONLY | _PLAIN | MS_NOEXEC)
    os.chdir(_NEW)
    calls.unmount(_OLD)
    calls.pivot_root(".", ".")  # the new root lies on the old one …
    calls.unmount(".")  # … which goes
    os.chdir("/")
    # The root itself: links and empty folders, all there. Private folder and /proc are mounts of their own.
    calls.mount("none", "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY | _PLAIN)


def _shown(paths: list[str]) -> dict[str, str]:
    """Place -> what is shown there. A place that is reached by links (a home on another disk) is shown under both names;
    what lies in another place is shown with it.
    """
    real = {path: os.path.realpath(path) for path in map(os.path.abspath, paths) if os.path.exists(path)}
    real |= {target: target for target in real.values()}
    shown: dict[str, str] = {}
    for place in sorted(real, key=len):
        if not any(place.startswith(f"{other}/") for other in shown):
            shown[place] = real[place]
    return shown


def _show(place: str, real: str) -> None:
    """Make a file or a folder of the old file system be there in the new one."""
    old, new = _OLD + real, _NEW + place
    os.makedirs(os.path.dirname(new), exist_ok=True)
    if os.path.lexists(new):
        return
    if os.path.isdir(old):
        os.mkdir(new)
    else:
        open(new, "w").close()
    calls.mount(old, new, None, MS_BIND | MS_REC)
    calls.restrict_mount(new, calls.MOUNT_ATTR_RDONLY | calls.MOUNT_ATTR_NOSUID | calls.MOUNT_ATTR_NODEV)


def closed(policy: Policy) -> str:
    """Something that is visible and that this process may not read, as after an installation with umask 077; or ''."""
    folders = [path for path in policy.visible if os.path.basename(path) in (*PACKAGES, *PUBLIC)]
    for folder in folders:
        if not os.access(folder, os.R_OK | os.X_OK):
            return folder
        for entry in list(os.scandir(folder)):
            wanted = os.R_OK | os.X_OK if entry.is_dir() else os.R_OK
            if (entry.is_dir() or entry.name.endswith(".py")) and not os.access(entry.path, wanted):
                return entry.path
    return ""


def _cover(path: str) -> None:
    """Let a place be there and empty."""
    if os.path.isdir(_NEW + path):
        calls.mount("tmpfs", _NEW + path, "tmpfs", MS_RDONLY | _PLAIN | MS_NOEXEC, "mode=0555,size=4k")
    elif os.path.exists(_NEW + path):
        empty = f"{_NEW}/.empty"
        open(empty, "w").close()
        calls.mount(empty, _NEW + path, None, MS_BIND)
        calls.restrict_mount(_NEW + path, calls.MOUNT_ATTR_RDONLY)


def _make_files() -> None:
    os.makedirs(f"{_NEW}/etc", exist_ok=True)
    for path, text in FILES.items():
        with open(_NEW + path, "w") as file:
            file.write(text)


def _make_private(files_mb: int, owner: int) -> None:
    """One folder for all that is written, with one size: /tmp, with the working folder and the home, and /dev/shm."""
    private = f"{_NEW}/tmp"
    os.mkdir(private)
    size = f"mode=0700,size={files_mb}m,nr_inodes={max(1000, 32 * files_mb)}"
    calls.mount("tmpfs", private, "tmpfs", _PLAIN | MS_NOEXEC, size)
    os.chown(private, owner, owner)
    for folder in (WORK, HOME, "/tmp/.shm"):
        os.mkdir(_NEW + folder, 0o700)
        os.chown(_NEW + folder, owner, owner)
    os.makedirs(f"{_NEW}/dev/shm")
    calls.mount(f"{_NEW}/tmp/.shm", f"{_NEW}/dev/shm", None, MS_BIND)


def _make_devices() -> None:
    for name in DEVICES:
        device = f"{_OLD}/dev/{name}"
        if stat.S_ISCHR(os.stat(device).st_mode):
            open(f"{_NEW}/dev/{name}", "w").close()
            calls.mount(device, f"{_NEW}/dev/{name}", None, MS_BIND)
    for name, target in LINKS.items():
        os.symlink(target, f"{_NEW}/dev/{name}")
