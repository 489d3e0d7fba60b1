"""A filter of system calls, assembled by hand: what no answer needs and attacks on a kernel begin with is refused.

It is a list of what is refused, with a ceiling: a call that is newer than this list is "not there" (ENOSYS, for which
libraries have another way). An allow-list would end answers whenever a library begins to use another harmless call.
"""

import ctypes
import errno
import socket
import struct

from autograder.grading.sandbox import calls

# Name -> number on x86_64 and on aarch64; None where there is no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "move_pages": (279, 239), "migrate_pages": (256, 238),
    # namespaces and file systems
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "statmount": (457, 457), "listmount": (458, 458), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "quotactl": (179, 60), "quotactl_fd": (443, 443), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "lookup_dcookie": (212, 18),
    # the kernel itself
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "reboot": (169, 142), "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "uselib": (134, None), "vhangup": (153, 58), "settimeofday": (164, 170), "adjtimex": (159, 171),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    # keyrings, which no namespace divides
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # memory that is counted nowhere while no process has it mapped
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "shmdt": (67, 197), "msgget": (68, 186), "msgsnd": (69, 189), "semget": (64, 190),
    "mq_open": (240, 180),
}  # fmt: skip
CLONE, CLONE3, SOCKET, SOCKETPAIR, PRCTL = (56, 220), (435, 435), (41, 198), (53, 199), (157, 167)
SETSOCKOPT = (54, 208)
NEWEST = 466  # the last call that was looked at when this list was made (Linux 6.13)
X32 = 0x40000000  # the same calls under other numbers, on x86_64
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Of clone, every new namespace; the lowest byte of its flags is a signal.
NEW_NAMESPACES = (
    calls.CLONE_NEWNS | calls.CLONE_NEWUTS | calls.CLONE_NEWIPC | calls.CLONE_NEWUSER | calls.CLONE_NEWPID
    | calls.CLONE_NEWNET | calls.CLONE_NEWCGROUP
)  # fmt: skip
# The kernel's own channels need AF_UNIX. AF_NETLINK reaches this namespace's kernel alone, and its "route" part is what
# libzmq asks for the machine's addresses: it aborts the process when it may not.
AF_NETLINK, NETLINK_ROUTE = 16, 0

_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# What waits in a socket is memory that belongs to no process: how much may wait in each stays as the system has it.
SOL_SOCKET, SO_SNDBUF, SO_SNDBUFFORCE, SO_RCVBUF, SO_RCVBUFFORCE = 1, 7, 32, 8, 33
BUFFERS = (SO_SNDBUF, SO_SNDBUFFORCE, SO_RCVBUF, SO_RCVBUFFORCE)
_NUMBER, _ARCH, _FIRST, _SECOND, _THIRD = 0, 4, 16, 24, 32  # of struct seccomp_data, the low halves of arguments


def _error(number: int) -> int:
    return 0x00050000 | number


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter as instructions (code, jump if true, jump if false, constant)."""
    which = list(ARCHITECTURES).index(machine)
    out: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),  # the calls of another architecture (32 bit) have other numbers
        (_LOAD, 0, 0, _NUMBER),
    ]

    def answer(jump: int, value: int, result: int) -> None:
        out.append((jump, 0, 1, value))
        out.append((_RETURN, 0, 0, result))

    answer(_JGE, NEWEST + 1, _error(errno.ENOSYS))  # X32 numbers lie above it too
    for numbers in REFUSED.values():
        if numbers[which] is not None:
            answer(_JEQ, numbers[which], _error(errno.EPERM))
    answer(_JEQ, CLONE3[which], _error(errno.ENOSYS))  # its flags lie in memory; without it, libraries use clone
    out += _of(CLONE[which], [(_LOAD, 0, 0, _FIRST), (_JSET, 0, 1, NEW_NAMESPACES), (_RETURN, 0, 0, _error(errno.EPERM))])
    dumpable = [(_LOAD, 0, 0, _FIRST), (_JEQ, 0, 1, calls.PR_SET_DUMPABLE), (_RETURN, 0, 0, _error(errno.EPERM))]
    out += _of(PRCTL[which], dumpable)  # a process must not hide its memory from whoever counts it
    sizes = [(_LOAD, 0, 0, _SECOND), (_JEQ, 0, len(BUFFERS) + 2, SOL_SOCKET), (_LOAD, 0, 0, _THIRD)]
    sizes += [(_JEQ, len(BUFFERS) - place, int(place == len(BUFFERS)), option) for place, option in enumerate(BUFFERS, 1)]
    out += _of(SETSOCKOPT[which], [*sizes, (_RETURN, 0, 0, _error(errno.EPERM))])
    for number in (SOCKET[which], SOCKETPAIR[which]):
        unix_or_route = [
            (_LOAD, 0, 0, _FIRST),
            (_JEQ, 4, 0, socket.AF_UNIX),
            (_JEQ, 0, 2, AF_NETLINK),
            (_LOAD, 0, 0, _THIRD),
            (_JEQ, 1, 0, NETLINK_ROUTE),
            (_RETURN, 0, 0, _error(errno.EAFNOSUPPORT)),
        ]
        out += _of(number, unix_or_route)
    return [*out, (_RETURN, 0, 0, _ALLOW)]


def _of(number: int, body: list) -> list:
    """`body` for the call `number`, allowed where it runs through; others jump over it."""
    return [(_JEQ, 0, len(body) + 1, number), *body, (_RETURN, 0, 0, _ALLOW)]


def install() -> None:
    """Filter this process's calls from now on, and those of all it starts. Needs no_new_privs."""
    if calls.machine() not in ARCHITECTURES:
        raise calls.SandboxRefused(f"there is no filter of system calls for {calls.machine()} processors here.")
    instructions = b"".join(struct.pack("=HBBI", *one) for one in program(calls.machine()))
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, ctypes.addressof(buffer)))
    calls.prctl(calls.PR_SET_SECCOMP, 2, ctypes.addressof(head))  # 2: SECCOMP_MODE_FILTER
