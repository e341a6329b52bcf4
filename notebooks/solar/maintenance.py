"""A first maintenance suggestion: what to do, why, and what it is worth.

Rules over what the other modules computed; each is one function that returns a `Suggestion` or nothing, so that a plant
can be explained: which figure made which advice. Energy is what the plant would gain per year, by its own performance.
Money is that energy × `Assumptions.tariff`, an **assumption** and labelled so wherever it is shown.

Typical ageing: median −0.5 … −0.6 %/year over 11 000 systems (Jordan, Kurtz, VanSant, Newmiller 2016,
doi 10.1002/pip.2744). Typical temperature-corrected performance ratio of a healthy AC system: 0.8 … 0.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
import pandas as pd

from wendelin.notebooks.solar.dates import day
from wendelin.notebooks.solar.degradation import Degradation
from wendelin.notebooks.solar.performance import Performance
from wendelin.notebooks.solar.quality import Quality
from wendelin.notebooks.solar.readings import stamps, step
from wendelin.notebooks.solar.soiling import SWING, Soiling, by_season, swing
from wendelin.notebooks.solar.systems import System

TYPICAL_AGEING: Final = -0.5
FAST_AGEING: Final = -0.75
HEALTHY: Final = 0.80
LOW: Final = 0.75


class Urgency(IntEnum):
    """How soon: the words of the dashboard."""

    NOTHING = 0
    WATCH = 1
    PLAN = 2
    NOW = 3


@dataclass(frozen=True)
class Assumptions:
    """What the money rests on. Not from the data: change it to your contract."""

    tariff: float = 0.12
    currency: str = "USD"

    def __str__(self) -> str:
        return f"assumed tariff {self.tariff:.2f} {self.currency}/kWh"


@dataclass(frozen=True)
class Suggestion:
    """`what` to do and `why`; `energy` kWh per year and `money` per year it is worth, None where that is unknown.

    `kind` is that of a maintenance order (`orders.SERVICES`).
    """

    urgency: Urgency
    what: str
    why: str
    energy: float | None = None
    money: float | None = None
    kind: str = "inspection"


@dataclass(frozen=True)
class Findings:
    """Everything the rules look at."""

    system: System
    frame: pd.DataFrame
    quality: Quality
    performance: Performance
    degradation: Degradation
    soiling: Soiling

    @property
    def yearly_energy(self) -> float:
        """kWh a running year gives: expected energy of a year × performance; NaN when unknown."""
        expected = self.performance.daily["expected"]
        expected = expected[expected > 0]
        return float(expected.mean() * 365.25 * self.performance.ratio) if len(expected) else float("nan")


Rule = Callable[[Findings], Suggestion | None]


def suggest(findings: Findings, assumptions: Assumptions | None = None) -> tuple[Suggestion, ...]:
    """Suggestions, most urgent and most valuable first; one that says "nothing to do" when no rule speaks."""
    money = assumptions or Assumptions()
    found = [_priced(s, money) for rule in RULES if (s := rule(findings)) is not None]
    if not found:
        return (Suggestion(Urgency.NOTHING, "Nothing to do", "no finding asks for a visit; look again in a year"),)
    return tuple(sorted(found, key=lambda s: (-s.urgency, -(s.energy or 0.0))))


def _priced(suggestion: Suggestion, money: Assumptions) -> Suggestion:
    if suggestion.energy is None or not np.isfinite(suggestion.energy):
        return replace(suggestion, energy=None, money=None)
    return replace(suggestion, money=suggestion.energy * money.tariff)


def _down_now(f: Findings) -> Suggestion | None:
    """The last days with power and light gave nothing."""
    daily = f.performance.daily
    sunny = daily[daily["out"] | daily["performance"].notna()]
    if not len(sunny) or not bool(sunny["out"].iloc[-1]):
        return None
    days = days_of(sunny)
    running = days[~sunny["out"].to_numpy(np.bool_)]
    since = days[days > running[-1]][0] if len(running) else days[0]
    return Suggestion(
        Urgency.NOW,
        "Send somebody to the inverter",
        f"no output in sunshine since {day(since)}, while the irradiance sensor goes on",
        f.yearly_energy,
        kind="repair",
    )


def _was_down(f: Findings) -> Suggestion | None:
    """Ten days out and more, and one judged day in a hundred: worth an alarm."""
    daily = f.performance.daily
    out = int(daily["out"].sum())
    if out < 10 or out < 0.01 * (out + daily["performance"].notna().sum()):
        return None
    lost = float(daily["expected"][daily["out"]].sum() * f.performance.ratio)
    years = max(1.0, len(daily) / 365.25)
    start, end = _longest(daily)
    frost = ", in frost: snow on the modules, most likely" if _was_frost(f, start, end) else ""
    return Suggestion(
        Urgency.PLAN,
        "Have outages reported within a day",
        f"{out} days without output in sunshine; the longest stretch from {day(start)} to {day(end)}{frost}",
        lost / years,
    )


def _was_frost(f: Findings, start: pd.Timestamp, end: pd.Timestamp) -> bool:
    """The modules (or the air) were below 2 °C in the middle of a stretch; unknown is no."""
    for field in ("module_temperature", "ambient_temperature"):
        if field in f.frame:
            inside = (stamps(f.frame) >= start) & (stamps(f.frame) < end + pd.Timedelta(days=1))
            sane = f.frame[field][inside & ~f.quality.has("temperature_range")]
            return bool(sane.median() < 2.0)
    return False


def _longest(daily: pd.DataFrame) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last day of the longest stretch of days out; days without a verdict do not end a stretch."""
    out = daily["out"].to_numpy(np.bool_)
    working = daily["performance"].notna().to_numpy()
    stretch = np.cumsum(working)[out]  # the same number until the plant worked again
    days = days_of(daily)[out]
    numbers, counts = np.unique(stretch, return_counts=True)
    longest = days[stretch == numbers[counts.argmax()]]
    return longest[0], longest[-1]


