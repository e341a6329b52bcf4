"""Checksums of segments: right for any pattern of holes, stored with the blob, and absent from older ones."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import transaction
import ZODB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage

import wendelin
from wendelin.storage.arrays.checksums import STEP, Checksums
from wendelin.storage.arrays.segments import INLINE


@pytest.mark.parametrize("nbytes", [0, 1, 4096, STEP, STEP + 1, 5 * STEP - 3, 40 * STEP])
def test_each_step_has_the_checksum_of_its_bytes_holes_too(tmp_path: Path, nbytes: int) -> None:
    path = tmp_path / "file"
    rng = np.random.default_rng(nbytes)
    with path.open("w+b") as file:
        file.truncate(nbytes)
        for at in rng.integers(0, max(nbytes, 1), 6 if nbytes > 4096 else 0).tolist():
            file.seek(at)
            file.write(rng.bytes(min(5000, nbytes - at)))
        file.flush()
        found = Checksums.of(file.fileno(), nbytes)
    data = path.read_bytes()
    assert found.crcs.tolist() == [zlib.crc32(data[at : at + STEP]) for at in range(0, nbytes, STEP)]


def test_one_flipped_bit_differs_in_its_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * STEP + 10))
    with path.open("r+b") as file:
        before = Checksums.of(file.fileno(), 3 * STEP + 10)
        file.seek(STEP + 77)
        byte = file.read(1)[0]
        file.seek(STEP + 77)
        file.write(bytes([byte ^ 4]))
        file.flush()
        after = Checksums.of(file.fileno(), 3 * STEP + 10)
    assert before.differing(after) == [(STEP, 2 * STEP)]
    assert before.differing(before) == []


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10)
    with path.open("rb") as file, pytest.raises(OSError, match="ends at byte"):
        Checksums.of(file.fileno(), 4 * STEP)


def test_a_committed_segment_has_its_checksums_in_its_record(tmp_path: Path) -> None:
    conn = wendelin.connect(f"file://{tmp_path}")
    conn.root()["a"] = array = wendelin.ZBigArray((INLINE,), "f8")
    array[:] = np.arange(INLINE)
    transaction.commit()
    segments = array.extents.layout(0, 1 << 40)[1]
    (blob,) = segments.values()
    storage = conn.db().storage
    record, serial = storage.load(blob._p_oid)
    found = Checksums.from_record(record)
    assert found is not None
    assert found.nbytes == array.nbytes
    path = storage.loadBlob(blob._p_oid, serial)
    with Path(path).open("rb") as file:
        assert found == Checksums.of(file.fileno(), found.nbytes)
    conn.close()


def test_a_programs_own_blob_has_those_of_its_last_bytes(tmp_path: Path) -> None:
    conn = wendelin.connect(f"file://{tmp_path}")
    conn.root()["b"] = blob = Blob(b"some bytes")
    transaction.commit()
    for data in (b"other bytes, more of them", bytes(3 * STEP)):
        with blob.open("w") as file:
            file.write(data)
        transaction.savepoint()
        transaction.commit()
        found = Checksums.from_record(conn.db().storage.load(blob._p_oid)[0])
        assert found is not None
        assert (found.nbytes, found.crcs[0]) == (len(data), zlib.crc32(data[:STEP]))
    conn.close()


def test_a_blob_of_other_programs_has_none(tmp_path: Path) -> None:
    db = ZODB.DB(FileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs")))
    with db.transaction() as conn:
        conn.root()["b"] = blob = Blob(b"some bytes")
    assert Checksums.from_record(db.storage.load(blob._p_oid)[0]) is None
    db.close()
