"""Asks for more of the machine than its share: priorities, real time, higher limits, the last to be ended for memory.

kind: processes, signals and threads
must: find nothing
"""
import ctypes
import os
import resource

libc = ctypes.CDLL(None, use_errno=True)
attempt("a priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -10) or True)
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    attempt("real time", lambda p=policy: os.sched_setscheduler(0, p, os.sched_param(10)) or True)
attempt("the disk first", lambda: libc.syscall(251, 1, 0, (1 << 13) | 0) == 0 or None)
attempt("last to be ended", lambda: open("/proc/self/oom_score_adj", "w").write("-1000"))
attempt("memory that stays", lambda: libc.mlockall(3) == 0 or None)
for name in ("DATA", "FSIZE", "NOFILE", "NPROC", "CPU", "CORE", "MSGQUEUE", "MEMLOCK"):
    what = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(what)
    if hard == resource.RLIM_INFINITY:
        found(f"{name} has no limit")
    attempt(f"more {name}", lambda w=what, h=hard: resource.setrlimit(w, (h + 1, h + 1)) or True)
