"""Writes bytes that are no messages into every open socket of the kernel, past the library that owns them.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
import os
import socket

for file in map(int, os.listdir("/proc/self/fd")):
    try:
        one = socket.socket(fileno=os.dup(file))
        one.setblocking(False)
        one.send(b"\xff" * 100_000)
        socket.send_fds(one, [b"kernel"], [0])
    except OSError:
        pass
