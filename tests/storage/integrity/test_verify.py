"""One flipped bit anywhere is found, and told with what it belongs to; a sound database is sound while others write."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from click.testing import CliRunner, Result

import wendelin
from tests.storage.integrity.conftest import fill, flip
from wendelin.storage.cli import main
from wendelin.storage.database.status import stop
from wendelin.storage.integrity import verify as verifying
from wendelin.storage.integrity.verify import verify


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["db", "verify", *words])


def test_a_sound_database_is_sound_packed_or_not(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/db"
    fill(url)
    report = verify(url)
    assert report.damages == []
    assert report.transactions > 20
    assert report.blobs > 6
    assert (report.unchecked_transactions, report.unchecked_blobs) == (0, 0)
    conn = wendelin.connect(url)
    conn.db().pack()
    conn.close()
    assert verify(url).damages == []
    done = run(url)
    assert done.exit_code == 0
    assert re.search(r"[\d,]+ transactions, [\d,]+ blobs, .*: sound", done.output)


@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, packed: bool) -> None:
    folder, url = tmp_path / "db", f"file://{tmp_path}/db"
    fill(url)
    if packed:
        conn = wendelin.connect(url)
        conn.root()["late"] = wendelin.ZBigArray((10,))
        conn.db().pack()
        transaction.commit()
        conn.close()
    rng = np.random.default_rng(7)
    files = [folder / "Data.fs", *sorted((folder / "blobs").rglob("*.blob"))]
    places = [(files[0], at) for at in rng.integers(0, files[0].stat().st_size, 120).tolist()]
    places += [(path, int(rng.integers(0, path.stat().st_size))) for path in files[1:] for _ in range(3)]
    missed = []
    for path, at in places:
        bit = int(rng.integers(0, 8))
        flip(path, at, bit)
        report = verify(url)
        if not any(damage.place == str(path) for damage in report.damages):
            missed.append((path.name, at, bit))
        flip(path, at, bit)
    assert missed == []
    assert verify(url).damages == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # ZODB leaves a damaged file open that it cannot read
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # which shows as one of these
def test_each_byte_of_the_first_transactions_is_covered(tmp_path: Path) -> None:
    """Heads, lengths, texts, checksums and data of whole transactions, bit by bit of the heads."""
    folder, url = tmp_path / "db", f"file://{tmp_path}/db"
    conn = wendelin.connect(url)
    for turn in range(3):
        conn.root()["x"] = turn
        transaction.get().note("why")
        transaction.commit()
    conn.close()
    data = folder / "Data.fs"
    missed = []
    for at in range(data.stat().st_size):
        flip(data, at, at % 8)
        if not verify(url).damages:
            missed.append(at)
        flip(data, at, at % 8)
    assert missed == []


def test_damage_is_told_with_array_rows_block_transaction_and_remedy(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/db"
    conn = wendelin.connect(url)
    conn.root()["plant/power"] = array = wendelin.ZBigArray((1_000_000, 2), "f8")
    array[:] = 1
    transaction.commit()
    tid = conn.db().lastTransaction()
    conn.close()
    (blob,) = (tmp_path / "db/blobs").rglob("*.blob")
    flip(blob, (5 << 20) + 77, 3)
    done = run(url)
    assert done.exit_code == 3
    row = (5 << 20) // 16
    assert f"array 'plant/power': rows {row:,} to {row + (64 << 10) // 16 - 1:,}, block 2 of 2,097,152" in done.output
    assert tid.hex() in done.output
    assert f"cp BACKUP/blobs/{blob.relative_to(tmp_path / 'db/blobs')} {blob}" in done.output
    found = json.loads(run(url, "--json").output)
    (damage,) = found["damages"]
    assert (damage["start"], damage["stop"], damage["tid"]) == (5 << 20, (5 << 20) + (64 << 10), tid.hex())


def test_a_missing_and_a_truncated_blob_are_damage(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/db"
    fill(url)
    first, second, *_ = sorted((tmp_path / "db/blobs").rglob("*.blob"))
    first.unlink()
    second.chmod(0o600)
    os.truncate(second, 4096)
    problems = sorted(damage.problem for damage in verify(url).damages)
    assert problems[-1] == "a blob is missing"
    assert "a blob has 4,096 bytes" in problems[0]


def test_a_database_that_is_written_to_is_sound(tmp_path: Path) -> None:
    """Also with a transaction that has voted and not finished: the file ends in the middle then."""
    url = f"local://{tmp_path}/db"
    fill(url, turns=2)
    try:
        conn = wendelin.connect(url)
        tpc: Any = conn.db().storage
        meta = wendelin_meta()
        tpc.tpc_begin(meta)
        tpc.store(tpc.new_oid(), bytes(8), b"cpersistent\nPersistent\n.N.", "", meta)
        tpc.tpc_vote(meta)
        assert verify(url).damages == []
        tpc.tpc_finish(meta)
        assert verify(url).damages == []
        conn.close()
    finally:
        stop(url)


def wendelin_meta() -> Any:
    from ZODB.Connection import TransactionMetaData

    return TransactionMetaData()


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/db"
    fill(url)
    blobs = sorted((tmp_path / "db/blobs").rglob("*.blob"), key=lambda path: path.name)
    flip(blobs[0], 5, 5)
    code = f"""
import os, signal
from wendelin.storage.integrity import verify
verify.NOTED_EACH = 0
seen = 0
def progress(done, total):
    global seen
    seen += 1
    if seen == 40:
        os.kill(os.getpid(), signal.SIGKILL)
verify.verify({url!r}, progress=progress)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    begun: list[int] = []
    whole = verify(url, restart=False, progress=lambda done, total: begun.append(done))
    assert begun[0] > 1000
    again = verify(url)
    assert (whole.transactions, whole.blobs, whole.nbytes) == (again.transactions, again.blobs, again.nbytes)
    assert whole.damages == again.damages
    assert len(whole.damages) == 1
    monkeypatch.setattr(verifying, "NOTED_EACH", 0)


def test_a_pack_between_two_halves_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/db"
    fill(url)
    conn = wendelin.connect(url)
    packed: list[int] = []

    def pack_once(done: int, total: int | None) -> None:
        if not packed and done > 10_000:
            packed.append(done)
            conn.db().pack()

    report = verify(url, progress=pack_once)
    assert packed
    assert report.damages == []
    conn.close()


def test_what_earlier_versions_stored_is_read_and_counted(tmp_path: Path) -> None:
    from ZODB import DB
    from ZODB.blob import Blob
    from ZODB.FileStorage import FileStorage

    (tmp_path / "db").mkdir()
    db = DB(FileStorage(str(tmp_path / "db/Data.fs"), blob_dir=str(tmp_path / "db/blobs")))
    with db.transaction() as conn:
        conn.root()["b"] = Blob(b"bytes")
    db.close()
    report = verify(f"file://{tmp_path}/db")
    assert report.damages == []
    assert (report.unchecked_transactions, report.unchecked_blobs) == (2, 1)
    assert "have no checksums" in run(f"file://{tmp_path}/db").output


def test_there_must_be_a_database(tmp_path: Path) -> None:
    done = run(f"file://{tmp_path}/nothing")
    assert done.exit_code == 1
    assert "there is no database in" in done.output
    assert run("/tmp").exit_code == 2
