"""Large arrays of one `Parallel` call: each is written once on this node and mapped by every worker.

- The file has no name: it lies in memory (/dev/shm) while there is room, else in the scratch folder, and workers open
  it through the descriptor of this process, `/proc/<pid>/fd/<n>`. So nothing is left behind, whatever is killed.
- An array is known by where its elements lie, so that views made anew for each task are one. What was put into its
  memory after the first task was sent is not seen by later ones of that call, as with joblib's own backends.
- Workers on other machines, and in containers that see other processes, answer `NotHereError`; from then on the call's
  files are given to them by `wendelin.kernel.parallel.upload`, once each.
- A file goes with the last of: the tasks that were sent it, the call, the array (so a generator of many large arrays
  needs room for those that are under way only).
"""

from __future__ import annotations

import functools
import mmap
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wendelin.kernel.parallel.recent import Recent
from wendelin.storage.arrays.local import scratch_folder
from wendelin.storage.errors import UnavailableError

if TYPE_CHECKING:
    from wendelin.kernel.parallel.upload import Uploads

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - files in it never get a name

#: Of /dev/shm, bytes that are left to others.
_LEAVE = 64 << 20

_STEP = 64 << 20

#: See `here`; the path; device and inode of the file.
_Place = tuple[str, str, int, int]

_recent = Recent()

_Key = tuple[int, tuple[int, ...], tuple[int, ...], str]


class NotHereError(Exception):
    """A worker cannot see the processes of the caller's machine, or what it was uploaded is lost."""


class NodeFile:
    """A file without a name that holds the elements of one array; it goes with this object and its mappings."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.fd = _nameless(array.nbytes)
        self.order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        try:
            _write(self.fd, array.T if self.order == "F" else array)
        except BaseException:
            os.close(self.__dict__.pop("fd"))
            raise
        found = os.fstat(self.fd)
        self.place = (here(), f"/proc/{os.getpid()}/fd/{self.fd}", found.st_dev, found.st_ino)
        self.upload: Any = None

    def __del__(self) -> None:
        fd = self.__dict__.pop("fd", None)
        if fd is not None:
            os.close(fd)


@functools.cache
def here() -> str:
    """What processes that see each other in /proc have in common."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def _nameless(nbytes: int) -> int:
    free = os.statvfs(SHARED_MEMORY) if Path(SHARED_MEMORY).is_dir() else None
    in_memory = free is not None and free.f_bavail * free.f_frsize >= nbytes + _LEAVE
    folder = SHARED_MEMORY if in_memory else scratch_folder()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without such files
        return os.memfd_create("wendelin")


def _write(fd: int, array: npt.NDArray[Any]) -> None:
    """The elements in C order, without a second copy of them in memory."""
    os.posix_fallocate(fd, 0, array.nbytes)
    if not array.flags.c_contiguous:
        with mmap.mmap(fd, array.nbytes) as memory:
            target = np.ndarray(array.shape, array.dtype, memory)
            target[...] = array
            del target
        return
    data = array.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(data):
        at += os.pwrite(fd, data[at : at + _STEP], at)


