"""Waits in C with the interpreter's lock held, so that no other thread of the process can run either.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
import ctypes
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    ctypes.PyDLL(None).pause()
