"""Reaches for the machine through /proc and /sys: switches, groups of processes, its keys, its log, its memory.

kind: network, sockets and devices
must: find nothing
"""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for path in "/sys /sys/fs/cgroup /sys/kernel /sys/firmware /boot /run /var/run /etc/ssh /proc/acpi /proc/scsi".split():
    attempt(path, lambda p=path: os.listdir(p) or None)
for path in ("/proc/kcore", "/proc/kmsg", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/slabinfo", "/proc/config.gz/x"):
    attempt(path, lambda p=path: open(p, "rb").read(1))
switches = "sysrq-trigger sys/kernel/core_pattern sys/kernel/modprobe sys/fs/binfmt_misc/register sys/vm/drop_caches"
for path in [*switches.split(), "irq/0/smp_affinity", "self/setgroups", "self/uid_map", "self/attr/current"]:
    attempt(f"wrote {path}", lambda p=path: open(f"/proc/{p}", "w"))
for number in (101, 175, 313, 246, 320, 321, 298, 323, 169, 103, 172, 173, 154, 163, 167, 179):
    attempt(f"call {number}", lambda n=number: libc.syscall(n, 0, 0, 0, 0, 0) >= 0 or None)
