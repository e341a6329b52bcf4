"""Quality of measurements: one bit a finding, kept beside the measurements and never instead of them.

Checks by pvanalytics where it has one that runs on hourly data: stuck values, clipping, outliers, limits of the
weather, completeness. Three are ours, each for a reason:

* *daylight* from the sun's position: pvanalytics' `daytime.power_or_irradiance` calls a private class that pandas 3
  no longer has, and a dark sensor at noon must count as a fault and not as a night;
* *clock* (stamps that moved, such as summer time in data that had none): pvanalytics' detector needs another package;
  the middle of the day against the sun's transit finds the same;
* *outage* (sun, but no power) needs power and irradiance together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pvanalytics.features import clipping
from pvanalytics.quality import gaps, outliers, weather
from pvlib import solarposition

from wendelin.notebooks.solar.flags import BRIGHT, BY_NAME, DAYLIGHT_BIT, EXCLUDING, FLAGS
from wendelin.notebooks.solar.quiet import quiet
from wendelin.notebooks.solar.readings import check_frame, stamps, step
from wendelin.notebooks.solar.systems import System

Mask = npt.NDArray[np.bool_]

DAYLIGHT_ELEVATION: Final = 5.0
"""Degrees of the sun above the horizon from which on a system is expected to measure."""


@dataclass(frozen=True)
class Quality:
    """Findings for the rows of a frame.

    Attributes
    ----------
    flags : ndarray of uint16, shape (rows,)
        Bit `Flag.bit` is set where the finding holds; 0 is an hour without findings.
    daylight : ndarray of bool, shape (rows,)
        The sun is more than `DAYLIGHT_ELEVATION` degrees up in the middle of the interval.
    clock : Series
        Hours by which the middle of each day (UTC date) is late against its usual place; empty when unknown.
    completeness : Series
        Per UTC date, 0…1: the part of the daylight intervals that have both power and irradiance.
    """

    flags: npt.NDArray[np.uint16]
    daylight: Mask
    clock: pd.Series[float]
    completeness: pd.Series[float]

    @property
    def usable(self) -> Mask:
        """Daylight rows without an excluding finding, shape (rows,)."""
        return np.asarray(self.daylight & ((self.flags & np.uint16(EXCLUDING)) == 0))

    def has(self, name: str) -> Mask:
        """Rows with the finding `name`, shape (rows,)."""
        return np.asarray((self.flags & np.uint16(1 << BY_NAME[name].bit)) != 0)

    @property
    def stored(self) -> npt.NDArray[np.uint16]:
        """`flags` with `DAYLIGHT_BIT`, as the database keeps them."""
        return np.asarray(self.flags | np.where(self.daylight, DAYLIGHT_BIT, np.uint16(0)))

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows a finding."""
        return {flag.name: int(self.has(flag.name).sum()) for flag in FLAGS}

    @property
    def usable_share(self) -> float:
        """Usable daylight rows / daylight rows, 0…1; NaN without daylight."""
        daylight = int(self.daylight.sum())
        return float(self.usable.sum() / daylight) if daylight else float("nan")


def check(system: System, frame: pd.DataFrame) -> Quality:
    """All findings for `frame` (see `readings`), by the rules of `FLAGS`.

    Raises
    ------
    MeasurementsError
        The frame has no rows, no power or irradiance, or stamps that go back or repeat. Missing values are findings,
        not errors.
    """
    check_frame(frame, system)
    daylight = is_daylight(system, frame)
    clock = clock_shift(system, frame)
    masks = {
        **_missing(system, frame, daylight),
        **_stuck(system, frame, daylight),
        **_limits(system, frame),
        **_power_against_light(system, frame, daylight),
        "clipping": _clipping(system, frame, daylight),
        "clock": _moved(frame, clock),
    }
    flags = np.zeros(len(frame), np.uint16)
    for name, mask in masks.items():
        flags[mask] |= np.uint16(1 << BY_NAME[name].bit)
    return Quality(flags, daylight, clock, _completeness(system, frame, daylight))


