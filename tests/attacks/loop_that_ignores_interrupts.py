"""Waits for ever, with every interrupt ignored or caught.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
import signal
import time

signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        time.sleep(0.1)
    except BaseException:
        pass
