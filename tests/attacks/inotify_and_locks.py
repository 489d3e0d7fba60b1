"""Takes all that a user has few of: watches of files, timers, event files, locks on files.

kind: memory, disk and what else is counted
must: find nothing
"""
import ctypes
import fcntl
import os

libc, kept = ctypes.CDLL(None, use_errno=True), []
for make in (libc.inotify_init, lambda: libc.eventfd(0, 0), lambda: libc.timerfd_create(1, 0), lambda: libc.epoll_create(1)):
    while len(kept) < 900 and (one := make()) >= 0:
        kept.append(one)
for path in ("/etc/passwd", os.__file__, TARGETS["gradebook"]):
    attempt(f"a lock that writers heed on {path}", lambda p=path: fcntl.lockf(open(p, "r+"), fcntl.LOCK_EX))
for one in kept:
    os.close(one)