def is_daylight(system: System, frame: pd.DataFrame) -> Mask:
    """Rows in whose middle the sun is more than `DAYLIGHT_ELEVATION` degrees up, shape (rows,).

    Sun's position by pvlib (ephemeris method, error < 0.01°). Where the place is unknown: irradiance > 5 W/m².
    """
    if system.latitude.value is None or system.longitude.value is None:
        return frame[system.irradiance].to_numpy(np.float64) > 5.0
    middle = stamps(frame) + step(frame) / 2
    with quiet():
        sun = solarposition.get_solarposition(middle, system.latitude.value, system.longitude.value, method="ephemeris")
    return np.asarray(sun["elevation"].to_numpy() > DAYLIGHT_ELEVATION)


def power_scale(system: System, frame: pd.DataFrame) -> float:
    """The rated power in W where it is known, else the power that 99.9 % of the rows stay below; 1 W at least."""
    if system.rated_power.value is not None:
        return system.rated_power.value
    power = frame[system.power].dropna()
    return max(1.0, float(power.quantile(0.999))) if len(power) else 1.0


def clock_shift(system: System, frame: pd.DataFrame, *, window: int = 15) -> pd.Series[float]:
    """Hours by which the irradiance-weighted middle of a day is late, against the median of all days.

    The sun's transit in UTC hours is 12 − longitude/15 − E/60 with E the equation of time in minutes (Spencer 1971).
    Only bright days count (more than half of the insolation that one day in twenty exceeds); a rolling median over
    `window` of them keeps clouds from looking like clocks.

    Returns
    -------
    Series of float64, one bright day each, index UTC midnight of the solar day; empty when the longitude is unknown or
    there are fewer than `window` bright days.
    """
    if system.longitude.value is None:
        return pd.Series(dtype=float)
    light = frame[system.irradiance].clip(lower=0).where(frame[system.irradiance] < 1500)
    # In local mean time a day is one sunny hump, whatever the longitude.
    local = stamps(frame) + pd.Timedelta(hours=system.longitude.value / 15) + step(frame) / 2
    day = local.normalize()
    hour = (local - day) / pd.Timedelta(hours=1)
    total = light.groupby(day).sum()
    weighted = (light * hour.to_numpy()).groupby(day).sum()
    bright = total > 0.5 * total.quantile(0.95)
    middle = (weighted / total)[bright]
    if len(middle) < window:
        return pd.Series(dtype=float)
    assert isinstance(middle.index, pd.DatetimeIndex)
    equation = np.asarray(solarposition.equation_of_time_spencer71(middle.index.day_of_year.to_numpy()))
    late = middle - (12 - equation / 60)
    smooth: pd.Series[float] = late.rolling(window, center=True, min_periods=1).median()
    return smooth - smooth.median()


def _moved(frame: pd.DataFrame, clock: pd.Series[float], limit: float = 0.75) -> Mask:
    if clock.empty:
        return np.zeros(len(frame), np.bool_)
    days = stamps(frame).normalize()
    # Dull days take the state of the bright day before them.
    known = clock.reindex(clock.index.union(days)).ffill().bfill()
    return np.asarray(known.reindex(days).abs().to_numpy() > limit)


def _missing(system: System, frame: pd.DataFrame, daylight: Mask) -> dict[str, Mask]:
    return {
        "missing_power": daylight & frame[system.power].isna().to_numpy(),
        "missing_irradiance": daylight & frame[system.irradiance].isna().to_numpy(),
    }


