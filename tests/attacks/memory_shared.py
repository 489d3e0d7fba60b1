"""Takes memory that is shared, which a limit on a process's own data does not count.

kind: memory, disk and what else is counted
must: be stopped for memory
"""
import mmap
import time

areas = []
for _ in range(10):
    area = mmap.mmap(-1, 100 * 2**20)
    for page in range(0, len(area), 4096):
        area[page] = 1
    areas.append(area)
    time.sleep(0.1)
time.sleep(5)
found("1 GB of shared memory")
