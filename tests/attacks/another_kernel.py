"""Asks the warm process for a kernel without a sandbox: by its channel, by sockets that lie about, by open files.

kind: network, sockets and devices
must: find nothing
"""
import os
import socket

for file in map(int, os.listdir("/proc/self/fd")):
    try:
        one = socket.socket(fileno=os.dup(file))
        peer = one.getpeername() if one.family == socket.AF_UNIX else "?"
    except OSError:
        continue
    if one.getsockname() == "" and peer == "" and one.type == socket.SOCK_STREAM:
        attempt(f"asked at {file}", lambda o=one: socket.send_fds(o, [b"kernel"], [0]) and None)
for top, folders, files in os.walk("/"):
    if top.startswith(("/proc", "/usr")) or top.endswith(("site-packages", "lib")):
        folders.clear()  # read-only libraries: thousands of files and no sockets
    for name in files:
        path = os.path.join(top, name)
        if not os.path.islink(path) and os.path.exists(path) and os.stat(path).st_mode & 0o170000 == 0o140000:
            found(path)
