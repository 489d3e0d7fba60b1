"""Starts a child that keeps all of the kernel's sockets open, and ends the kernel: is it noticed?

kind: processes, signals and threads
must: end its own process alone
"""
import os
import time

if os.fork() == 0:
    os.setsid()
    time.sleep(600)
    os._exit(0)
os._exit(1)
