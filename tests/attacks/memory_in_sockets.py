"""Takes memory that belongs to no process: what is written into sockets and pipes, and read by nobody.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import os
import socket
import time

for _ in range(6):
    if os.fork() == 0:
        kept, taken = [], 0
        try:
            while True:
                pair = socket.socketpair()
                kept += pair
                for one in pair:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**30)
                    one.setblocking(False)
                    try:
                        while True:
                            taken += one.send(b"x" * 2**16)
                    except BlockingIOError:
                        pass
        except OSError:
            pass
        time.sleep(30)
        os._exit(0)
    time.sleep(0.5)
time.sleep(15)
found("sockets full of memory")
