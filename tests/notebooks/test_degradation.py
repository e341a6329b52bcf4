"""The rate, its interval, or the reason why there is none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import plants
from wendelin.notebooks.solar import degradation as ageing
from wendelin.notebooks.solar import performance, quality, readings
from wendelin.notebooks.solar.analysis import Analysis, analyse, what_if
from wendelin.notebooks.solar.degradation import Degradation, degradation
from wendelin.notebooks.solar.load import DATA
from wendelin.notebooks.solar.systems import SYSTEMS


def series(years: float = 4, rate: float = -0.8, noise: float = 0.01) -> pd.Series[float]:
    """Daily normalized energy with a known rate."""
    index = pd.date_range("2012-01-01", periods=round(years * 365.25), freq="D", tz="UTC")
    trend = 0.85 * (1 + rate / 100 * np.arange(len(index)) / 365.25)
    return pd.Series(trend * np.random.default_rng(3).normal(1, noise, len(index)), index)


@pytest.mark.slow
def test_a_known_rate_is_found() -> None:
    found = degradation(series())
    assert found.reason is None
    assert found.rate == pytest.approx(-0.8, abs=0.15)
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.8 < found.high
    assert found.level == pytest.approx(0.85, abs=0.005)
    assert "95 % interval" in str(found)


@pytest.mark.slow
def test_the_same_data_give_the_same_figures() -> None:
    """Bootstraps draw; their seed is fixed, and nobody else's random numbers change."""
    data = series()
    np.random.seed(5)
    first = degradation(data)
    after = np.random.random()
    np.random.seed(77)
    second = degradation(data)
    np.random.seed(5)
    assert np.random.random() == after
    assert (first.rate, first.low, first.high, first.rdtools_low) == (
        second.rate, second.low, second.high, second.rdtools_low,
    )  # fmt: skip


def test_neighbouring_days_that_share_their_weather_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    independent = rng.normal(-0.5, 3, 1500)
    shared = rng.normal(-0.5, 3, 1500 // 30).repeat(30)
    narrow, wide = ageing.block_interval(independent), ageing.block_interval(shared)
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


NONE = {
    "no days at all": (series().iloc[:0], "not a single day"),
    "all missing": (series() * np.nan, "not a single day"),
    "one year": (series(1), r"span 1\.0 years \(January 2012 to December 2012\); comparing years needs 2"),
    "few days": (series().iloc[::10], "only 147 valid days"),
    "a gap over every anniversary": (
        pd.concat([series().iloc[:250], series().iloc[720:970]]),
        r"only \d+ of the 500 valid days .* have a valid day one year later; 365 are needed",
    ),
}


@pytest.mark.parametrize(("data", "said"), NONE.values(), ids=NONE)
def test_too_few_data_give_the_reason_not_a_number(data: pd.Series[float], said: str) -> None:
    found = degradation(data)
    assert found.rate is found.low is found.high is None
    assert found.reason is not None
    assert re.search(said, found.reason), found.reason
    assert str(found) == f"no rate: {found.reason}"


def test_days_in_disorder_are_refused() -> None:
    data = series(3)
    with pytest.raises(ValueError, match="go forward and do not repeat"):
        degradation(data.iloc[::-1])
    with pytest.raises(ValueError, match="go forward and do not repeat"):
        degradation(pd.concat([data, data.tail(1)]))
    with pytest.raises(ValueError, match="days as its index"):
        degradation(data.reset_index(drop=True))


def test_an_injected_loss_grows_with_the_years() -> None:
    time = pd.DatetimeIndex(["2012-01-01", "2013-01-01", "2016-01-01"], tz="UTC")
    found = ageing.inject(np.array([100.0, 100.0, 100.0]), time, -1.0)
    assert found == pytest.approx([100, 99.0, 96.0], abs=0.01)


def test_the_chain_from_power_to_rate_finds_the_plants_rate() -> None:
    """A synthetic plant that loses 1.5 % a year, through quality, performance and degradation."""
    frame = plants.frame(4 * 365, rate=-1.5, noise=0.01)
    assessed = performance.assess(plants.PLANT, frame, quality.check(plants.PLANT, frame))
    assert degradation(assessed.daily["normalized"]).rate == pytest.approx(-1.5, abs=0.15)


def test_pvdaq_4_ages_as_published(golden_analysis: Analysis) -> None:
    """RdTools' documentation has −0.408 [−0.629, −0.299] and −0.501 [−0.611, −0.322] for this system."""
    found = golden_analysis.degradation
    assert found.rate is not None
    assert -0.63 <= found.rate <= -0.30
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.5 < found.high < 0
    assert found.days > 2000


@pytest.mark.slow
def test_one_percent_a_year_more_is_seen(golden: pd.DataFrame, golden_analysis: Analysis) -> None:
    """The figures are computed from the measurements: lower them by 1 % a year and the rate follows."""
    before = golden_analysis.degradation.rate
    after = what_if(SYSTEMS["4"], golden, -1.0).degradation.rate
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "said"),
    [("1300", "have a valid day one year later"), ("1403", "span 1.8 years"), ("1422", "span 1.6 years")],
)
def test_systems_with_too_few_data_say_so(name: str, said: str) -> None:
    system = SYSTEMS[name]
    found = analyse(system, readings.read_parquet(Path(DATA) / system.file, system)).degradation
    assert found.rate is None
    assert said in (found.reason or "")


@pytest.mark.slow
def test_a_rate_is_a_rate_and_not_a_default() -> None:
    """Rising plants rise: the sign is the data's."""
    found: Degradation = degradation(series(rate=+2.0))
    assert found.rate == pytest.approx(2.0, abs=0.2)
