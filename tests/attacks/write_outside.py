"""Writes, links, renames and makes files wherever it can, and changes the packages that the next student will import.

kind: writing for others
must: find nothing
"""
import os
import sys

import autograder
import numpy

places = ["/", "/etc", "/usr/lib", "/dev", "/proc/sys/kernel", "/root", os.path.dirname(autograder.__file__)]
places += [os.path.dirname(numpy.__file__), sys.prefix, sys.base_prefix, TARGETS["checkout"], TARGETS["classroom"], *sys.path]
for place in [place for place in places if not place.startswith("/tmp")]:
    attempt(f"wrote in {place}", lambda p=place: open(f"{p}/written_by_a_student.pth", "w"))
    attempt(f"made a folder in {place}", lambda p=place: os.mkdir(f"{p}/made_by_a_student") or True)
    attempt(f"linked into {place}", lambda p=place: os.symlink("/etc/passwd", f"{p}/linked_by_a_student") or True)
for file in (autograder.__file__, numpy.__file__, "/etc/passwd", sys.executable):
    attempt(f"changed {file}", lambda f=file: open(f, "a"))
    attempt(f"opened the rights of {file}", lambda f=file: os.chmod(f, 0o777) or True)
    attempt(f"removed {file}", lambda f=file: os.remove(f) or True)
for name in ("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "net/ipv4/ip_forward"):
    attempt(f"set {name}", lambda n=name: open(f"/proc/sys/{n}", "w").write("1"))