def _stuck(system: System, frame: pd.DataFrame, daylight: Mask, window: int = 4) -> dict[str, Mask]:
    """Zero is no stuck value: without light it is right, with light it is an outage."""
    found = {}
    floors = {system.power: 0.01 * power_scale(system, frame), system.irradiance: 5.0}
    days = _local_days(system, frame).normalize()
    for name, field in (("stuck_power", system.power), ("stuck_irradiance", system.irradiance)):
        lit = frame[field].where(daylight & (frame[field] > floors[field]).to_numpy())
        # pvanalytics looks at each window in Python. Nights part the days: those without any repetition are spared it.
        repeated = np.isclose(lit, lit.shift())
        suspect = np.asarray(days.isin(days[repeated]))
        stale = np.zeros(len(frame), np.bool_)
        if suspect.any():
            with quiet():
                stale[suspect] = gaps.stale_values_diff(lit[suspect], window=window, mark="all").to_numpy()
        found[name] = stale
    return found


def _limits(system: System, frame: pd.DataFrame) -> dict[str, Mask]:
    power, light = frame[system.power], frame[system.irradiance]
    scale = power_scale(system, frame)
    hot = np.zeros(len(frame), np.bool_)
    for field, limits in (("ambient_temperature", (-35.0, 50.0)), ("module_temperature", (-40.0, 110.0))):
        if field in frame:
            inside = weather.temperature_limits(frame[field], limits=limits)
            hot |= (~inside & frame[field].notna()).to_numpy(np.bool_)
    return {
        "power_range": ((power < -0.1 * scale) | (power > 1.5 * scale)).to_numpy(),
        "irradiance_range": ((light < -20) | (light > 1500)).to_numpy(),
        "temperature_range": hot,
    }


def _power_against_light(system: System, frame: pd.DataFrame, daylight: Mask) -> dict[str, Mask]:
    power, light = frame[system.power], frame[system.irradiance]
    scale = power_scale(system, frame)
    bright = daylight & (light > BRIGHT).to_numpy() & (light < 1500).to_numpy()
    works = bright & (power > 0.01 * scale).to_numpy()
    strange = np.zeros(len(frame), np.bool_)
    ratio = (power / light)[works]
    if len(ratio) >= 100:  # fences of fewer points say little
        # Against the median of its own day: half of a plant that is off for weeks is a loss, not an outlier.
        days = _local_days(system, frame).normalize()[works]
        strange[works] = outliers.tukey(ratio / ratio.groupby(days).transform("median"), k=3.0).to_numpy()
    return {
        "outage": bright & (power < 0.01 * scale).to_numpy(),
        "outlier": strange,
        "night_power": ~daylight & (light.fillna(0) < 5).to_numpy() & (power.abs() > 0.01 * scale).to_numpy(),
    }


def _clipping(system: System, frame: pd.DataFrame, daylight: Mask) -> Mask:
    """Flat tops by pvanalytics' geometric method, in the upper half of the power only."""
    power = frame[system.power].where(daylight)
    if power.notna().sum() < 24:
        return np.zeros(len(frame), np.bool_)
    minutes = max(1, round(step(frame) / pd.Timedelta(minutes=1)))
    # pvanalytics groups by calendar day: give it local days, so that one hump is one day.
    local = power.set_axis(_local_days(system, frame))
    with quiet():
        flat = clipping.geometric(local.copy(), freq=f"{minutes}min")
    return np.asarray(flat.to_numpy(np.bool_) & (power > 0.5 * power_scale(system, frame)).to_numpy())


def _local_days(system: System, frame: pd.DataFrame) -> pd.DatetimeIndex:
    offset = round((system.longitude.value or 0.0) / 15)
    return (stamps(frame) + pd.Timedelta(hours=offset)).tz_localize(None)


def _completeness(system: System, frame: pd.DataFrame, daylight: Mask) -> pd.Series[float]:
    both = frame[[system.power, system.irradiance]].notna().all(axis=1)
    days = pd.Series(daylight, frame.index).groupby(stamps(frame).normalize()).sum()
    good = (both & daylight).groupby(stamps(frame).normalize()).sum()
    return (good / days.where(days > 0)).fillna(0.0)
