"""Sets the clock, and uses the system's keyrings, which no namespace divides.

kind: network, sockets and devices
must: find nothing
"""
import ctypes
import time

libc = ctypes.CDLL(None, use_errno=True)
for clock in (time.CLOCK_REALTIME, time.CLOCK_TAI):
    attempt(f"set clock {clock}", lambda c=clock: time.clock_settime(c, 0.0) or True)
attempt("time of day", lambda: libc.settimeofday(b"\0" * 16, None) == 0 or None)
attempt("its speed", lambda: libc.adjtimex(b"\0" * 256) >= 0 or None)
attempt("a key", lambda: libc.syscall(248, b"user", b"k", b"x", 1, -3) >= 0 or None)
attempt("a key of somebody", lambda: libc.syscall(249, b"user", b"k", None, -3) >= 0 or None)
for operation in (0, 1, 6, 7, 10, 11):
    attempt(f"keyring {operation}", lambda o=operation: libc.syscall(250, o, -3, 0, 0, 0) >= 0 or None)
