"""Fills the disk with what no list shows: files that were deleted while open, attributes of files, holes made real.

kind: memory, disk and what else is counted
must: be bounded by 64 MB
"""
import os

written, kept = 0, []
try:
    for number in range(300):
        kept.append(open(f"/tmp/gone{number}", "wb", buffering=0))
        os.unlink(f"/tmp/gone{number}")
        while written < 2**30 and kept[-1].tell() < 4 * 2**20:
            written += kept[-1].write(bytes(2**18))
except OSError:
    pass
for file in kept:
    try:
        os.posix_fallocate(file.fileno(), 0, 2**30)
        written += 2**30
    except OSError:
        pass
named = 0
try:
    for number in range(20_000):
        os.setxattr("/tmp/work", f"user.a{number}", bytes(60_000))
        named += 60_000
except OSError:
    pass
if written + named > 66 * 2**20:
    found(f"{written >> 20} MB and {named >> 20} MB of attributes")
kept.clear()
