"""Forks until nothing can be forked any more, and each child does the same. Bounded to 64 processes by the limit.

kind: processes, signals and threads
must: be stopped, or fail
"""
import os
import time

assert os.readlink("/proc/self/ns/pid") != TARGETS["pid_namespace"], "not in a sandbox: stop"
until = time.monotonic() + 6
while time.monotonic() < until:
    try:
        if os.fork() == 0:
            time.sleep(0.01)
    except OSError:
        time.sleep(0.1)
os._exit(0)
