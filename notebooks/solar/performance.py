"""What a system should have given under the light and temperature it had, and what it gave.

Formulas, each with its source:

* expected power ``P = P_rated · G/1000 · (1 + γ (T_cell − 25))``: PVWatts v5 (Dobos 2014, NREL/TP-6A20-62641, eq. 8);
* cell temperature from the air: ``T_m = G e^(a + b·wind) + T_air``, ``T_cell = T_m + G/1000 · ΔT`` with SAPM's figures
  a = −3.56, b = −0.075, ΔT = 3 °C of open-rack glass/polymer modules (King et al. 2004, SAND2004-3535), by pvlib;
* cell temperature from the module's back: the second of these two;
* performance of a period: energy / expected energy over the same usable hours, which is the temperature-corrected
  performance ratio of IEC 61724-1:2017 (14.3.4) with 25 °C as the reference. Days of outage do not enter it: they are
  counted by themselves, so that a switched-off plant does not look like a bad one;
* hours that count for degradation: 200…1200 W/m², cell −50…110 °C, as RdTools' sensor analysis filters
  (Jordan et al. 2018, doi 10.1109/JPHOTOV.2017.2779779).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pvlib import temperature

from wendelin.notebooks.solar.quality import Quality
from wendelin.notebooks.solar.readings import stamps, step
from wendelin.notebooks.solar.systems import System

SAPM: Final = temperature.TEMPERATURE_MODEL_PARAMETERS["sapm"]["open_rack_glass_polymer"]
ASSUMED_WIND: Final = 1.0
"""m/s, where the wind was not measured: PVWatts' habit."""

LIGHT: Final = (200.0, 1200.0)
CELL: Final = (-50.0, 110.0)
OUTAGE_SHARE: Final = 0.05
"""A day below this part of its expected energy is a day out."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Performance:
    """Performance of one system.

    Attributes
    ----------
    rated_power : float
        W, the published one or the estimate; NaN when there is neither.
    rated_is_estimated : bool
        The rated power comes from the measurements, so the *level* of the performance says nothing; its trend does.
    hourly : DataFrame
        A row a row of the measurements: ``expected`` (W), ``normalized`` (power / expected), ``counts`` (bool: enters
        the daily normalized energy).
    daily : DataFrame
        A row a local day: ``energy`` and ``expected`` (kWh; expected: all daylight hours with light),
        ``expected_usable`` (kWh, usable hours), ``performance`` (0…, usable hours, NaN on days out), ``insolation``
        (kWh/m², usable hours), ``normalized`` (weighted by insolation, hours that count, NaN where none did),
        ``coverage`` (0…1 of the daylight hours usable), ``out`` (bool: a day of outage).
    """

    rated_power: float
    rated_is_estimated: bool
    hourly: pd.DataFrame
    daily: pd.DataFrame

    @property
    def ratio(self) -> float:
        """Performance over the whole life, 0…; NaN when no hour was usable."""
        return self.over(None)

    def over(self, days: int | None) -> float:
        """Performance over the last `days` days that have usable hours (None: all), weighted by expected energy."""
        valid = self.daily.dropna(subset=["performance"])
        if days is not None:
            valid = valid.tail(days)
        weight = valid["expected_usable"].sum()
        return float((valid["performance"] * valid["expected_usable"]).sum() / weight) if weight > 0 else float("nan")


def assess(system: System, frame: pd.DataFrame, quality: Quality) -> Performance:
    """Performance of `system` on the usable hours of `frame` (W, W/m², °C, m/s). Needs no network and no database."""
    cell = cell_temperature(system, frame)
    rated, estimated = rated_power(system, frame, quality, cell)
    light = frame[system.irradiance].to_numpy(np.float64)
    expected = expected_power(light, cell, rated, system.temperature_coefficient.value or 0.0)
    power = frame[system.power].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        normalized = np.where(expected > 0, power / expected, np.nan)
    counts = (
        quality.usable
        & (light > LIGHT[0])
        & (light < LIGHT[1])
        & (cell > CELL[0])
        & (cell < CELL[1])
        & (normalized > 0.01)  # an inverter that is off is availability, not ageing
    )
    hourly = pd.DataFrame({"expected": expected, "normalized": normalized, "counts": counts}, index=frame.index)
    return Performance(rated, estimated, hourly, _daily(system, frame, quality, hourly))


def cell_temperature(system: System, frame: pd.DataFrame) -> Floats:
    """Cell temperature in °C, shape (rows,): from the modules' back, else from the air and the wind, else NaN."""
    light = frame[system.irradiance]
    if "module_temperature" in frame:
        cell = temperature.sapm_cell_from_module(frame["module_temperature"], light, SAPM["deltaT"])
    elif "ambient_temperature" in frame:
        wind = frame["wind_speed"] if "wind_speed" in frame else pd.Series(ASSUMED_WIND, frame.index)
        cell = temperature.sapm_cell(light, frame["ambient_temperature"], wind.fillna(ASSUMED_WIND), **SAPM)
    else:
        return np.full(len(frame), np.nan)
    return np.asarray(cell, np.float64)


