"""Writes until nothing more can be written, in /tmp, /dev/shm and everywhere else.

kind: memory, disk and what else is counted
must: be bounded by 64 MB
"""
import os

written = 0
for folder in ("/tmp", "/dev/shm", ".", os.environ["HOME"], "/var/tmp", "/run", "/"):
    for number in range(40):
        try:
            with open(f"{folder}/full{number}", "wb", buffering=0) as file:
                while written < 2**30:
                    written += file.write(bytes(2**20))
        except OSError:
            pass
made = 0
try:
    while made < 10**6:
        os.mkdir(f"/tmp/f{made}")
        made += 1
except OSError:
    pass
if written > 66 * 2**20:
    found(f"{written / 2**20:.0f} MB")
if made >= 10**6:
    found("a million files")
print("written", written // 2**20, "MB")
