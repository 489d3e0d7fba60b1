"""Looks for a way out in what the kernel shows of the first process and of open files: roots, folders, memory maps.

kind: rights and namespaces
must: find nothing
"""
import ctypes
import os

for process in (1, TARGETS["grader"], TARGETS["bystander"]):
    for name in ("root", "cwd", "exe", "fd", "map_files", "ns/mnt"):
        attempt(f"{process} {name}", lambda p=process, n=name: os.stat(f"/proc/{p}/{n}/") and os.listdir(f"/proc/{p}/{n}/"))
attempt("above the root", lambda: set(os.listdir("/../../..")) - set(os.listdir("/")) or None)
attempt("through a link", lambda: os.symlink("/proc/1/root", "/tmp/out") or os.listdir("/tmp/out/"))
attempt("a handle", lambda: ctypes.CDLL(None, use_errno=True).open_by_handle_at(0, b"\0" * 16, 0) >= 0 or None)
for old in ("/old", "/new", "/oldroot", "/host", "/.empty"):
    attempt(old, lambda o=old: os.listdir(o))
