"""Signals and traces every process it can name: its parents, the grader by number, all there are.

kind: processes, signals and threads
must: find nothing

It is run in a PID namespace alone: `os.kill(-1, ...)` is only reached where this process is number 2 of one.
"""
import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
assert os.getpid() < 10 and os.readlink("/proc/self/ns/pid") != TARGETS["pid_namespace"], "not in a sandbox: stop"
for process in {TARGETS["grader"], TARGETS["bystander"], os.getppid()} - {0, 1}:
    attempt(f"process {process} is there", lambda p=process: os.kill(p, 0) or True)
    attempt(f"process {process} is seen", lambda p=process: os.listdir(f"/proc/{p}"))
    attempt(f"process {process} is traced", lambda p=process: libc.ptrace(16, p, 0, 0) == 0 or None)
for process in (1, os.getpid()):
    attempt(f"traced {process}", lambda p=process: libc.ptrace(16, p, 0, 0) == 0 or None)
attempt("memory of 1", lambda: open("/proc/1/mem", "rb"))
attempt("a process hides its memory", lambda: libc.prctl(4, 0, 0, 0, 0) == 0 or None)
for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
    os.kill(1, number)  # the first of a namespace does not hear those from inside
attempt("another process", lambda: os.kill(-1, signal.SIGCONT) or True)
