"""A plant whose truth is known: its sun is astronomy, its power is PVWatts' formula, its faults are ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pvlib import solarposition

from wendelin.notebooks.solar.quiet import quiet
from wendelin.notebooks.solar.systems import Column, Fact, System

PLANT = System(
    id="plant",
    name="Plant",
    place="Nowhere",
    file="plant.parquet",
    clock="UTC",
    latitude=Fact(40.0, "test"),
    longitude=Fact(0.0, "test"),
    tilt=Fact(30.0, "test"),
    azimuth=Fact(180.0, "test"),
    rated_power=Fact(10_000.0, "test"),
    temperature_coefficient=Fact(-0.004, "test"),
    columns=(
        Column("ac_power", "P", "W"),
        Column("poa_irradiance", "G", "W/m²"),
        Column("module_temperature", "T", "°C"),
    ),
)
LEVEL = 0.85
"""Performance of the healthy plant."""


def plant(**changes: Any) -> System:
    """`PLANT` with other fields."""
    return replace(PLANT, **changes)


def frame(
    days: int = 30, begin: str = "2015-06-01", *, rate: float = 0.0, noise: float = 0.0, level: float = LEVEL
) -> pd.DataFrame:
    """Hours of `PLANT`: `rate` in %/year of the first level, `noise` as the spread of each day's performance."""
    index = pd.date_range(begin, periods=24 * days, freq="h", tz="UTC", name="time").as_unit("ns")
    with quiet():
        sun = solarposition.get_solarposition(index + pd.Timedelta(minutes=30), 40.0, 0.0, method="ephemeris")
    light = 1000 * np.sin(np.radians(sun["elevation"].clip(lower=0).to_numpy())) ** 1.15
    module = 15 + light / 50
    cell = module + light / 1000 * 3
    years = (index - index[0]) / pd.Timedelta(days=365.25)
    wobble = np.random.default_rng(0).normal(1, noise, days).repeat(24) if noise else 1.0
    power = 10_000 * light / 1000 * (1 - 0.004 * (cell - 25)) * level * (1 + rate / 100 * years.to_numpy()) * wobble
    return pd.DataFrame({"ac_power": power, "poa_irradiance": light, "module_temperature": module}, index=index)


def table(measurements: pd.DataFrame) -> pd.DataFrame:
    """The frame as it would stand in the plant's file: its columns' names, stamps without a zone."""
    names = {column.name: column.source for column in PLANT.columns}
    return measurements.rename(columns=names).tz_localize(None)