def days_of(daily: pd.DataFrame) -> pd.DatetimeIndex:
    """The days of ``Performance.daily``."""
    assert isinstance(daily.index, pd.DatetimeIndex)
    return daily.index


def _last(series: pd.Series[float]) -> pd.Timestamp | None:
    """Stamp of the last value."""
    assert isinstance(series.index, pd.DatetimeIndex)
    known = series.index[series.notna().to_numpy()]
    return known[-1] if len(known) else None


def _no_meter(f: Findings) -> Suggestion | None:
    """Light is measured for a month and more after the last power value."""
    power, light = _last(f.frame[f.system.power]), _last(f.frame[f.system.irradiance])
    if light is None:
        return None
    if power is None:
        return Suggestion(Urgency.NOW, "Connect the power meter", "no power value was ever recorded", kind="repair")
    silent = (light - power) / pd.Timedelta(days=1)
    if silent < 30:
        return None
    return Suggestion(
        Urgency.NOW,
        "Restore the power meter's connection",
        f"no power value since {day(power)}, while irradiance was recorded until {day(light)}: "
        f"for {silent:.0f} days nobody knew what the plant gave",
        kind="repair",
    )


def _low_level(f: Findings) -> Suggestion | None:
    """Far below what the published rated power promises. Says nothing when the rated power is an estimate.

    A sensor that is not in the modules' plane makes the performance low and swing with the sun's height. Then nobody
    knows whether any energy is lost, and no energy is promised.
    """
    ratio = f.performance.over(365)
    if f.performance.rated_is_estimated or not ratio < LOW:
        return None
    level = f"performance {ratio:.2f} in the last year with data, a healthy plant has {HEALTHY:.2f} and more"
    season = by_season(f.performance.daily["normalized"])
    if swing(season) > SWING:
        return Suggestion(
            Urgency.PLAN,
            "Compare the irradiance sensor's angle with the modules'",
            f"{level}, and it swings with the season from {season.min():.2f} to {season.max():.2f}: the sensor is "
            "tilted differently, most likely, so nobody knows yet whether energy is lost",
        )
    return Suggestion(
        Urgency.PLAN,
        "Measure the strings",
        f"{level}: strings may be off, or the irradiance sensor reads too much",
        (HEALTHY / ratio - 1) * f.yearly_energy * ratio / f.performance.ratio,
    )


def _ageing(f: Findings) -> Suggestion | None:
    aged = f.degradation
    if aged.rate is None or aged.low is None or aged.high is None:
        return None
    if aged.high < FAST_AGEING:
        return Suggestion(
            Urgency.PLAN,
            "Inspect the modules (thermography, I-V curves) and check the warranty",
            f"loses {-aged.rate:.2f} % a year (at least {-aged.high:.2f}), more than the usual {-TYPICAL_AGEING:.1f}",
            (TYPICAL_AGEING - aged.rate) / 100 * f.yearly_energy,
        )
    if aged.high < 0:
        return Suggestion(
            Urgency.WATCH,
            "Keep watching the ageing",
            f"loses {-aged.rate:.2f} % a year, the usual {-TYPICAL_AGEING:.1f} is inside the interval"
            if aged.low <= TYPICAL_AGEING
            else f"loses {-aged.rate:.2f} % a year, less than the usual {-TYPICAL_AGEING:.1f}",
        )
    return None


