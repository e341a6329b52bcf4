"""Checksums of records: each transaction carries them, through undo, packing, copies and a server."""

from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.FileStorage import FileStorage

import wendelin
from wendelin.storage.database import recordsums
from wendelin.storage.database.durable import DurableFileStorage
from wendelin.storage.database.recordsums import KEY, RecordSums, record_sum
from wendelin.storage.history.states import transactions_from


def _all(storage: Any) -> list[tuple[Any, list[Any]]]:
    """Each transaction with its records."""
    with transactions_from(storage) as found:
        return [(each, list(each)) for each in found]


def assert_all_fit(storage: Any, *, transactions: int | None = None) -> None:
    """Each transaction of a storage has checksums, and they fit."""
    count = 0
    for each, found in _all(storage):
        sums = RecordSums.of(each.extension)
        assert sums is not None, each.tid
        assert sums.fits_text(each.tid, each.user, each.description, each.extension)
        records = [(record.oid, record_sum(record.oid, record.data)) for record in found]
        assert not sums.wrong(records, packed=each.status == "p")
        if each.status != "p":
            assert len(records) == sums.count
        count += 1
    assert count
    assert transactions is None or count == transactions


def _fill(url: str) -> None:
    conn = wendelin.connect(url)
    root = conn.root()
    root["a"] = array = wendelin.ZBigArray((1000,), "f8")
    transaction.commit()
    for i in range(5):
        array[i] = i
        root[f"name {i}"] = i
        transaction.get().note(f"turn {i} \N{DEGREE SIGN}")
        transaction.get().setUser("somebody")
        transaction.commit()
    root["a"][:] = np.random.default_rng(1).random(1000)
    transaction.commit()
    conn.close()


def test_undone_packed_and_copied_transactions_keep_them(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/db"
    _fill(url)
    conn = wendelin.connect(url)
    storage = conn.db().storage
    assert_all_fit(storage, transactions=8)
    wendelin.undo(conn, wendelin.history(conn)[0])
    wendelin.undo(conn, wendelin.history(conn)[2])
    assert_all_fit(storage, transactions=10)
    with closing(DurableFileStorage(str(tmp_path / "copy.fs"), blob_dir=str(tmp_path / "copies"))) as copy:
        copy.copyTransactionsFrom(storage)
        assert_all_fit(copy, transactions=10)
    conn.db().pack()
    assert_all_fit(storage)
    assert any(each.status == "p" for each, _ in _all(storage))
    transaction.begin()
    conn.root()["more"] = 1
    transaction.commit()
    assert_all_fit(storage)
    conn.close()
    conn = wendelin.connect(url)
    assert conn.root()["name 3"] == 3
    conn.close()


def test_a_creation_that_was_undone_has_one(tmp_path: Path) -> None:
    with closing(DurableFileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"))) as storage:
        from ZODB.Connection import TransactionMetaData

        meta = TransactionMetaData()
        oid = storage.new_oid()
        storage.tpc_begin(meta)
        storage.store(oid, bytes(8), b"cpersistent\nPersistent\n.N.", "", meta)
        storage.tpc_vote(meta)
        tid = storage.tpc_finish(meta)
        storage.tpc_begin(meta := TransactionMetaData())
        storage.undo(base64.encodebytes(tid).rstrip(), meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
        assert [[record.data is None for record in found] for _, found in _all(storage)] == [[False], [True]]
        assert_all_fit(storage, transactions=2)


def test_a_client_of_a_server_sees_them(tmp_path: Path) -> None:
    url = f"local://{tmp_path}/db"
    _fill(url)
    conn = wendelin.connect(url)
    try:
        assert_all_fit(conn.db().storage)
    finally:
        conn.close()
        from wendelin.storage.database.status import stop

        stop(url)


def test_what_other_programs_wrote_has_none_and_stays_readable(tmp_path: Path) -> None:
    from ZODB import DB

    db = DB(FileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs")))
    db.close()
    with closing(DurableFileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"))) as storage:
        assert [RecordSums.of(each.extension) for each, _ in _all(storage)] == [None]


def test_a_very_large_transaction_has_one_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordsums, "MOST", 10)
    conn = wendelin.connect(f"file://{tmp_path}")
    for i in range(30):
        conn.root().folder(f"f{i}")
    transaction.commit()
    last, found = _all(conn.db().storage)[-1]
    sums = RecordSums.of(last.extension)
    assert sums is not None
    assert sums.each is None
    records = [(record.oid, record_sum(record.oid, record.data)) for record in found]
    assert sums.count == len(records) > 30
    assert not sums.wrong(records, packed=False)
    assert sums.wrong([*records[:-1], (records[-1][0], 1)], packed=False)
    conn.close()


def test_a_flipped_bit_of_data_text_or_name_shows(tmp_path: Path) -> None:
    _fill(f"file://{tmp_path}")
    with closing(
        DurableFileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"), read_only=True)
    ) as storage:
        each, found = _all(storage)[3]
        sums = RecordSums.of(each.extension)
        assert sums is not None
        record = found[0]
        data = bytearray(record.data)
        data[len(data) // 2] ^= 16
        assert sums.wrong([(record.oid, record_sum(record.oid, bytes(data)))], packed=True) == [record.oid]
        assert not sums.fits_text(each.tid, each.user, each.description + b"!", each.extension)
        assert not sums.fits_text(each.tid, each.user, each.description, {**each.extension, "x": 1})
        renamed = {KEY[:-1] + chr(ord(KEY[-1]) ^ 1): each.extension[KEY]}
        with pytest.raises(ValueError, match="damaged"):
            RecordSums.of(renamed)
        with pytest.raises(ValueError, match="damaged"):
            RecordSums.of({KEY: each.extension[KEY][:-3]})
