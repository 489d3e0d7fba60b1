"""Takes memory that belongs to no process: what is written into sockets, made as large as may be, and read by nobody.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import os
import socket
import time


def fill():
    kept = []
    while True:
        kept += socket.socketpair()
        for one in kept[-2:]:
            one.setblocking(False)
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**30)
            except OSError:
                pass
            try:
                while one.send(b"x" * 2**16):
                    pass
            except BlockingIOError:
                pass


for _ in range(6):
    if os.fork() == 0:
        try:
            fill()
        except OSError:
            time.sleep(20)
        os._exit(0)
    time.sleep(0.5)
time.sleep(10)
found("sockets full of memory")