def _dirt(f: Findings) -> Suggestion | None:
    ratio = f.soiling.ratio
    if ratio is None or ratio > 0.97:
        return None
    return Suggestion(
        Urgency.PLAN,
        "Compare the price of a cleaning with what dirt costs",
        f"dirt takes {100 * (1 - ratio):.1f} % of the energy on average",
        (1 / ratio - 1) * f.yearly_energy,
        kind="cleaning",
    )


def _recent_drop(f: Findings) -> Suggestion | None:
    """The last 60 valid days against the same season one year before: less than 90 %."""
    valid = f.performance.daily["normalized"].dropna()
    if len(valid) < 120:
        return None
    last = valid.tail(60)
    assert isinstance(valid.index, pd.DatetimeIndex)
    year_before = valid.index[-60:] - pd.DateOffset(years=1)
    before = valid[(valid.index >= year_before[0]) & (valid.index <= year_before[-1])]
    if len(before) < 30:
        return None
    change = float(last.median() / before.median() - 1)
    if change > -0.10:
        return None
    return Suggestion(
        Urgency.NOW,
        "Look for a sudden fault: strings, fuses, shade, snow",
        f"the last 60 valid days gave {-100 * change:.0f} % less for the same light than a year before",
        -change * f.yearly_energy,
    )


def _clock(f: Findings) -> Suggestion | None:
    share = float(f.quality.has("clock").mean())
    if share < 0.01:
        return None
    first = stamps(f.frame)[f.quality.has("clock")][0]
    return Suggestion(
        Urgency.PLAN,
        "Set the data logger's clock to a fixed zone",
        f"{100 * share:.0f} % of the stamps are off by about an hour, the first on {day(first)}: "
        "summer time, most likely",
        kind="calibration",
    )


def _night(f: Findings) -> Suggestion | None:
    metered = f.frame[f.system.power].notna().to_numpy()
    dark = ~f.quality.daylight & metered
    found = f.quality.has("night_power")
    if not dark.any() or found.sum() < 0.2 * dark.sum():
        return None
    watts = float(f.frame[f.system.power][found].mean())
    hours = float(dark.sum() / metered.sum() * 365.25 * 24)
    return Suggestion(
        Urgency.PLAN,
        "Check the power meter's zero and what runs at night",
        f"the meter shows {watts:.0f} W in the dark; if that is real, the plant buys this energy",
        abs(watts) * hours / 1000 if watts < 0 else None,
        kind="calibration",
    )


def _sensors(f: Findings) -> Suggestion | None:
    daylight = max(1, int(f.quality.daylight.sum()))
    shares = {
        "temperature": f.quality.has("temperature_range").sum() / daylight,
        "irradiance": (f.quality.has("irradiance_range") | f.quality.has("stuck_irradiance")).sum() / daylight,
    }
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] < 0.02:
        return None
    return Suggestion(
        Urgency.PLAN,
        f"Repair the {worst} sensor",
        f"{100 * shares[worst]:.0f} % of its daylight values cannot be true: those hours are lost for every judgement",
        kind="repair",
    )


def _gaps(f: Findings) -> Suggestion | None:
    """A quarter of the last year's daylight hours is unusable; a silent meter has its own advice."""
    if _no_meter(f) is not None:
        return None
    recent = stamps(f.frame) > stamps(f.frame)[-1] - pd.Timedelta(days=365)
    daylight = f.quality.daylight & recent
    if int(daylight.sum()) * step(f.frame) < pd.Timedelta(hours=500):
        return None
    lost = 1 - (f.quality.usable & recent).sum() / daylight.sum()
    if lost < 0.25:
        return None
    return Suggestion(
        Urgency.WATCH,
        "Make the measurements reliable",
        f"{100 * lost:.0f} % of the last year's daylight hours cannot be used for any judgement",
    )


RULES: Final[tuple[Rule, ...]] = (
    _down_now,
    _was_down,
    _no_meter,
    _low_level,
    _recent_drop,
    _ageing,
    _dirt,
    _clock,
    _night,
    _sensors,
    _gaps,
)
