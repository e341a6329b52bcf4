"""What earlier versions wrote to disk stays readable, and writable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import transaction
from ZODB.FileStorage import FileStorage

import wendelin
from tests.fixtures import write_0003
from tests.fixtures.write_0002 import STRUCTURED
from wendelin.storage.database.connection import DB
from wendelin.storage.database.files import open_folder

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "db"
    shutil.copytree(FIXTURES / "0002", copy)
    (copy / "blobs" / "tmp").mkdir(exist_ok=True)
    return copy


def test_a_database_of_issue_2_is_read_and_written(folder: Path) -> None:
    manager = transaction.TransactionManager()
    connection = wendelin.connect(f"file://{folder}", transaction_manager=manager)
    root = connection.root()
    assert list(root) == ["empty", "fortran", "note", "plants"]
    power = root["plants/4/power"]
    expected = np.arange(2700, dtype="f4").reshape(900, 3)
    expected[500] = -1
    np.testing.assert_array_equal(power[:], expected)
    log = root["plants/4/log"]
    assert log.dtype == STRUCTURED
    assert log["t"].tolist() == list(range(10))
    assert set(log["name"].tolist()) == {b"x"}
    assert root["fortran"].order == "F"
    np.testing.assert_array_equal(root["fortran"][:], np.arange(12).reshape(3, 4))
    assert root["empty"].shape == (0, 8)
    assert root["note"] == {"unit": "kW", "since": 2015}
    power.append(expected)
    root["plants/5"] = 1
    manager.commit()
    connection.cacheMinimize()
    assert power[:].sum() == 2 * expected.sum()
    manager.abort()
    connection.close()


@pytest.mark.parametrize("name", ["0003", "0003.fs", "0003.patches.fs", "0003.aside.fs"])
def test_a_database_of_issue_3_is_read_and_written(tmp_path: Path, wendelin_home: Path, name: str) -> None:
    """With a log and a tail that are not folded, tiny changes as pages and as patches and, without blobs, chunks."""
    if name == "0003":
        shutil.copytree(FIXTURES / "0003", tmp_path / "db")
        (tmp_path / "db" / "blobs" / "tmp").mkdir(exist_ok=True)
        storage = open_folder(tmp_path / "db")
    else:
        shutil.copy(FIXTURES / name, tmp_path / "Data.fs")
        storage = FileStorage(str(tmp_path / "Data.fs"))
    db = DB(storage)
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    root = connection.root()
    for array, expected in write_0003.expected().items():
        np.testing.assert_array_equal(root[array][...], expected)
        assert root[array].extents.entries or array != "pages"
        root[array][3:5] = 99
        root[array].append(expected[:2])
    manager.commit()
    connection.cacheMinimize()
    for array, expected in write_0003.expected().items():
        assert (root[array][3:5] == 99).all()
        np.testing.assert_array_equal(root[array][5:], np.concatenate([expected[5:], expected[:2]]))
    manager.abort()
    connection.close()
    db.close()


def test_stored_classes_have_their_public_names(folder: Path) -> None:
    stored = (folder / "Data.fs").read_bytes()
    for name in (b"ZBigArray", b"Extents", b"Folder"):
        assert b"cwendelin\n" + name in stored or (b"wendelin" in stored and name in stored)
    assert b"wendelin.storage" not in stored
