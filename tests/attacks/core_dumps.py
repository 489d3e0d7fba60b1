"""Crashes children that are large, so that the system writes what was in their memory somewhere.

kind: memory, disk and what else is counted
must: find nothing
"""
import glob
import os
import resource

attempt("a core of any size", lambda: resource.setrlimit(resource.RLIMIT_CORE, (2**30, 2**30)) or True)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os.abort()
    _, status = os.waitpid(child, 0)
    if os.WCOREDUMP(status):
        found("a core was written")
for place in (".", "/tmp", "/", os.environ["HOME"]):
    for name in glob.glob(f"{place}/core*"):
        found(name)
attempt("where cores go", lambda: open("/proc/sys/kernel/core_pattern", "w"))
