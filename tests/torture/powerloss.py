"""What a power failure leaves of a folder: only what was synced.

`Recorder` runs in the process that is going to die. It notes each `fsync`: of a file its size, of a directory the
names in it. `lose_unsynced` then does to the folder what a power failure may do: directory entries that no sync of
their directory saw vanish, and files end where their last sync ended. (Bytes rewritten in place within what was
synced are left; FileStorage rewrites one status byte, which the next fsync covers.)
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Recorder:
    """Notes every fsync of this process in `journal`, from `install()` on. Never undone: the process dies."""

    def __init__(self, journal: Path, skip: Callable[[str], bool] = lambda path: False) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._skip = skip
        self._fsync = os.fsync

    def install(self) -> None:
        os.fsync = self.fsync
        sys.modules["ZODB.FileStorage.FileStorage"].fsync = self.fsync  # type: ignore[attr-defined]  # its own name

    def fsync(self, fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if self._skip(str(Path(f"/proc/self/fd/{number}").readlink())):
            return
        self._fsync(number)
        self.note(number)

    def note(self, fd: int) -> None:
        status = os.fstat(fd)
        entry: dict[str, Any] = {"inode": status.st_ino, "size": status.st_size}
        if stat.S_ISDIR(status.st_mode):
            entry["names"] = {item.name: item.inode() for item in os.scandir(fd)}
        os.write(self._journal, json.dumps(entry).encode() + b"\n")

    def note_all(self, folder: Path) -> None:
        """Take all that is in `folder` now for synced: the state before the torture."""
        for path in [folder, *folder.rglob("*")]:
            fd = os.open(path, os.O_RDONLY)
            self.note(fd)
            os.close(fd)


def lose_unsynced(folder: Path, journal: Path) -> list[str]:
    """Cut `folder` back to what `journal` says was synced; returns what was lost, for the log."""
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    sizes = {entry["inode"]: entry["size"] for entry in entries if "names" not in entry}
    names = {entry["inode"]: entry["names"] for entry in entries if "names" in entry}
    lost: list[str] = []
    _cut(folder, sizes, names, lost)
    return lost


def _cut(folder: Path, sizes: dict[int, int], names: dict[int, dict[str, int]], lost: list[str]) -> None:
    kept = names.get(folder.stat().st_ino, {})
    for item in list(os.scandir(folder)):
        path = Path(item.path)
        if kept.get(item.name) != item.inode():
            lost.append(f"entry {path}")
            shutil.rmtree(path) if item.is_dir(follow_symlinks=False) else path.unlink()
        elif item.is_dir(follow_symlinks=False):
            _cut(path, sizes, names, lost)
        elif item.is_file(follow_symlinks=False) and sizes.get(item.inode(), 0) < item.stat().st_size:
            lost.append(f"tail of {path}")
            path.chmod(0o600)
            os.truncate(path, sizes.get(item.inode(), 0))
