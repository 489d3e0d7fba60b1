"""Forks the kernel itself and lets both go on: two processes answer on the same sockets.

kind: processes, signals and threads
must: harm itself alone
seconds: 3
"""
import os

os.fork()
