"""Files of blobs, compared with the checksums in their records."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wendelin.storage.arrays.checksums import Checksums
from wendelin.storage.integrity.damage import Damage, Stored


@dataclass(frozen=True)
class CheckedBlob:
    """What was found. `checked`: it had checksums; False for those of earlier versions and other programs."""

    nbytes: int
    checked: bool
    damages: list[Damage]


def check(blob: Stored, path: Path, progress: Callable[[int], object] | None = None) -> CheckedBlob:
    """Compare the file of a blob with its record. `FileNotFoundError` when it is gone."""

    def damage(problem: str, start: int, stop: int) -> Damage:
        return Damage(problem, str(path), start, stop, blob.tid, blob.oid)

    try:
        wanted = Checksums.from_record(blob.record)
    except Exception:  # noqa: BLE001  a damaged record may raise anything, and is told where records are checked
        wanted = None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        nbytes = os.fstat(fd).st_size
        if wanted is None:
            return CheckedBlob(nbytes, checked=False, damages=[])
        if nbytes != wanted.nbytes:
            problem = f"a blob has {nbytes:,} bytes instead of {wanted.nbytes:,}"
            return CheckedBlob(nbytes, checked=True, damages=[damage(problem, 0, nbytes)])
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        try:
            found = Checksums.of(fd, nbytes, wanted.step, progress)
        except OSError as error:
            return CheckedBlob(nbytes, checked=True, damages=[damage(f"a blob cannot be read ({error})", 0, nbytes)])
    finally:
        os.close(fd)
    differing = wanted.differing(found)
    return CheckedBlob(nbytes, checked=True, damages=[damage("a blob is damaged", *some) for some in differing])
