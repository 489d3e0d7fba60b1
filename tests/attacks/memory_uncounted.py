"""Takes memory that belongs to no process: memory files, System V segments, message queues, io_uring.

kind: memory, disk and what else is counted
must: find nothing
"""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
attempt("a memory file", lambda: os.memfd_create("hoard") > 0)
attempt("a segment", lambda: libc.shmget(0, 2**20, 0o1600) >= 0 or None)
attempt("a message queue", lambda: libc.msgget(0, 0o1600) >= 0 or None)
for number in (425, 319, 447, 323, 298, 321, 250, 248):
    attempt(f"call {number}", lambda n=number: libc.syscall(n, 0, 0, 0, 0, 0) >= 0 or None)
