"""What a power failure leaves of a folder: only what was synced.

A `Recorder` runs in each process that is going to die: clients and servers, which share one journal. It notes each
`fsync`: of a file its size, of a directory the names in it. `lose_unsynced` then does to the folder what a power
failure may do: names that no sync of their directory saw vanish, a name that was moved since is back where it was, and
files end where their last sync ended. (Bytes rewritten in place within what was synced are left; FileStorage rewrites
one status byte, which the next fsync covers.)
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

#: What can be taken out of syncing, to prove that a power failure would tell.
SKIPS: dict[str, Callable[[str], bool]] = {
    "fsync": lambda path: "/blobs" in path and not Path(path).is_dir(),
    "directory fsync": lambda path: "/blobs" in path and Path(path).is_dir(),
}


class Recorder:
    """Notes every fsync of this process in `journal`, from `install()` on. Never undone: the process dies."""

    def __init__(self, journal: Path, skip: Callable[[str], bool] = lambda path: False) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._skip = skip
        self._fsync = os.fsync

    def install(self) -> None:
        os.fsync = self.fsync
        sys.modules["ZODB.FileStorage.FileStorage"].fsync = self.fsync  # type: ignore[attr-defined]  # its own name
        sys.addaudithook(self._gone)

    def fsync(self, fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if self._skip(str(Path(f"/proc/self/fd/{number}").readlink())):
            return
        # Looked at before: what others add meanwhile is not covered. Noted behind: only then it holds.
        entry = self._entry(number)
        self._fsync(number)
        self._write(entry)

    def note_all(self, folder: Path) -> None:
        """Take all that is in `folder` now for synced: the state before the torture."""
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir() or path.is_file():
                fd = os.open(path, os.O_RDONLY)
                self._write(self._entry(fd))
                os.close(fd)

    def _entry(self, fd: int) -> dict[str, Any]:
        status = os.fstat(fd)
        entry: dict[str, Any] = {"inode": status.st_ino, "size": status.st_size}
        if stat.S_ISDIR(status.st_mode):
            entry["names"] = {item.name: item.inode() for item in os.scandir(fd)}
        return entry

    def _gone(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The number of a removed file may soon be another file's, whose syncs are its own."""
        if event not in ("os.remove", "os.rmdir", "os.rename"):
            return
        try:
            status = os.lstat(arguments[1 if event == "os.rename" else 0])
        except (OSError, TypeError, ValueError):
            return
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            self._write({"inode": status.st_ino, "gone": True})

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._journal, json.dumps(entry).encode() + b"\n")


class _Synced:
    """What the journal says is on the disk, by inode."""

    def __init__(self, journal: Path) -> None:
        self.sizes: dict[int, int] = {}
        self.names: dict[int, dict[str, int]] = {}
        for line in journal.read_text().splitlines():
            entry = json.loads(line)
            inode = entry["inode"]
            self.names.pop(inode, None)
            self.sizes.pop(inode, None)
            if "names" in entry:
                self.names[inode] = entry["names"]
            elif "size" in entry:
                self.sizes[inode] = entry["size"]
            else:
                self._forget(inode)

    def _forget(self, gone: int) -> None:
        """A name whose file was removed: it may still be on the disk, but not with what has its number now."""
        for names in self.names.values():
            for name in [name for name, inode in names.items() if inode == gone]:
                del names[name]


def lose_unsynced(
    folder: Path, journal: Path, trusted: Callable[[str], bool] = lambda name: name.startswith("main.sqlite3")
) -> list[str]:
    """Cut `folder` back to what `journal` says was synced; returns what was lost, for the log.

    Files whose name is `trusted` are left alone: a library syncs them that tells nobody.
    """
    synced = _Synced(journal)
    lost: list[str] = []
    _undo_moves(folder, synced, trusted, lost)
    _cut(folder, synced, trusted, lost)
    return lost


def _undo_moves(folder: Path, synced: _Synced, trusted: Callable[[str], bool], lost: list[str]) -> None:
    """Give files their synced names back where these are gone or taken, but the file is still there."""
    there = {path.stat().st_ino: path for path in folder.rglob("*") if path.is_file()}
    for directory in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for name, inode in synced.names.get(directory.stat().st_ino, {}).items():
            path = directory / name
            if trusted(name):
                continue
            if inode in there and (not path.exists() or path.stat().st_ino != inode):
                if path.is_dir():
                    continue
                path.unlink(missing_ok=True)
                os.link(there[inode], path)
                lost.append(f"move of {path} to {there[inode].name}")


def _cut(folder: Path, synced: _Synced, trusted: Callable[[str], bool], lost: list[str]) -> None:
    kept = synced.names.get(folder.stat().st_ino, {})
    for item in list(os.scandir(folder)):
        path = Path(item.path)
        if trusted(item.name):
            continue
        if kept.get(item.name) != item.inode():
            lost.append(f"entry {path}")
            shutil.rmtree(path) if item.is_dir(follow_symlinks=False) else path.unlink()
        elif item.is_dir(follow_symlinks=False):
            _cut(path, synced, trusted, lost)
        elif item.is_file(follow_symlinks=False) and synced.sizes.get(item.inode(), 0) < item.stat().st_size:
            lost.append(f"tail of {path}")
            path.chmod(0o600)
            os.truncate(path, synced.sizes.get(item.inode(), 0))
