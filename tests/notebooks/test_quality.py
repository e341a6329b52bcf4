"""Each finding is found where it was put, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import plants
from wendelin.notebooks.solar import flags, quality, readings
from wendelin.notebooks.solar.errors import MeasurementsError
from wendelin.notebooks.solar.load import DATA
from wendelin.notebooks.solar.systems import SYSTEMS, Fact


def found(frame: pd.DataFrame, **changes: Fact) -> dict[str, int]:
    counts = quality.check(plants.plant(**changes), frame).counts
    return {name: count for name, count in counts.items() if count}


def noons(frame: pd.DataFrame, days: int = 1) -> pd.DatetimeIndex:
    """The rows at 11:00 UTC, half an hour before noon."""
    index = readings.stamps(frame)
    return index[index.hour == 11][:days]


def test_a_healthy_plant_has_no_findings() -> None:
    frame = plants.frame(60)
    checked = quality.check(plants.PLANT, frame)
    assert not checked.flags.any()
    assert checked.usable_share == 1.0
    assert (checked.completeness == 1.0).all()


def test_daylight_is_the_sun_not_the_sensor() -> None:
    """A sensor that is dark at noon is a fault, not a night."""
    frame = plants.frame(10)
    lit = quality.is_daylight(plants.PLANT, frame)
    frame["poa_irradiance"] = 0.0
    np.testing.assert_array_equal(quality.is_daylight(plants.PLANT, frame), lit)
    assert 12 * 10 < lit.sum() < 15 * 10


def test_without_a_place_daylight_is_what_the_sensor_says() -> None:
    nowhere = plants.plant(latitude=Fact(None, "test"), longitude=Fact(None, "test"))
    frame = plants.frame(10)
    np.testing.assert_array_equal(quality.is_daylight(nowhere, frame), (frame["poa_irradiance"] > 5).to_numpy())
    assert quality.clock_shift(nowhere, frame).empty


@pytest.mark.parametrize(
    ("column", "value", "finding"),
    [
        ("ac_power", np.nan, "missing_power"),
        ("poa_irradiance", np.nan, "missing_irradiance"),
        ("ac_power", 0.0, "outage"),
        ("poa_irradiance", 34_000.0, "irradiance_range"),
        ("module_temperature", 3276.7, "temperature_range"),
        ("ac_power", 5_000.0, "outlier"),
    ],
)
def test_a_fault_is_found_at_its_hour(column: str, value: float, finding: str) -> None:
    frame = plants.frame(60, noise=0.01)
    hour = noons(frame)[0]
    frame.loc[hour, column] = value
    checked = quality.check(plants.PLANT, frame)
    where = frame.index[checked.has(finding)]
    assert list(where) == [hour]
    assert not checked.usable[frame.index.get_loc(hour)]


def test_half_of_a_plant_that_is_off_for_weeks_is_no_outlier() -> None:
    """It is a loss, and must be seen by whoever judges the performance."""
    frame = plants.frame(60, noise=0.01)
    frame.loc["2015-07-10":, "ac_power"] *= 0.5
    assert "outlier" not in found(frame)


def test_power_beyond_the_plant_is_out_of_range() -> None:
    frame = plants.frame(60)
    frame.loc[noons(frame)[0], "ac_power"] = 20_000
    assert found(frame)["power_range"] == 1


def test_missing_by_night_is_no_finding() -> None:
    frame = plants.frame(10)
    frame.loc[frame["poa_irradiance"] == 0, "ac_power"] = np.nan
    assert found(frame) == {}


def test_a_stuck_sensor_is_found_from_four_values_on() -> None:
    frame = plants.frame(20)
    first = noons(frame)[0]
    frame.loc[first : first + pd.Timedelta(hours=2), "poa_irradiance"] = 700.0
    assert "stuck_irradiance" not in found(frame)
    frame.loc[first : first + pd.Timedelta(hours=3), "poa_irradiance"] = 700.0
    assert found(frame)["stuck_irradiance"] == 4


def test_a_flat_top_is_the_inverters_limit() -> None:
    frame = plants.frame(30)
    frame["ac_power"] = frame["ac_power"].clip(upper=6000)
    checked = quality.check(plants.PLANT, frame)
    assert checked.has("clipping").sum() > 30
    assert (frame["ac_power"][checked.has("clipping")] > 5990).all()


def test_power_at_night_is_told_but_excludes_nothing() -> None:
    frame = plants.frame(10)
    night = ~quality.is_daylight(plants.PLANT, frame)
    frame.loc[night, "ac_power"] = -190.0
    checked = quality.check(plants.PLANT, frame)
    assert checked.has("night_power").sum() == (night & (frame["poa_irradiance"] < 5)).sum()
    assert checked.usable_share == 1.0


def test_a_moved_clock_is_found_from_its_day_on() -> None:
    before, after = plants.frame(120), plants.frame(60, "2015-09-29")
    values = np.roll(after.to_numpy(), 1, axis=0)  # from one day on, everything happens an hour later
    frame = pd.concat([before, pd.DataFrame(values, after.index, after.columns)])
    checked = quality.check(plants.PLANT, frame)
    first = frame.index[checked.has("clock")][0]
    assert abs(first - after.index[0]) <= pd.Timedelta(days=8)  # half of the rolling window
    assert checked.has("clock").sum() == pytest.approx(60 * 24, abs=8 * 24)


def test_nothing_but_missing_values_is_a_finding_not_an_error() -> None:
    frame = plants.frame(10) * np.nan
    checked = quality.check(plants.PLANT, frame)
    assert checked.counts["missing_power"] == checked.daylight.sum() > 0
    assert checked.usable_share == 0.0
    assert checked.clock.empty


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(MeasurementsError, match="no rows"):
        quality.check(plants.PLANT, plants.frame(1).head(0))


def test_a_single_row_is_enough() -> None:
    assert quality.check(plants.PLANT, plants.frame(1).iloc[[12]]).flags.shape == (1,)


def test_months_tell_shares_of_daylight() -> None:
    frame = plants.frame(61)  # June and July
    july = readings.stamps(frame).month == 7
    frame.loc[july, "ac_power"] = np.nan
    checked = quality.check(plants.PLANT, frame)
    shares = flags.monthly_shares(readings.stamps(frame).asi8, checked.stored)
    assert [str(month) for month in shares.index] == ["2015-06", "2015-07"]
    assert shares["missing_power"].tolist() == [0.0, 1.0]
    assert shares["usable"].tolist() == [1.0, 0.0]


def test_bits_are_distinct_and_leave_room_for_daylight() -> None:
    bits = [flag.bit for flag in flags.FLAGS]
    assert len(set(bits)) == len(bits)
    assert all(1 << bit < int(flags.DAYLIGHT_BIT) for bit in bits)


@pytest.mark.slow
def test_the_clock_of_las_vegas_moved_in_august_2018() -> None:
    """Real data: this logger was set to summer time when its campus changed systems."""
    system = SYSTEMS["1278"]
    frame = readings.read_parquet(DATA / system.file, system)
    late = quality.clock_shift(system, frame)
    moved = late[late.abs() > 0.75]
    assert pd.Timestamp("2018-07-28", tz="UTC") < moved.index[0] < pd.Timestamp("2018-08-12", tz="UTC")
    assert moved.median() == pytest.approx(1.0, abs=0.1)
