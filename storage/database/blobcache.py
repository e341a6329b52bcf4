"""The blobs that a client keeps on its node, of a server that sends them over the wire: which of them can be trusted.

ZEO and RelStorage keep one file for each blob, below folders that are named by numbers. They give it its name when it
has come whole, and do not sync it: after a power failure it may be short, or zeros of the right size, and nobody would
ask the server again. So a cache begins anew with each start of the machine, as the node's cache of segments does
(`arrays.shelf`), told by the kernel's boot id. What a killed client did not finish has another ending, and who
downloads holds the lock of its folder: so leftovers are told from work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import zc.lockfile
from ZODB.blob import LAYOUT_MARKER

from wendelin.storage.arrays.filesystems import is_remote
from wendelin.storage.arrays.shelf import boot_id

_BOOT = ".boot"
_UNFINISHED = (".dl", ".tmp")  # ZEO's ending, RelStorage's


def take_over(folder: Path) -> None:
    """Remove what cannot be trusted from a cache of blobs in `folder`, which exists; any number may do so at a time.

    Another folder than such a cache, and one on a network, where files are on the server when they get their name, is
    left as it is.
    """
    if is_remote(str(folder)):
        return
    fd = os.open(folder / _BOOT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        boot = boot_id()
        restarted = os.pread(fd, len(boot) + 1, 0) != boot
        if _is_cache(folder):
            for path in _files(folder):
                if restarted:
                    path.unlink(missing_ok=True)
                elif path.suffix in _UNFINISHED:
                    _remove_unfinished(path)
        if restarted:
            os.ftruncate(fd, 0)
            os.pwrite(fd, boot, 0)
    finally:
        os.close(fd)


def remove_unfinished(blob: str) -> None:
    """What a killed client left of a download of `blob`, whose folder this process has locked."""
    Path(f"{blob}{_UNFINISHED[0]}").unlink(missing_ok=True)


def _remove_unfinished(path: Path) -> None:
    try:
        lock = zc.lockfile.LockFile(str(path.parent / ".lock"))
    except zc.lockfile.LockError:
        return  # somebody downloads something there; the next one looks again
    try:
        path.unlink(missing_ok=True)
    finally:
        lock.close()


def _is_cache(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool((folder / LAYOUT_MARKER).read_text().strip() == "zeocache")
    return False


def _files(folder: Path) -> Iterator[Path]:
    for part in folder.iterdir():
        if part.name.isdigit():
            yield from (path for path in part.iterdir() if path.name != ".lock")
