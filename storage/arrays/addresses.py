"""Address ranges: reserve virtual memory, lay files and zeros into it, give it back.

The machine underneath:

* A *reservation* is an inaccessible private mapping. It costs address space, no memory.
* Pages of files are mapped private and writable: reading shares the kernel's page cache, writing makes a private copy
  of one page. Zeros are private anonymous memory, which appears when it is first touched.
* `MAP_FIXED` replaces what was mapped, in one step and at the same addresses: views keep working.
* `MADV_DONTNEED` throws private copies away, so that the file (or zeros) shows again: that is *abort*.
* Huge pages are refused for zeros: otherwise one written byte would dirty 2 MiB.
* `RLIMIT_DATA` counts what is private and writable, touched or not. Yet the kernel grants a mapping that replaces one
  as large whatever that limit says, and refuses the *next* allocation of the process: so memories ask first.

`ctypes` on libc is enough: no compiler, no signal handler.
"""

from __future__ import annotations

import bisect
import ctypes
import errno
import mmap
import os
import resource
from pathlib import Path
from typing import Any

from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import AddressSpaceError

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 0x02, 0x10, 0x20, 0x4000
MAP_FIXED_NOREPLACE = 0x100000
MADV_DONTNEED, MADV_NOHUGEPAGE = 4, 15
_FAILED = ctypes.c_void_p(-1).value

#: Bytes of a finite `RLIMIT_DATA` or `RLIMIT_AS` that are left to everything but arrays.
SPARE = 16 << 20

#: Bytes a reservation takes at least, so that small arrays grow without moving.
MINIMUM = 1 << 32

#: Addresses end here on every 64-bit Linux (47 bits of user space).
LARGEST = 1 << 46

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def system_page() -> int:
    """Bytes of a page of this machine; stored runs must be multiples of it to be mapped."""
    return mmap.PAGESIZE


