"""Stops its own process, which then answers nobody.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
import os
import signal

os.kill(os.getpid(), signal.SIGSTOP)
