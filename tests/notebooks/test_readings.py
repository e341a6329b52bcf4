"""From files to frames to records: units, zones, and tables that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import plants
from wendelin.notebooks.solar import readings
from wendelin.notebooks.solar.errors import MeasurementsError
from wendelin.notebooks.solar.load import DATA
from wendelin.notebooks.solar.systems import SYSTEMS
from wendelin.storage.errors import WendelinError


def test_a_file_becomes_a_frame_in_utc() -> None:
    """Golden is UTC−7: the first row of its file, 14:00, is 21:00 UTC."""
    frame = readings.read_parquet(DATA / SYSTEMS["4"].file, SYSTEMS["4"])
    assert frame.index[0] == pd.Timestamp("2010-02-25 21:00", tz="UTC")
    assert list(frame.columns) == ["ac_power", "poa_irradiance", "ambient_temperature", "wind_speed"]


def test_fahrenheit_and_miles_become_celsius_and_metres() -> None:
    system = SYSTEMS["1300"]
    raw = pd.read_parquet(DATA / system.file)
    frame = readings.read_parquet(DATA / system.file, system)
    stamp = pd.Timestamp("2014-04-01 12:00")
    row = frame.loc[stamp.tz_localize(system.clock).tz_convert("UTC")]
    assert row["module_temperature"] == pytest.approx((raw["module_temp_f"][stamp] - 32) / 1.8)
    assert row["wind_speed"] == pytest.approx(raw["wind_speed_mph"][stamp] * 0.44704)


def test_hours_that_summer_time_confuses_are_left_out() -> None:
    """New York, 8 March 2015: 2:00 does not exist; 1 November: 1:00 exists twice."""
    system = plants.plant(clock="America/New_York")
    for day, left in (("2015-03-08", 23), ("2015-11-01", 23)):
        table = plants.table(plants.frame(1, day))
        frame = readings.from_table(table, system)
        assert len(frame) == left
        assert frame.index.is_unique


def test_stamps_with_a_zone_are_converted() -> None:
    table = plants.table(plants.frame(1)).tz_localize("Etc/GMT-2")
    assert readings.from_table(table, plants.PLANT).index[0] == pd.Timestamp("2015-05-31 22:00", tz="UTC")


def test_records_give_the_frame_back() -> None:
    frame = plants.frame(3)
    records = readings.to_records(frame, plants.PLANT)
    assert records.dtype.names == ("time", "ac_power", "poa_irradiance", "module_temperature")
    assert records["time"].dtype == np.int64
    pd.testing.assert_frame_equal(readings.from_records(records), frame, rtol=1e-6, check_freq=False)


def test_the_digest_follows_every_value() -> None:
    records = readings.to_records(plants.frame(3), plants.PLANT)
    before = readings.digest(records)
    assert readings.digest(records.copy()) == before
    records["ac_power"][40] += 1
    assert readings.digest(records) != before


def test_a_single_row_has_a_step() -> None:
    assert readings.step(plants.frame(1).head(1)) == pd.Timedelta(hours=1)


def without(column: str) -> pd.DataFrame:
    return plants.table(plants.frame(2)).drop(columns=column)


def backwards() -> pd.DataFrame:
    return plants.table(plants.frame(2)).iloc[::-1]


def repeated() -> pd.DataFrame:
    table = plants.table(plants.frame(2))
    return pd.concat([table.iloc[:5], table.iloc[4:]])


BAD = {
    "no power": (without("P"), "lacks P; it has G, T"),
    "no irradiance": (without("G"), "lacks G"),
    "no rows": (plants.table(plants.frame(2)).head(0), "has no rows"),
    "numbers for stamps": (plants.table(plants.frame(2)).reset_index(drop=True), "index of int64, not stamps"),
    "backwards": (backwards(), r"goes back in time at 2015-06-02 22:00.*sort_index"),
    "repeated": (repeated(), r"1 repeated stamps, the first is 2015-06-01 04:00.*duplicated"),
}


@pytest.mark.parametrize(("table", "said"), BAD.values(), ids=BAD)
def test_a_table_that_cannot_be_used_is_refused_with_the_place(table: pd.DataFrame, said: str) -> None:
    with pytest.raises(MeasurementsError, match=f"^plant.parquet .*{said}"):
        readings.from_table(table, plants.PLANT, name="plant.parquet")


def test_a_frame_without_a_zone_or_power_is_refused() -> None:
    frame = plants.frame(1)
    with pytest.raises(MeasurementsError, match="no UTC stamps"):
        readings.check_frame(frame.tz_localize(None), plants.PLANT)
    with pytest.raises(MeasurementsError, match=re.escape("no power 'ac_power'; it has poa_irradiance")):
        readings.check_frame(frame.drop(columns="ac_power"), plants.PLANT)


def test_a_missing_file_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--folder"):
        readings.read_parquet(tmp_path / "nothing.parquet", plants.PLANT)


def test_refusals_are_wendelins() -> None:
    assert issubclass(MeasurementsError, WendelinError)
    assert issubclass(MeasurementsError, ValueError)
