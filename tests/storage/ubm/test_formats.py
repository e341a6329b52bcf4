"""Entities that earlier versions stored stay readable, and can be changed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import transaction
from ZODB.FileStorage import FileStorage

import wendelin
from tests.fixtures import write_0005
from tests.house.test_names import globals_in
from wendelin import Money, Quantity
from wendelin.storage.database.connection import DB
from wendelin.storage.ubm import names, trail
from wendelin.storage.ubm.catalogue import catalogue
from wendelin.storage.ubm.registry import types

FIXTURES = Path(write_0005.__file__).parent


def test_entities_of_issue_5_are_read_and_changed(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "0005.fs", tmp_path / "Data.fs")
    db = DB(FileStorage(str(tmp_path / "Data.fs")))
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    ubm = wendelin.entities(connection)
    plant, sensor = ubm["plant-1"], ubm["sensor-1"]
    stored = {each.type for each in ubm}
    assert stored <= {*types()}
    assert len(ubm) == len(stored) + 20
    assert plant.peak_power == Quantity(12.3, "kW")
    assert plant.commissioned == datetime(2021, 5, 1, tzinfo=UTC)
    assert plant.owner is ubm["organisation-1"]
    assert plant.keywords == ("one", "two")
    assert plant.pointers == 22
    assert plant.state == "validated"
    expected = ["", "as given", "", *(f"note {number}" for number in range(10)), "commissioned"]
    assert [entry.why for entry in plant.trail] == expected
    assert plant.trail[-1].who == "anna"
    assert plant.files["small.txt"].data == b"small"
    assert plant.files["large.bin"].data == bytes(range(256)) * 400
    np.testing.assert_array_equal(sensor.array[:], np.arange(10))
    order = ubm["maintenance_order-1"]
    assert order.expected_cost == Money.parse("450.10 EUR")
    assert [each.reference for each in order.causality] == ["event-1", "analysis-1"]
    assert ubm["event-1"].data == {"loss": [0.5, None]}
    assert ubm["operation-1"].callable()(None) is None
    assert {each.title for each in ubm.search(type="sensor", limit=100)} == {
        "The sensor",
        *(f"made {number}" for number in range(20)),
    }
    assert len(ubm.search(relation={"asset": plant}, limit=100)) == 22
    rows = {row["uid"]: row["reference"] for row in ubm.rows()}
    assert rows == {each.uid: each.reference for each in ubm}
    for each in list(ubm):
        each.title = f"{each.title}, changed"
    ubm.delete(order)
    manager.commit()
    connection.cacheMinimize()
    assert plant.title == "The plant, changed"
    assert plant.pointers == 21
    assert ubm.search(text="changed", type="plant") == [plant]
    manager.abort()
    connection.close()
    db.close()


def test_stored_are_public_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the records of the fixture and in those of today."""
    monkeypatch.setattr(names, "NODE_NAMES", names.NODE_NAMES)  # what is written sets these
    monkeypatch.setattr(trail, "PAGE_ENTRIES", trail.PAGE_ENTRIES)
    monkeypatch.setattr(catalogue, "PART_ROWS", catalogue.PART_ROWS)
    write_0005.main(tmp_path)
    for file in (FIXTURES / "0005.fs", tmp_path / "0005.fs"):
        storage = FileStorage(str(file), read_only=True)
        found = {name for stored in storage.iterator() for record in stored for name in globals_in(record.data)}
        storage.close()
        ours = {name for name in found if name.startswith("wendelin")}
        expected = (
            "Entities",
            "Plant",
            "Quantity",
            "Money",
            "Trail",
            "TrailPage",
            "NameTable",
            "CatalogueTrees",
            "File",
        )
        assert {f"wendelin.{name}" for name in expected} <= ours
        assert [name for name in ours if name.count(".") != 1] == []
        assert not [name for name in found if name.startswith(("pydantic", "pint"))]
