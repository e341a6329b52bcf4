"""Performance of a plant whose performance is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import plants
from wendelin.notebooks.solar import performance, quality
from wendelin.notebooks.solar.performance import Performance
from wendelin.notebooks.solar.systems import Fact, System


def assess(frame: pd.DataFrame, system: System = plants.PLANT) -> Performance:
    return performance.assess(system, frame, quality.check(system, frame))


def test_expected_power_is_pvwatts() -> None:
    """10 kW at 800 W/m² and 45 °C with −0.4 %/°C: 10 000 · 0.8 · 0.92 W."""
    found = performance.expected_power(np.array([800.0, -5.0]), np.array([45.0, 20.0]), 10_000, -0.004)
    assert found == pytest.approx([7360.0, 0.0])


def test_the_performance_of_the_plant_is_found() -> None:
    found = assess(plants.frame(30))
    assert found.ratio == pytest.approx(plants.LEVEL, abs=1e-6)
    assert found.rated_power == 10_000
    assert not found.rated_is_estimated
    assert found.daily["normalized"].dropna().to_numpy() == pytest.approx(plants.LEVEL, abs=1e-6)


def test_energy_is_what_the_meter_said() -> None:
    frame = plants.frame(3)
    daylight = quality.is_daylight(plants.PLANT, frame)
    assert assess(frame).daily["energy"].sum() == pytest.approx(frame["ac_power"][daylight].sum() / 1000)


def test_hot_modules_are_expected_to_give_less() -> None:
    """The same power from hotter modules is a better performance."""
    cool, hot = plants.frame(10), plants.frame(10)
    hot["module_temperature"] += 20
    assert assess(hot).ratio > assess(cool).ratio * 1.05


def test_air_and_wind_stand_in_for_the_modules() -> None:
    frame = plants.frame(10).rename(columns={"module_temperature": "ambient_temperature"})
    windy = frame.assign(wind_speed=10.0)
    cell, cooled = performance.cell_temperature(plants.PLANT, frame), performance.cell_temperature(plants.PLANT, windy)
    noon = int(np.argmax(frame["poa_irradiance"]))
    assert cell[noon] > frame["ambient_temperature"].iloc[noon] + 20
    assert cooled[noon] < cell[noon] - 5


def test_without_any_temperature_there_is_no_performance() -> None:
    found = assess(plants.frame(10).drop(columns="module_temperature"))
    assert np.isnan(found.ratio)
    assert found.daily["normalized"].isna().all()


def test_an_unknown_rated_power_is_estimated_and_said() -> None:
    """The estimate takes a good hour of the first year for 1, so the plant's 0.85 is in it."""
    found = assess(plants.frame(60), plants.plant(rated_power=Fact(None, "test")))
    assert found.rated_is_estimated
    assert found.rated_power == pytest.approx(8500, rel=0.001)
    assert found.ratio == pytest.approx(1.0, abs=0.001)


def test_too_few_good_hours_leave_the_rated_power_unknown() -> None:
    found = assess(plants.frame(2), plants.plant(rated_power=Fact(None, "test")))
    assert np.isnan(found.rated_power)
    assert np.isnan(found.ratio)


def test_a_day_out_is_counted_and_is_no_bad_performance() -> None:
    frame = plants.frame(10)
    frame.loc["2015-06-04":"2015-06-05", "ac_power"] = 0.0
    found = assess(frame)
    assert found.daily.index[found.daily["out"]].tolist() == [
        pd.Timestamp("2015-06-04", tz="UTC"),
        pd.Timestamp("2015-06-05", tz="UTC"),
    ]
    assert found.ratio == pytest.approx(plants.LEVEL, abs=1e-6)
    assert found.daily["performance"].isna().sum() == 2


def test_a_day_without_power_values_is_not_out() -> None:
    frame = plants.frame(10)
    frame.loc["2015-06-04", "ac_power"] = np.nan
    found = assess(frame)
    assert not found.daily["out"].any()
    assert found.daily["coverage"]["2015-06-04"] == 0


def test_unusable_hours_do_not_enter() -> None:
    frame = plants.frame(60, noise=0.005)
    noon = pd.Timestamp("2015-06-06 11:00", tz="UTC")
    frame.loc[noon, "poa_irradiance"] = 30_000
    assert assess(frame).ratio == pytest.approx(plants.LEVEL, rel=0.005)


def test_days_missing_from_the_frame_are_there_and_empty() -> None:
    frame = plants.frame(10)
    gap = frame[(frame.index < "2015-06-04") | (frame.index >= "2015-06-07")]
    daily = assess(gap).daily
    assert len(daily) == 10
    assert daily["energy"]["2015-06-05"] == 0
    assert not daily["out"].any()


def test_a_year_that_begins_in_december_is_not_complete() -> None:
    years = performance.by_period(assess(plants.frame(62, "2015-12-01")), "YS")
    assert years["coverage"].tolist() == pytest.approx([31 / 365, 31 / 366], rel=0.02)
    assert years["performance"].tolist() == pytest.approx([plants.LEVEL] * 2)


def test_the_last_year_is_not_the_whole_life() -> None:
    found = assess(pd.concat([plants.frame(30), plants.frame(30, "2015-07-01", level=0.7)]))
    assert found.over(10) == pytest.approx(0.7, abs=0.01)
    assert found.ratio == pytest.approx(0.775, abs=0.01)


def test_nothing_but_missing_values_gives_nan_not_an_error() -> None:
    found = assess(plants.frame(10) * np.nan)
    assert np.isnan(found.ratio)
    assert not found.daily["out"].any()
