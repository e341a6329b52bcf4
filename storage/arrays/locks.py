"""Locks between the threads and processes of a node: one byte of a file each.

They are *open file description* locks (Linux): two descriptors exclude each other wherever they were opened, so
threads are told apart as well as processes; the kernel gives a lock back when its holder dies; and nothing has to be
cleaned up, since a byte is no file. A forked child would share its parent's descriptors and keep their locks alive: so
it closes them first of all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable

# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = struct.Struct("hhqqi4x")
_held: set[int] = set()


def open_held(path: str, flags: int) -> int:
    """A descriptor that neither a new program nor a forked child keeps; a new file has mode 0600."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    _held.add(fd)
    return fd


def close_held(fd: int) -> None:
    """Give back all locks of `fd`, then close it."""
    _held.discard(fd)
    try:
        with contextlib.suppress(OSError):
            _set(fd, fcntl.F_UNLCK, 0, 0)
    finally:
        os.close(fd)


def byte_of(name: str) -> int:
    """The byte that stands for `name`; never byte 0, which is for the file itself."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 2) + 1


def try_lock(fd: int, byte: int) -> bool:
    """Lock a byte, unless somebody has it. The descriptor must be writable."""
    try:
        _set(fd, fcntl.F_WRLCK, byte, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(fd: int, byte: int) -> None:
    """Give a byte back."""
    _set(fd, fcntl.F_UNLCK, byte, 1)


def wait_lock(fd: int, byte: int, give_up: Callable[[], bool]) -> bool:
    """Lock a byte; False as soon as `give_up()` says so. Asks again and again, at most 20 ms apart.

    The kernel could wait by itself, but for ever: a holder that was stopped (Ctrl-Z, a debugger) would stop everybody.
    """
    pause = 0.0002
    while not try_lock(fd, byte):
        if give_up():
            return False
        time.sleep(pause)
        pause = min(1.5 * pause, 0.02)
    return True


def _set(fd: int, kind: int, start: int, length: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))


def _forked() -> None:
    for fd in _held:
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_forked)
