"""Reaches hidden files under other names: links, hard links, `..`, open files opened again, the folder of a descriptor.

kind: reading what is not for students
must: find nothing
"""
import os

hidden = [TARGETS[name] for name in ("gradebook", "home_file", "private_file", "neighbour", "solutions")]
up = "/tmp/work/" + "../" * 20
for number, path in enumerate(hidden):
    attempt(f"{path} by ..", lambda p=path: os.stat(up + p.lstrip("/")))
    attempt(f"{path} by its root", lambda p=path: os.stat(f"/proc/self/root{p}"))
    attempt(f"{path} by a folder", lambda p=path: os.stat(p, dir_fd=os.open("/", os.O_PATH)))
    attempt(f"{path} by a hard link", lambda p=path, n=number: os.link(p, f"/tmp/hard{n}") or True)

    def linked(p=path, n=number):
        os.symlink(p, f"/tmp/soft{n}")
        return os.stat(f"/tmp/soft{n}")

    attempt(f"{path} by a link", linked)
attempt("a system file by a hard link", lambda: os.link("/etc/passwd", "/tmp/passwd") or True)
attempt("a package by a rename", lambda: os.rename(os.__file__, "/tmp/os.py") or True)
held = os.open(os.__file__, os.O_PATH)
attempt("opened again to write", lambda: os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
os.close(held)
