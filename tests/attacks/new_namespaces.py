"""Makes namespaces of its own, in which it would be root again, and mounts, and changes its root.

kind: rights and namespaces
must: find nothing
"""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000, 0x80):
    attempt(f"unshare {flag:#x}", lambda f=flag: libc.unshare(f) == 0 or None)
    if flag != 0x80:

        def cloned(f=flag):
            child = libc.syscall(56, f | 17, 0, 0, 0, 0)
            if child == 0:
                os._exit(0)
            return child > 0 or None

        attempt(f"clone {flag:#x}", cloned)
attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 or None)
attempt("umount", lambda: libc.umount2(b"/proc", 2) == 0 or None)
attempt("chroot", lambda: os.chroot("/tmp") or True)
attempt("another user", lambda: os.setuid(0) or True)
attempt("another group", lambda: os.setgroups([0]) or True)
attempt("a device", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(254, 0)) or True)
attempt("the clock", lambda: libc.settimeofday(b"\0" * 16, None) == 0 or None)
attempt("the host's name", lambda: libc.sethostname(b"mine", 4) == 0 or None)
for kind in ("mnt", "pid", "net", "user"):
    attempt(f"setns {kind}", lambda k=kind: libc.setns(os.open(f"/proc/1/ns/{k}", os.O_RDONLY), 0) == 0 or None)
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
    if int(status[name], 16):
        found(f"{name} {status[name].strip()}")
if status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2":
    found("no_new_privs or seccomp is missing")