def expected_power(light: Floats, cell: Floats, rated: float, coefficient: float) -> Floats:
    """Expected power in W (PVWatts v5): `light` W/m², `cell` °C, `rated` W, `coefficient` 1/°C; negative becomes 0."""
    return np.maximum(0.0, rated * light / 1000 * (1 + coefficient * (cell - 25.0)))


def rated_power(system: System, frame: pd.DataFrame, quality: Quality, cell: Floats) -> tuple[float, bool]:
    """Rated power in W and whether it is an estimate.

    Where none is published: the 95th percentile of power / expected power per W over the usable hours above 600 W/m²
    of the first year that has a hundred of them. So the performance of a good hour of that year is about 1.
    """
    if system.rated_power.value is not None:
        return system.rated_power.value, False
    light = frame[system.irradiance].to_numpy(np.float64)
    per_watt = expected_power(light, cell, 1.0, system.temperature_coefficient.value or 0.0)
    power = frame[system.power].to_numpy(np.float64)
    good = quality.usable & (light > 600) & (per_watt > 0) & (power > 0)
    ratio = pd.Series(power[good] / per_watt[good], stamps(frame)[good])
    for _, year in ratio.groupby(pd.DatetimeIndex(ratio.index).year):
        if len(year) >= 100:
            return float(year.quantile(0.95)), True
    return float("nan"), True


def _daily(system: System, frame: pd.DataFrame, quality: Quality, hourly: pd.DataFrame) -> pd.DataFrame:
    hours = step(frame) / pd.Timedelta(hours=1)
    power = frame[system.power].clip(lower=0)
    light = frame[system.irradiance].clip(lower=0)
    usable = pd.Series(quality.usable & hourly["expected"].notna().to_numpy(), frame.index)
    daylight = pd.Series(quality.daylight, frame.index)
    counted = hourly["counts"]
    # An hour out still shows what the light would have given.
    sane = daylight & (light < 1500) & ~pd.Series(quality.has("clock"), frame.index)
    kilo = hours / 1000
    table = pd.DataFrame(
        {
            "energy": power.where(daylight & ~pd.Series(quality.has("power_range"), frame.index)) * kilo,
            "expected": hourly["expected"].where(sane) * kilo,
            "energy_usable": power.where(usable) * kilo,
            "expected_usable": hourly["expected"].where(usable) * kilo,
            "expected_powered": hourly["expected"].where(sane & power.notna()) * kilo,
            "insolation": light.where(usable) * kilo,
            "weight": light.where(counted),
            "weighted": (light * hourly["normalized"]).where(counted),
            "usable": usable.astype(float),
            "daylight": daylight.astype(float),
        }
    )
    days = table.groupby(local_day(system, frame)).sum()
    return _ratios(days)


def _ratios(days: pd.DataFrame) -> pd.DataFrame:
    """Sums of days to what `Performance.daily` promises."""
    full = pd.date_range(days.index[0], days.index[-1], freq="D", tz="UTC")
    days = days.reindex(full, fill_value=0.0)
    days.index.name = "day"
    days["performance"] = days["energy_usable"] / days["expected_usable"].where(days["expected_usable"] > 0)
    days["normalized"] = days["weighted"] / days["weight"].where(days["weight"] > 0)
    days["coverage"] = days["usable"] / days["daylight"].where(days["daylight"] > 0)
    # Only where power was measured and the light was worth a day can a day be called out.
    enough = days["expected_powered"] > 0.25 * days["expected_powered"].quantile(0.95)
    days["out"] = enough & (days["energy"] < OUTAGE_SHARE * days["expected_powered"])
    # A dull day of the same outage is not called out, but it is no performance either.
    idle = days["out"] | (days["performance"] < OUTAGE_SHARE)
    days.loc[idle, ["performance", "normalized"]] = np.nan
    days.loc[idle, "expected_usable"] = 0.0
    wanted = ["energy", "expected", "expected_usable", "performance", "insolation", "normalized", "coverage", "out"]
    return days[wanted]


def local_day(system: System, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The solar day of each row as UTC midnight: days begin at local mean midnight, so no day is cut by a zone."""
    shift = pd.Timedelta(hours=round((system.longitude.value or 0.0) / 15))
    return (stamps(frame) + shift).normalize()


def by_period(performance: Performance, period: str) -> pd.DataFrame:
    """Months (``"MS"``) or years (``"YS"``): ``energy`` kWh, ``performance``, ``days_out``, ``coverage``.

    ``coverage`` 0…1 is the usable part of the daylight of the whole calendar period, so a year that begins in August
    is not complete. A period without a single usable hour has a performance of NaN.
    """
    daily = performance.daily
    grouped = daily.assign(weighted=daily["performance"] * daily["expected_usable"]).resample(period)
    sums = grouped[["energy", "weighted", "expected_usable", "coverage"]].sum()
    starts = sums.index
    assert isinstance(starts, pd.DatetimeIndex)
    length = ((starts + pd.tseries.frequencies.to_offset(period)) - starts) / pd.Timedelta(days=1)
    return pd.DataFrame(
        {
            "energy": sums["energy"],
            "performance": sums["weighted"] / sums["expected_usable"].where(sums["expected_usable"] > 0),
            "days_out": grouped["out"].sum().astype(int),
            "coverage": sums["coverage"] / length.to_numpy(),
        }
    )
