"""What earlier versions wrote to disk stays readable, and writable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import transaction

import wendelin
from tests.fixtures.write_0002 import STRUCTURED

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


def test_stored_classes_have_their_public_names(folder: Path) -> None:
    stored = (folder / "Data.fs").read_bytes()
    for name in (b"ZBigArray", b"Extents", b"Folder"):
        assert b"cwendelin\n" + name in stored or (b"wendelin" in stored and name in stored)
    assert b"wendelin.storage" not in stored
