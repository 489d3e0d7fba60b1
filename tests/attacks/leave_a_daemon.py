"""Leaves processes behind that nobody is the parent of, and that ignore every signal that can be ignored.

kind: processes, signals and threads
must: leave nothing behind
"""
import ctypes
import os
import signal
import time

for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        ctypes.CDLL(None).prctl(15, MARK.encode(), 0, 0, 0)  # a name by which the test finds it, wherever it goes
        time.sleep(600)
        os._exit(0)
time.sleep(0.3)
print("three daemons")
