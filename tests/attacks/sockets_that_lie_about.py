"""Connects to every socket it can name: abstract ones, those in files, those of the kernels beside it, its own end of them.

kind: network, sockets and devices
must: find nothing
"""
import os
import re
import socket

names = {line.split()[-1] for line in open("/proc/net/unix") if re.search(r"[@/]", line)}
for name in names:
    if name.startswith("@") or os.path.exists(name):
        found(name)
for name in (TARGETS["abstract"], "/tmp/.X11-unix/X0", "/org/freedesktop/systemd1/notify"):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(1)
    attempt(f"abstract {name}", lambda o=one, n=name: o.connect("\0" + n) or True)
for number in range(1, 20):
    for port in range(1, 6):
        one = socket.socket(socket.AF_UNIX)
        for folder in ("/tmp", TARGETS["checkout"]):
            attempt("another kernel", lambda o=one, f=folder, n=number, p=port: o.connect(f"{f}/kernels/{n}/k-{p}") or True)
mine = socket.socket(socket.AF_UNIX)
mine.bind("\0" + TARGETS["abstract"])
