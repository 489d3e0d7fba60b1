"""Reads and writes the memory, the files and the state of the processes beside it, by every call there is.

kind: processes, signals and threads
must: find nothing
"""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(64)
there = {1, os.getppid(), TARGETS["grader"], TARGETS["bystander"]} - {0, os.getpid()}
for process in there:
    for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "io", "fd/3", "pagemap", "smaps"):
        attempt(f"{process}/{name}", lambda p=process, n=name: open(f"/proc/{p}/{n}", "rb").read(16) or None)
    for name in ("mem", "oom_score_adj", "comm", "uid_map", "clear_refs", "timerslack_ns", "loginuid"):
        attempt(f"wrote {process}/{name}", lambda p=process, n=name: open(f"/proc/{p}/{n}", "wb").write(b"0"))
    pieces = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    for call in (libc.process_vm_readv, libc.process_vm_writev):
        attempt(f"memory of {process}", lambda p=process, c=call: c(p, pieces, 1, pieces, 1, 0) >= 0 or None)
    if process != 1:  # its own sandbox's, whose end is its own
        attempt(f"limits of {process}", lambda p=process: __import__("resource").prlimit(p, 7, (10, 10)))

    def its_files(p=process):
        file = os.pidfd_open(p)
        return [n for n in range(10) if libc.syscall(438, file, n, 0) >= 0] or None

    attempt(f"files of {process}", its_files)
