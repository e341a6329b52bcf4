"""A FileStorage whose blobs survive a power failure.

ZODB syncs its own file at each commit, but neither blob files nor the directories that name them. Here both are on
the disk before the vote returns, so that a committed record never points to a segment that is not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage


class DurableFileStorage(FileStorage):
    """`FileStorage(path, blob_dir=…)` with durable blobs. One process at a time."""

    def __init__(self, path: str, *, blob_dir: str, **options: Any) -> None:
        is_new = not Path(path).exists()
        # With old copies kept, packing would free no segment: they stay linked beside the new ones.
        options.setdefault("pack_keep_old", False)
        super().__init__(path, blob_dir=blob_dir, **options)
        if is_new and not self.isReadOnly():
            sync_directory(Path(path).parent)
            sync_directory(blob_dir)

    def _blob_storeblob(self, oid: bytes, serial: bytes, blobfilename: str) -> None:
        sync_file(blobfilename)
        folder = Path(self.fshelper.getPathForOID(oid))
        root = Path(self.fshelper.base_dir)
        new = [parent for parent in (folder, *folder.parents) if parent.is_relative_to(root) and not parent.exists()]
        super()._blob_storeblob(oid, serial, blobfilename)
        for parent in {folder, *(path.parent for path in new)}:
            sync_directory(parent)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Force a file's bytes to the disk; cheap when they are there already."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Force a directory's entries to the disk."""
    sync_file(path)
