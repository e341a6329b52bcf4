"""Which figures make which advice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import plants
from wendelin.notebooks.solar import maintenance, performance, quality
from wendelin.notebooks.solar.degradation import Degradation
from wendelin.notebooks.solar.maintenance import Assumptions, Findings, Suggestion, Urgency
from wendelin.notebooks.solar.soiling import Soiling, soiling
from wendelin.notebooks.solar.systems import Fact, System

NO_RATE = Degradation(None, None, None, 0, 0, 0.0, "too few")
CLEAN = Soiling(None, reason="not asked")


def advice(
    frame: pd.DataFrame, *, system: System = plants.PLANT, aged: Degradation = NO_RATE, dirt: Soiling = CLEAN
) -> tuple[Suggestion, ...]:
    checked = quality.check(system, frame)
    assessed = performance.assess(system, frame, checked)
    return maintenance.suggest(Findings(system, frame, checked, assessed, aged, dirt))


def rate(value: float, half: float = 0.1) -> Degradation:
    return Degradation(value, value - half, value + half, 1000, 700, 4.0, None)


def whats(suggestions: tuple[Suggestion, ...]) -> list[str]:
    return [each.what for each in suggestions]


def test_a_healthy_plant_needs_nothing() -> None:
    (only,) = advice(plants.frame(60))
    assert only.urgency is Urgency.NOTHING
    assert only.energy is only.money is None


def test_a_plant_that_is_down_needs_somebody_now() -> None:
    frame = plants.frame(30)
    frame.loc["2015-06-25":, "ac_power"] = 0.0
    first = advice(frame)[0]
    assert first.urgency is Urgency.NOW
    assert "inverter" in first.what
    assert "since 25 June 2015" in first.why


def test_a_plant_that_came_back_is_not_down() -> None:
    frame = plants.frame(60)
    frame.loc["2015-06-10":"2015-06-24", "ac_power"] = 0.0
    (only,) = advice(frame)
    assert only.urgency is Urgency.PLAN
    assert "15 days without output" in only.why
    assert "10 June 2015 to 24 June 2015" in only.why


def test_lost_energy_is_that_of_the_days_out() -> None:
    frame = plants.frame(365)
    frame.loc["2015-06-10":"2015-06-24", "ac_power"] = 0.0
    healthy = plants.frame(365).loc["2015-06-10":"2015-06-24", "ac_power"].sum() / 1000
    assert advice(frame)[0].energy == pytest.approx(healthy, rel=0.01)


def test_an_outage_in_frost_is_snow() -> None:
    frame = plants.frame(120, "2015-11-01")
    frame.loc["2015-12-10":"2015-12-24", "ac_power"] = 0.0
    frame.loc["2015-12-10":"2015-12-24", "module_temperature"] = -5.0
    assert "snow on the modules" in advice(frame)[0].why


def test_days_without_a_verdict_do_not_end_a_stretch() -> None:
    frame = plants.frame(60)
    frame.loc["2015-06-10":"2015-06-24", "ac_power"] = 0.0
    frame.loc["2015-06-15":"2015-06-17", "ac_power"] = np.nan
    assert "10 June 2015 to 24 June 2015" in advice(frame)[0].why


def test_a_silent_power_meter_is_reported_with_its_last_day() -> None:
    frame = plants.frame(90)
    frame.loc["2015-07-05":, "ac_power"] = np.nan
    first = advice(frame)[0]
    assert first.urgency is Urgency.NOW
    assert "no power value since 4 July 2015" in first.why
    assert not any("reliable" in what for what in whats(advice(frame)))


def test_a_meter_that_never_spoke() -> None:
    assert "Connect the power meter" in whats(advice(plants.frame(30).assign(ac_power=np.nan)))


def test_a_low_plant_should_be_measured() -> None:
    (only,) = advice(plants.frame(60, level=0.6))
    assert only.what == "Measure the strings"
    assert "performance 0.60" in only.why
    assert only.energy == pytest.approx((0.80 / 0.60 - 1) * yearly(plants.frame(60, level=0.6)), rel=0.02)


def yearly(frame: pd.DataFrame) -> float:
    checked = quality.check(plants.PLANT, frame)
    assessed = performance.assess(plants.PLANT, frame, checked)
    return Findings(plants.PLANT, frame, checked, assessed, NO_RATE, CLEAN).yearly_energy


def test_a_low_plant_that_swings_with_the_season_has_a_tilted_sensor() -> None:
    """Then nobody knows whether energy is lost, so none is promised."""
    frame = plants.frame(730, level=0.6)
    days = pd.DatetimeIndex(frame.index).day_of_year.to_numpy()
    frame["ac_power"] *= 1 - 0.2 * np.cos(2 * np.pi * days / 365)
    found = next(each for each in advice(frame) if "angle" in each.what)
    assert found.energy is None
    assert "swings with the season" in found.why


def test_an_estimated_rated_power_accuses_nobody() -> None:
    estimated = plants.plant(rated_power=Fact(None, "test"))
    assert whats(advice(plants.frame(60, level=0.5), system=estimated)) == ["Nothing to do"]


@pytest.mark.parametrize(
    ("aged", "urgency", "word"),
    [
        (rate(-1.5), Urgency.PLAN, "warranty"),
        (rate(-0.5), Urgency.WATCH, "Keep watching"),
        (rate(-0.9, half=0.5), Urgency.WATCH, "Keep watching"),
        (rate(-0.05), Urgency.NOTHING, "Nothing"),
    ],
    ids=["surely fast", "usual", "perhaps fast", "not proven"],
)
def test_ageing_is_judged_by_its_interval(aged: Degradation, urgency: Urgency, word: str) -> None:
    (only,) = advice(plants.frame(60), aged=aged)
    assert only.urgency is urgency
    assert word in only.what


def test_dirt_is_worth_what_it_takes() -> None:
    frame = plants.frame(60)
    (only,) = advice(frame, dirt=Soiling(0.90))
    assert "10.0 %" in only.why
    assert only.energy == pytest.approx(yearly(frame) / 9, rel=0.001)
    assert whats(advice(frame, dirt=Soiling(0.98))) == ["Nothing to do"]


def test_a_sudden_drop_is_found_against_the_same_season() -> None:
    frame = plants.frame(400, noise=0.005)
    frame.loc["2016-05-01":, "ac_power"] *= 0.8
    first = advice(frame)[0]
    assert first.urgency is Urgency.NOW
    assert "20 % less" in first.why


def test_a_wandering_clock_is_to_be_set() -> None:
    before, after = plants.frame(120), plants.frame(60, "2015-09-29")
    moved = pd.DataFrame(np.roll(after.to_numpy(), 1, axis=0), after.index, after.columns)
    assert any("clock" in what for what in whats(advice(pd.concat([before, moved]))))


def test_power_in_the_dark_is_asked_about() -> None:
    frame = plants.frame(30)
    frame.loc[~quality.is_daylight(plants.PLANT, frame), "ac_power"] = -190.0
    found = next(each for each in advice(frame) if "zero" in each.what)
    dark = 1 - quality.is_daylight(plants.PLANT, frame).mean()
    assert "-190 W" in found.why
    assert found.energy == pytest.approx(190 * 8766 * dark / 1000, rel=0.01)


def test_a_broken_thermometer_is_to_be_repaired() -> None:
    frame = plants.frame(30)
    frame.loc["2015-06-01":"2015-06-05", "module_temperature"] = 3276.7
    assert "Repair the temperature sensor" in whats(advice(frame))


def test_unreliable_measurements_are_told() -> None:
    frame = plants.frame(120)
    frame.loc["2015-07-01":"2015-08-15", "poa_irradiance"] = np.nan
    assert "Make the measurements reliable" in whats(advice(frame))


def test_the_most_urgent_comes_first_and_money_is_energy_times_the_assumed_tariff() -> None:
    frame = plants.frame(60, level=0.6)
    frame.loc["2015-07-25":, "ac_power"] = 0.0
    checked = quality.check(plants.PLANT, frame)
    assessed = performance.assess(plants.PLANT, frame, checked)
    findings = Findings(plants.PLANT, frame, checked, assessed, rate(-0.5), CLEAN)
    found = maintenance.suggest(findings, Assumptions(tariff=0.30, currency="EUR"))
    assert [each.urgency for each in found] == sorted((each.urgency for each in found), reverse=True)
    assert len(found) > 2
    for each in found:
        if each.energy is not None:
            assert each.money == pytest.approx(each.energy * 0.30)
    assert str(Assumptions(0.30, "EUR")) == "assumed tariff 0.30 EUR/kWh"


def test_measurements_without_any_value_still_get_an_answer() -> None:
    assert whats(advice(plants.frame(60) * np.nan))


def test_soiling_needs_days_and_no_season() -> None:
    daily = performance.assess(plants.PLANT, plants.frame(60), quality.check(plants.PLANT, plants.frame(60))).daily
    assert "only 60 valid days" in (soiling(daily).reason or "")
    frame = plants.frame(730)
    days = pd.DatetimeIndex(frame.index).day_of_year.to_numpy()
    frame["ac_power"] *= 1 - 0.2 * np.cos(2 * np.pi * days / 365)
    daily = performance.assess(plants.PLANT, frame, quality.check(plants.PLANT, frame)).daily
    assert "with the season" in (soiling(daily).reason or "")


def test_soiling_finds_dirt_that_rain_takes_away() -> None:
    """A saw: 0.2 % a day for fifty days, then clean; on average 5 % are lost."""
    index = pd.date_range("2014-01-01", periods=1000, freq="D", tz="UTC")
    clean = np.random.default_rng(1).normal(1, 0.002, 1000)
    dirty = clean * (1 - 0.002 * (np.arange(1000) % 50))
    daily = pd.DataFrame({"normalized": dirty, "insolation": 5.0}, index=index)
    first, again = soiling(daily), soiling(daily)
    assert first.ratio == pytest.approx(0.951, abs=0.03)
    assert first == again