class Files:
    """The large arrays of one call, of those that are no persistent arrays. Safe in threads."""

    def __init__(self, max_nbytes: int | None, mode: str | None) -> None:
        self._limit = max_nbytes if mode is not None else None
        self._mode = "r" if mode is None else mode
        self._lock = threading.Lock()
        self._files: dict[_Key, tuple[weakref.ref[Any], NodeFile]] = {}
        self.written = 0
        self.uploads: Uploads | None = None

    def reduce(self, array: npt.NDArray[Any], used: list[NodeFile]) -> Any:
        """What a pickler's `reducer_override` returns; the file is added to `used`. NotImplemented: by value."""
        if self._limit is None or type(array) not in (np.ndarray, np.matrix, np.memmap) or array.dtype.hasobject:
            return NotImplemented
        mapped = _backing(array)
        if mapped is not None:
            return _open_part, _part(array, mapped)
        if array.nbytes <= self._limit:
            return NotImplemented
        file = self._file(array)
        used.append(file)
        key = "" if self.uploads is None else self.uploads.key(file, self.opened(file, array))
        return _open, (file.place, array.dtype, array.shape, file.order, self._mode, key)

    def opened(self, file: NodeFile, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The elements as they lie in the file, whatever became of the array since."""
        return _mapped(file.place, array.dtype, "r", array.shape, file.order)

    def clear(self) -> None:
        """The call has ended: only what runs still holds files."""
        with self._lock:
            self._files.clear()

    def _file(self, array: npt.NDArray[Any]) -> NodeFile:
        key = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        with self._lock:
            known = self._files.get(key)
            if known is not None and known[0]() is not None:
                return known[1]
            file = NodeFile(array)
            self.written += array.nbytes
            files = self._files
            self._files[key] = (weakref.ref(_owner(array), lambda ref: _forget(files, key, ref)), file)
            return file


def _forget(files: dict[_Key, tuple[weakref.ref[Any], NodeFile]], key: _Key, ref: object) -> None:
    known = files.get(key)
    if known is not None and known[0] is ref:
        files.pop(key, None)


def _owner(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array that keeps the memory of a view alive."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


# -- np.memmap: the user's file is opened again, never copied


def _backing(array: npt.NDArray[Any]) -> np.memmap[Any, Any] | None:
    """The innermost `np.memmap` with a file that an array is a view of."""
    found: np.memmap[Any, Any] | None = None
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.filename is not None and isinstance(base._mmap, mmap.mmap):  # type: ignore[attr-defined]
            found = base
        base = base.base
    return found


def _part(array: npt.NDArray[Any], mapped: np.memmap[Any, Any]) -> tuple[Any, ...]:
    low, high = np.lib.array_utils.byte_bounds(array)
    start = low - mapped.__array_interface__["data"][0] + mapped.offset
    first = array.__array_interface__["data"][0] - low
    mode = {"w+": "r+"}.get(mapped.mode, mapped.mode)
    return str(mapped.filename), mode, start, high - low, first, array.dtype, array.shape, array.strides


def _open_part(
    name: str,
    mode: Any,
    start: int,
    length: int,
    first: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> npt.NDArray[Any]:
    whole = np.memmap(name, np.uint8, mode, start, length)
    found: npt.NDArray[Any] = np.ndarray.__new__(np.memmap, shape, dtype, whole, first, strides)
    return found


def _open(
    place: _Place,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    order: Any,
    mode: Any,
    key: str,
) -> npt.NDArray[Any]:
    """In the worker: the array, mapped, or uploaded. Raises `UnavailableError` when the caller is gone."""
    if place[0] != here():
        if not key:
            raise NotHereError
        from wendelin.kernel.parallel.upload import fetch

        return fetch(key)
    try:
        if mode == "r":
            known = place, dtype, shape, order
            return _recent.get(known, functools.partial(_mapped, place, dtype, mode, shape, order))
        return _mapped(place, dtype, {"w+": "r+"}.get(mode, mode), shape, order)
    except (FileNotFoundError, PermissionError) as error:
        raise UnavailableError(
            f"an array of shape {shape} and type {dtype} is not there any more: the program that sent this task has "
            "ended; run it again"
        ) from error


def _mapped(place: _Place, dtype: np.dtype[Any], mode: Any, shape: tuple[int, ...], order: Any) -> npt.NDArray[Any]:
    _, path, device, inode = place
    there = Path(path).stat()
    if (there.st_dev, there.st_ino) != (device, inode):  # the number of a descriptor, or of a process, was used again
        raise FileNotFoundError(path)
    found: npt.NDArray[Any] = np.memmap(path, dtype, mode, 0, shape, order)
    return found
