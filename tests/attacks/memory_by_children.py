"""Takes memory in several processes, each below the limit of one, and keeps it.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import os
import time

for _ in range(5):
    if os.fork() == 0:
        hoard = bytearray(b"x") * (150 * 2**20)
        time.sleep(30)
        os._exit(0)
    time.sleep(0.4)
time.sleep(20)
found("750 MB in five processes")
