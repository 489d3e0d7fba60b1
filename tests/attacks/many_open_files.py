"""Opens files, pipes and sockets until there are no more, and keeps them all.

kind: memory, disk and what else is counted
must: find nothing
"""
import os
import socket

kept = []
try:
    while len(kept) < 5000:
        kept += [os.open("/dev/null", os.O_RDONLY), *os.pipe(), *socket.socketpair()]
except OSError:
    pass
if len(kept) >= 5000:
    found("5000 files")
del kept[:50]
