"""Landlock: the file system once more, by a mechanism of the kernel that knows nothing of mounts.

A second wall behind `places`: reading where it is allowed at all, writing in the private folder alone; no TCP, no
abstract sockets of others, no signals to processes outside. Kernels before 5.13, and those built without it, have none.
"""

import ctypes
import os
import struct

from autograder.grading.sandbox import calls

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_OF = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # rights that a version knows
_IOCTL_DEV = 1 << 15
_TCP, _SCOPES = 3, 3  # bind and connect; abstract unix sockets and signals


def version() -> int:
    """The version of Landlock's interface; 0 where there is none."""
    try:
        return calls.syscall(_CREATE, 0, 0, 1, what="landlock")
    except OSError:
        return 0


def restrict(writable: tuple[str, ...]) -> None:
    """From now on, write below `writable` alone. Needs no_new_privs. Does nothing where there is no Landlock."""
    abi = version()
    if abi == 0:
        return
    rights = _ALL_OF[max(known for known in _ALL_OF if known <= abi)]
    asked = struct.pack("=QQQ", rights, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = calls.syscall(_CREATE, ctypes.create_string_buffer(asked, 24), size, 0, what="landlock_create_ruleset")
    try:
        _allow(rules, "/", _READ_FILE | _READ_DIR | _EXECUTE)
        _allow(rules, "/dev", (_READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV) & rights)
        for folder in writable:
            _allow(rules, folder, rights)
        calls.syscall(_RESTRICT, rules, 0, what="landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(rules: int, folder: str, rights: int) -> None:
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        calls.syscall(_ADD, rules, 1, rule, 0, what="landlock_add_rule")
    finally:
        os.close(place)
