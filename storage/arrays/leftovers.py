"""Files of transactions in the making, told from what killed processes left of theirs.

A process that makes such files in a folder keeps an *owner* file there, locked until it ends (and until children end
that it forked, which hold the lock too); the others have the owner's token in their names. A process that begins to
make some removes those whose owner can be locked, that is, lives no more. Never by age: a transaction may last for
days. On network file systems, where another machine's lock may not show, nothing is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
import weakref
from pathlib import Path

from wendelin.storage.arrays.filesystems import is_remote

_OWNER, _FILE = ".owner-", "segment-"


class Owner:
    """This process in one folder; it lives as long as one of its files, or an object made of one, does."""

    def __init__(self, folder: str) -> None:
        self.token = secrets.token_hex(8)
        path = str(Path(folder, _OWNER + self.token))
        # Locked before it has its name: nobody can take it for a dead one's.
        fd, unnamed = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: nobody can lock it either
                fcntl.flock(fd, fcntl.LOCK_EX)
            os.rename(unnamed, path)  # noqa: PTH104  beside the other calls of os
        except BaseException:
            _ended(fd, unnamed, os.getpid())
            raise
        weakref.finalize(self, _ended, fd, path, os.getpid())


class OwnedPath(str):
    """The path of a file; holds its owner."""

    __slots__ = ("owner",)
    owner: Owner


_owners: weakref.WeakValueDictionary[tuple[str, int], Owner] = weakref.WeakValueDictionary()


def new_file(folder: str) -> tuple[int, OwnedPath]:
    """A descriptor and the path of a new file in `folder`, which nobody removes while that path is held."""
    owner = _owners.get((folder, os.getpid()))
    if owner is None:
        remove_leftovers(folder)
        owner = _owners[folder, os.getpid()] = Owner(folder)
    fd, path = tempfile.mkstemp(prefix=f"{_FILE}{owner.token}-", dir=folder)
    owned = OwnedPath(path)
    owned.owner = owner
    return fd, owned


def remove_leftovers(folder: str) -> None:
    """Remove files in `folder` of processes that live no more."""
    if is_remote(folder):
        return
    for path in Path(folder).glob(f"{_OWNER}*"):
        with contextlib.suppress(OSError):  # locked, gone, or another user's
            _remove_dead(path)


def _remove_dead(owner: Path) -> None:
    fd = os.open(owner, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in owner.parent.glob(f"{_FILE}{owner.name.removeprefix(_OWNER)}-*"):
            path.unlink(missing_ok=True)
        owner.unlink()
    finally:
        os.close(fd)


def _ended(fd: int, path: str, pid: int) -> None:
    """A forked child leaves the parent's file, and ends its own hold of the lock."""
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    os.close(fd)
