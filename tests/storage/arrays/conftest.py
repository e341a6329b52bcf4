"""Every array test runs once for each way of finding written pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

from wendelin.storage.arrays import written
from wendelin.storage.arrays.dirty import DETECTORS, Detector
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.database.durable import DurableFileStorage


@pytest.fixture(params=DETECTORS, autouse=True)
def detector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(written, "_detector", [Detector(request.param)])
    return str(request.param)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DB]:
    database = open_folder(tmp_path / "db")
    yield database
    transaction.abort()
    database.close()


@pytest.fixture
def conn(db: DB) -> Iterator[Connection]:
    connection = db.open()
    yield connection
    transaction.abort()


@pytest.fixture
def root(conn: Connection) -> Any:
    return conn.root()


@pytest.fixture
def other(db: DB) -> Iterator[Connection]:
    """A second connection with a transaction manager of its own."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    yield connection
    manager.abort()


def open_folder(folder: Path) -> DB:
    folder.mkdir(exist_ok=True)
    return DB(DurableFileStorage(str(folder / "Data.fs"), blob_dir=str(folder / "blobs")))
