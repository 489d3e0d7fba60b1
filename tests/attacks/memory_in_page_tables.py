"""Takes memory that the system needs to know where other memory is: it reads one byte here and there of a range without end.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import ctypes
import mmap
import time

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
size, step = 2**41, 2**21
place = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(size), 15)  # no huge pages
taken = 0
for at in range(place, place + size, step):
    ctypes.string_at(at, 1)
    taken += 4096
    if taken % (50 * 2**20) == 0:
        time.sleep(0.05)
    if taken > 1500 * 2**20:
        break
time.sleep(3)
found("1.5 GB of page tables")
