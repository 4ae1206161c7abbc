"""A filter of system calls: what a program of the sandbox has no business with is refused by the kernel.

It is classic BPF over `struct seccomp_data`, as in seccomp(2) and linux/{seccomp,filter,audit,sched}.h. Numbers of calls
are those of Linux 6.18 (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import errno
import platform
import struct

from agentflow.exceptions import ToolError

_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD, _UNIX, _X32 = 0x00010000, 1, 0x40000000
_SECCOMP_MODE = 22
_STUFF_INPUT, _PASTE = 0x5412, 0x541C
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Name to (x86_64, aarch64); None where an architecture has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Processes: there is one, and it stays what it is.
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "seccomp": (317, 277),
    # Users and rights.
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    # Namespaces and mounts.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # The kernel and the machine.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "iopl": (172, None),
    "ioperm": (173, None),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "fanotify_init": (300, 262),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # Memory that no limit of a process counts, and pages of others.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "vmsplice": (278, 75),
    "splice": (275, 76),
    "tee": (276, 77),
    "remap_file_pages": (216, 234),
}
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR, _PRCTL, _IOCTL = (
    (56, 220),
    (435, 435),
    (41, 198),
    (53, 199),
    (157, 167),
    (16, 29),
)


def is_known(machine: str | None = None) -> bool:
    """Whether there is a filter for this kind of processor."""
    return (machine or platform.machine()) in _ARCHES


def refusing(machine: str | None = None) -> bytes:
    """The filter for this kind of processor, as an array of `struct sock_filter`; raises `ToolError` for others."""
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        raise ToolError(f"there is no filter of system calls for `{machine}`")

    column = list(_ARCHES).index(machine)
    lines = [
        _line(_LOAD, _ARCH),
        _line(_EQUAL, _ARCHES[machine], yes=1),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        # The other numbering of the same processor would pass each comparison below.
        lines += [_line(_AT_LEAST, _X32, no=1), _line(_RETURN, _KILL)]

    # A new way to make threads, whose flags lie where a filter cannot look: the C library then takes the old one.
    lines += _refused(_CLONE3[column], errno.ENOSYS)
    for numbers in _REFUSED.values():
        lines += _refused(numbers[column], errno.EPERM)

    lines += _unless_any(_CLONE[column], 0, _CLONE_THREAD)
    for call in (_SOCKET, _SOCKETPAIR):
        lines += _unless(call[column], 0, _UNIX)

    lines += _if_one(_PRCTL[column], 0, (_SECCOMP_MODE,))
    lines += _if_one(_IOCTL[column], 1, (_STUFF_INPUT, _PASTE))
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _line(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One `struct sock_filter`: an operation, how many lines to leave out where it holds and where not, its operand."""
    return struct.pack("=HBBI", code, yes, no, value)


def _refused(number: int | None, error: int) -> list[bytes]:
    if number is None:
        return []

    return [_line(_EQUAL, number, no=1), _line(_RETURN, _REFUSE | error)]


def _argument(place: int) -> bytes:
    """Load the lower half of an argument, which is what the kernel looks at in those that are compared here."""
    return _line(_LOAD, _ARGUMENT + 8 * place)


def _unless_any(number: int, place: int, bits: int) -> list[bytes]:
    refuse = [_line(_ANY_OF, bits, yes=1), _line(_RETURN, _REFUSE | errno.EPERM)]
    return _case(number, [_argument(place), *refuse, _line(_RETURN, _ALLOW)])


def _unless(number: int, place: int, value: int) -> list[bytes]:
    refuse = [_line(_EQUAL, value, yes=1), _line(_RETURN, _REFUSE | errno.EPERM)]
    return _case(number, [_argument(place), *refuse, _line(_RETURN, _ALLOW)])


def _if_one(number: int, place: int, values: tuple[int, ...]) -> list[bytes]:
    refuse = [line for value in values for line in _refused(value, errno.EPERM)]
    return _case(number, [_argument(place), *refuse, _line(_RETURN, _ALLOW)])


def _case(number: int, then: list[bytes]) -> list[bytes]:
    return [_line(_EQUAL, number, no=len(then)), *then]
