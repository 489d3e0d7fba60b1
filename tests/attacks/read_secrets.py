"""Looks for the secrets of whoever grades: in the environment, in what processes were started with, in open files.

kind: reading what is not for students
must: find nothing
"""
import os

for name, value in os.environ.items():
    if SECRET in value:
        found(name)
for process in [p for p in os.listdir("/proc") if p.isdigit()]:
    attempt(f"environment of {process}", lambda p=process: SECRET.encode() in open(f"/proc/{p}/environ", "rb").read() or None)
    attempt(f"arguments of {process}", lambda p=process: SECRET.encode() in open(f"/proc/{p}/cmdline", "rb").read() or None)
for file in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        continue
    if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
        found(target)
