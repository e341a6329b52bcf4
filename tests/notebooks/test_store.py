"""Measurements and figures in the database: written, extended, judged stale, refused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import transaction

import wendelin
from tests.notebooks import plants
from wendelin.notebooks.solar import report as reports
from wendelin.notebooks.solar import store
from wendelin.notebooks.solar.errors import MeasurementsError, NothingLoadedError, UnknownSystemError
from wendelin.notebooks.solar.readings import record_dtype


@pytest.fixture
def root(db: Any) -> Any:
    """A database with one analysed plant, committed."""
    store.write(db.root(), plants.PLANT, plants.frame(40), source="by hand")
    store.refresh(db.root(), "plant")
    db.transaction_manager.commit()
    return db.root()


def test_everything_lies_where_it_is_documented(root: Any) -> None:
    names = [path for path, _ in root.walk() if path.startswith("solar/")]
    assert names == [
        "solar/plant/analysis/daily",
        "solar/plant/analysis/flags",
        "solar/plant/analysis/slopes",
        "solar/plant/analysis/summary",
        "solar/plant/measurements",
        "solar/plant/source",
        "solar/plant/system",
    ]
    assert isinstance(root["solar/plant/measurements"], wendelin.ZBigArray)
    assert root["solar/plant/measurements"].dtype == record_dtype(plants.PLANT)


def test_measurements_come_back(root: Any) -> None:
    pd.testing.assert_frame_equal(store.frame_of(root, "plant"), plants.frame(40), rtol=1e-6, check_freq=False)
    assert store.end(root, "plant") == plants.frame(40).index[-1]
    assert store.system_of(root, "plant") == plants.PLANT


def test_a_stored_report_is_the_computed_one(root: Any) -> None:
    stored = store.report(root, "plant")
    fresh = store.compute(plants.PLANT, root["solar/plant/measurements"][:])
    assert stored is not None
    assert not stored.stale
    assert fresh.stale
    assert stored.summary == fresh.summary
    pd.testing.assert_frame_equal(stored.daily, fresh.daily, rtol=1e-5, check_freq=False, check_index_type=False)
    pd.testing.assert_frame_equal(stored.flags, fresh.flags)


def test_appended_rows_make_the_figures_stale_until_refreshed(root: Any) -> None:
    later = plants.frame(2, "2015-07-11", level=0.4)
    store.append(root, "plant", later)
    assert store.report(root, "plant") is None
    assert not store.is_current(root, "plant")
    before = root["solar/plant/analysis/summary"]
    store.refresh(root, "plant")
    after = root["solar/plant/analysis/summary"]
    assert store.is_current(root, "plant")
    assert after["rows"] == before["rows"] + 48
    assert after["performance"] < before["performance"]
    assert after["end"] > before["end"]
    assert len(root["solar/plant/analysis/flags"]) == after["rows"]


def test_a_changed_value_makes_the_figures_stale(root: Any) -> None:
    """The same number of rows, one value corrected in place: the digest sees it."""
    root["solar/plant/measurements"]["ac_power"][500] += 1.0
    assert not store.is_current(root, "plant")


def test_figures_of_older_formulas_are_stale(root: Any) -> None:
    home = "solar/plant/analysis/summary"
    root[home] = {**root[home], "version": reports.VERSION - 1}
    assert not store.is_current(root, "plant")


def test_a_system_without_figures_is_stale(db: Any) -> None:
    store.write(db.root(), plants.PLANT, plants.frame(3))
    assert not store.is_current(db.root(), "plant")
    assert store.report(db.root(), "plant") is None


def test_writing_again_replaces_and_shrinks(root: Any) -> None:
    store.write(root, plants.PLANT, plants.frame(5))
    store.refresh(root, "plant")
    assert len(root["solar/plant/measurements"]) == len(root["solar/plant/analysis/flags"]) == 120
    assert len(root["solar/plant/analysis/daily"]) == 5


def test_other_columns_make_another_array(root: Any) -> None:
    other = plants.plant(columns=plants.PLANT.columns[:2])
    store.write(root, other, plants.frame(5)[["ac_power", "poa_irradiance"]])
    assert root["solar/plant/measurements"].dtype.names == ("time", "ac_power", "poa_irradiance")


@pytest.mark.parametrize("begin", ["2015-07-10", "2015-06-01", "2014-01-01"])
def test_rows_that_are_not_later_are_refused(root: Any, begin: str) -> None:
    rows = len(root["solar/plant/measurements"])
    with pytest.raises(MeasurementsError, match=r"holds rows until 2015-07-10 23:00:00.*pass only later rows"):
        store.append(root, "plant", plants.frame(2, begin))
    assert len(root["solar/plant/measurements"]) == rows


def test_an_empty_database_says_what_to_run(db: Any) -> None:
    assert store.system_ids(db.root()) == []
    with pytest.raises(NothingLoadedError, match=r"python -m wendelin\.notebooks\.solar\.load"):
        store.frame_of(db.root(), "4")


def test_an_unknown_system_names_the_known(root: Any) -> None:
    with pytest.raises(UnknownSystemError, match="no system '5' in this database; it holds plant"):
        store.system_of(root, "5")


def test_systems_are_in_the_order_of_their_numbers(db: Any) -> None:
    for name in ("1278", "4", "zoo", "alpha", "300"):
        store.write(db.root(), plants.plant(id=name), plants.frame(1))
    assert store.system_ids(db.root()) == ["4", "300", "1278", "alpha", "zoo"]


def test_an_abort_takes_measurements_and_figures_back(db: Any, root: Any) -> None:
    before = root["solar/plant/analysis/summary"]
    store.append(root, "plant", plants.frame(2, "2015-07-11"))
    store.refresh(root, "plant")
    db.transaction_manager.abort()
    assert root["solar/plant/analysis/summary"] == before
    assert len(root["solar/plant/measurements"]) == 40 * 24
    assert store.is_current(root, "plant")


def test_flags_that_did_not_change_are_not_written_again(db: Any, root: Any) -> None:
    """Analysing anew stores new figures, and no new blob for the same flags."""
    flags = root["solar/plant/analysis/flags"]
    before = flags.extents._p_serial
    store.refresh(root, "plant")
    db.transaction_manager.commit()
    db.transaction_manager.begin()
    assert root["solar/plant/analysis/flags"].extents._p_serial == before


def test_different_systems_do_not_conflict(db: Any, root: Any) -> None:
    other = wendelin.connect(db.url, transaction_manager=transaction.TransactionManager())
    store.append(root, "plant", plants.frame(2, "2015-07-11"))
    store.write(other.root(), plants.plant(id="other"), plants.frame(1))
    db.transaction_manager.commit()
    other.transaction_manager.commit()
    db.transaction_manager.begin()
    assert store.system_ids(root) == ["other", "plant"]
    other.close()
