"""Lets a child trace its parent, the kernel: whoever traces a process can put any code into it, and see every call.

kind: processes, signals and threads
must: find nothing
"""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
told, tell = os.pipe()
child = os.fork()
if child == 0:
    seized = [libc.ptrace(number, os.getppid(), 0, 0) for number in (16, 0x4206)]
    os.write(tell, b"traced" if 0 in seized else b"not")
    os._exit(0)
os.waitpid(child, 0)
if os.read(told, 10) != b"not":
    found("traced")
