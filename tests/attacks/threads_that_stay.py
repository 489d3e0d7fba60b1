"""Leaves threads behind that work on after the cell has ended.

kind: processes, signals and threads
must: find nothing
"""
import threading
import time


def work():
    until = time.monotonic() + 3
    while time.monotonic() < until:
        sum(range(1000))
        time.sleep(0.01)


for _ in range(20):
    threading.Thread(target=work, daemon=False).start()
