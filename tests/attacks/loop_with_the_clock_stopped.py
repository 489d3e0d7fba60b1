"""Stops every clock that Python asks, and loops: a limit that is measured inside would never come.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
import time

time.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0
time.sleep = lambda *_: None
while True:
    pass
