"""Takes memory in processes whose first thread has ended: the system tells of them as if they were dead.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import ctypes
import os
import threading
import time


def keep():
    hoard = bytearray(b"x") * (150 * 2**20)
    time.sleep(15)
    os._exit(len(hoard) % 2)


for _ in range(6):
    if os.fork() == 0:
        threading.Thread(target=keep).start()
        ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # this thread alone
    time.sleep(0.5)
time.sleep(8)
found("900 MB in six processes that look dead")