class Reservation:
    """`size` bytes of addresses from `start`. Offsets and lengths are bytes, multiples of `PAGE`.

    Not thread-safe: its owner is one connection. Released by `release()`, at the latest when collected.
    """

    def __init__(self, nbytes: int, *, writable: bool = True) -> None:
        if system_page() > PAGE:
            raise AddressSpaceError(
                errno.ENOTSUP, f"this kernel's pages are {system_page()} bytes; arrays are stored in pages of {PAGE}"
            )
        self.writable = writable
        self._protection = PROT_READ | PROT_WRITE if writable else PROT_READ
        self.size = self._generous(nbytes)
        self.start = self._reserve(nbytes)

    def _generous(self, nbytes: int) -> int:
        if nbytes > LARGEST:
            raise AddressSpaceError(
                errno.ENOMEM, f"an array of {nbytes:,} bytes does not fit into the {LARGEST:,} that Linux can address"
            )
        return min(max(MINIMUM, _up(2 * nbytes)), LARGEST)

    def _reserve(self, nbytes: int) -> int:
        """Reserve generously; where the machine refuses, be content with less, at least with what is needed."""
        least = max(_up(nbytes), PAGE)
        # Under a limit the rest of the process needs addresses as well: no more than a half of what is left.
        self.size = max(min(self.size, addresses_allowed() // 2 // PAGE * PAGE), least)
        while True:
            try:
                return _mmap(None, self.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
            except OSError as error:
                if self.size <= least:
                    raise _refused(nbytes, error) from error
                self.size = max(self.size // 4 // PAGE * PAGE, least)

    def extend(self, nbytes: int) -> bool:
        """Take the addresses behind the end, so that `nbytes` fit; False if others live there."""
        wanted = self._generous(nbytes)
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
        for size in (wanted, _up(nbytes)):
            try:
                at = _mmap(self.start + self.size, size - self.size, PROT_NONE, flags)
            except OSError:
                continue
            if at == self.start + self.size:
                self.size = size
                return True
            _libc.munmap(at, size - self.size)  # kernels before 4.17 take the address for a hint
        return False

    def refuse_beyond_limit(self, nbytes: int) -> None:
        """Raise `AddressSpaceError` when `RLIMIT_DATA` has no room for `nbytes` that show nothing yet."""
        if self.writable and nbytes > data_allowed():
            raise _refused(nbytes, OSError(errno.ENOMEM, ""), _limit(*_DATA))

    def map_zeros(self, offset: int, length: int) -> None:
        """Let [offset, offset + length) read as zeros."""
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        try:
            _mmap(self.start + offset, length, self._protection, flags)
        except OSError as error:
            raise _refused(length, error) from error
        _libc.madvise(self.start + offset, length, MADV_NOHUGEPAGE)

    def map_file(self, offset: int, length: int, fd: int, file_offset: int) -> None:
        """Let [offset, offset + length) show the file from `file_offset` on; writing stays private."""
        flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED
        try:
            _mmap(self.start + offset, length, self._protection, flags, fd, file_offset)
        except OSError as error:
            raise _refused(length, error) from error

    def discard(self, offset: int, length: int) -> None:
        """Throw private copies away: what was mapped shows again."""
        if _libc.madvise(self.start + offset, length, MADV_DONTNEED):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def copy_from(self, other: Reservation, offset: int, length: int) -> None:
        """Copy bytes from the same place of another reservation; both must be mapped there."""
        ctypes.memmove(self.start + offset, other.start + offset, length)

    def clear(self, offset: int, length: int) -> None:
        """Write zeros; any byte offset and length."""
        ctypes.memset(self.start + offset, 0, length)

    def buffer(self) -> ctypes.Array[ctypes.c_ubyte]:
        """The whole range as an object that ndarrays can stand on. Touch only what is mapped."""
        return (ctypes.c_ubyte * self.size).from_address(self.start)

    def memory(self, offset: int, length: int) -> memoryview:
        """Some mapped bytes, for writing them to a file."""
        return memoryview((ctypes.c_ubyte * length).from_address(self.start + offset)).cast("B")

    def release(self) -> None:
        """Give the addresses back. Whoever still holds a view of them must not be."""
        start, self.start = self.start, 0
        if start:
            _libc.munmap(start, self.size)

    def __del__(self, _munmap: Any = _libc.munmap) -> None:
        start = self.__dict__.get("start", 0)
        if start:
            _munmap(start, self.size)

    def __repr__(self) -> str:
        return f"<Reservation {self.start:#x}+{self.size:#x}>"


def _up(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE


def _mmap(at: int | None, length: int, protection: int, flags: int, fd: int = -1, offset: int = 0) -> int:
    address = _libc.mmap(at, length, protection, flags, fd, offset)
    if address == _FAILED or address is None:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(address)


def _refused(nbytes: int, error: OSError, cause: str = "") -> AddressSpaceError:
    """The machine's refusal, with the setting that causes it, else the one that most probably does."""
    reason = os.strerror(error.errno or 0)
    return AddressSpaceError(
        error.errno, f"cannot map {nbytes:,} bytes of an array ({reason}): {cause or _likely_cause()}"
    )


def _limit(kind: int, name: str, taken: str, option: str) -> str:
    """What to do about a limit of this process; nothing when it has none."""
    limit = resource.getrlimit(kind)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return (
        f"{name} allows this process {limit:,} bytes, of which it has taken {_status(taken):,}; raise it with "
        f"`ulimit {option} unlimited`, or close arrays or connections that are no longer used"
    )


_ADDRESSES = (resource.RLIMIT_AS, "RLIMIT_AS", "VmSize", "-v")
_DATA = (resource.RLIMIT_DATA, "RLIMIT_DATA", "VmData", "-d")


def _likely_cause() -> str:
    limited = _limit(*_ADDRESSES) or _limit(*_DATA)
    if limited:
        return limited
    if _sysctl("overcommit_memory") == 2:
        return (
            "vm.overcommit_memory is 2, which refuses reservations; set it to 0 or 1 (`sysctl vm.overcommit_memory=0`)"
        )
    with Path("/proc/self/maps").open("rb") as maps:
        count = sum(1 for _ in maps)
    allowed = _sysctl("max_map_count")
    if allowed and count > 0.9 * allowed:
        return f"the process has {count:,} mappings and vm.max_map_count is {allowed:,}; raise it with sysctl"
    return "close arrays or connections that are no longer used"


def addresses_allowed() -> int:
    """Bytes of addresses that arrays may still take under `RLIMIT_AS`; what Python needs is kept."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return LARGEST if limit == resource.RLIM_INFINITY else limit - _status("VmSize") - SPARE


def data_allowed() -> int:
    """Bytes of writable private memory that arrays may still take under `RLIMIT_DATA`; what Python needs is kept."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return LARGEST if limit == resource.RLIM_INFINITY else limit - _status("VmData") - SPARE


def short_of_data() -> bool:
    """Whether more than a half of a finite `RLIMIT_DATA` is taken."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return limit != resource.RLIM_INFINITY and 2 * _status("VmData") > limit


def mappings_allowed() -> int:
    """Mappings that arrays of this process may take: a half of `vm.max_map_count`."""
    if not _allowed:
        _allowed.append((_sysctl("max_map_count") or 65530) // 2)
    return _allowed[0]


_allowed: list[int] = []


def count_mappings(ranges: list[tuple[int, int]]) -> list[int]:
    """How many mappings of this process lie within each of some disjoint ranges of addresses."""
    order = sorted(range(len(ranges)), key=lambda index: ranges[index][0])
    starts = [ranges[index][0] for index in order]
    counted = [0] * len(ranges)
    with Path("/proc/self/maps").open("rb") as maps:
        for line in maps:
            at = int(line[: line.index(b"-")], 16)
            position = bisect.bisect_right(starts, at) - 1
            if position >= 0 and at < ranges[order[position]][1]:
                counted[order[position]] += 1
    return counted


def _status(name: str) -> int:
    """A size of this process, in bytes; 0 where `/proc` does not tell."""
    try:
        found = Path("/proc/self/status").read_bytes().partition(b"\n%s:" % name.encode())[2]
        return int(found.split(None, 1)[0]) << 10
    except (OSError, ValueError, IndexError):
        return 0


def _sysctl(name: str) -> int:
    try:
        return int(Path("/proc/sys/vm", name).read_text())
    except (OSError, ValueError):
        return 0
