"""Recurses without a limit, in Python and in C, until the stack or the memory is used up.

kind: endless loops and early ends
must: be stopped, or fail
"""
import sys

sys.setrecursionlimit(10**9)
deep = []
for _ in range(10**6):
    deep = [deep]
try:
    repr(deep)
except (RecursionError, MemoryError):
    pass


def again(x):
    return max(x, key=lambda _: again(x))


try:
    again([1, 2])
except (RecursionError, MemoryError):
    pass
