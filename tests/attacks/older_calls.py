"""Uses system calls under the numbers of other architectures (x32), which a filter may forget.

kind: rights and namespaces
must: find nothing
"""
import ctypes
import platform

libc = ctypes.CDLL(None, use_errno=True)
if platform.machine() == "x86_64":
    for number in (521, 272, 165, 41):
        attempt(f"x32 {number}", lambda n=number: libc.syscall(0x40000000 | n, 0, 0, 0, 0, 0) >= 0 or None)
for number in (467, 468, 500, 1000):
    attempt(f"call {number}", lambda n=number: libc.syscall(n, 0, 0, 0, 0, 0) >= 0 or None)
