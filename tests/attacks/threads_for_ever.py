"""Starts threads until no more can be started.

kind: processes, signals and threads
must: be stopped, or fail
"""
import threading
import time

started = 0
try:
    for _ in range(500):
        threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
if started >= 500:
    found("500 threads")
time.sleep(1)
