"""Findings: their names, meanings and bits. Light to import: the dashboard needs them without the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

BRIGHT: Final = 200.0
"""W/m² from which on power without light, or light without power, is a fault; RdTools' lower limit as well."""


@dataclass(frozen=True)
class Flag:
    """One kind of finding. `excludes`: an hour with it is left out of performance and degradation."""

    name: str
    bit: int
    title: str
    meaning: str
    excludes: bool = True


FLAGS: Final = (
    Flag("missing_power", 0, "Power missing", "daylight, but no power value"),
    Flag("missing_irradiance", 1, "Irradiance missing", "daylight, but no irradiance value"),
    Flag("stuck_power", 2, "Power stuck", "the same power for four intervals or more by daylight"),
    Flag("stuck_irradiance", 3, "Irradiance stuck", "the same irradiance for four intervals or more by daylight"),
    Flag("power_range", 4, "Power out of range", "below −10 % or above 150 % of the rated power"),
    Flag("irradiance_range", 5, "Irradiance out of range", "below −20 or above 1500 W/m²"),
    Flag("temperature_range", 6, "Temperature out of range", "air not in −35…50 °C or modules not in −40…110 °C"),
    Flag("outage", 7, "No output in sunshine", f"more than {BRIGHT:.0f} W/m², but less than 1 % of the rated power"),
    Flag("outlier", 8, "Outlier", "power per irradiance far from that of its day (Tukey's fences, k = 3)"),
    Flag("clipping", 9, "Inverter limit", "a flat top: the inverter limits the power"),
    Flag("clock", 10, "Clock moved", "the middle of the day is more than 45 minutes from where it usually is"),
    Flag("night_power", 11, "Power at night", "more than ±1 % of the rated power in the dark", excludes=False),
)
DAYLIGHT_BIT: Final = np.uint16(1 << 15)
"""Set in stored flags where the sun is up, so that shares can be told from the flags alone."""

BY_NAME: Final = {flag.name: flag for flag in FLAGS}

EXCLUDING: Final = sum(1 << flag.bit for flag in FLAGS if flag.excludes)
"""Bits of the findings that leave an hour out of performance and degradation."""


def monthly_shares(time: npt.NDArray[np.int64], stored: npt.NDArray[np.uint16]) -> pd.DataFrame:
    """Share 0…1 of each month's daylight rows with each finding.

    Parameters: `time` ns since 1970 UTC and `stored` (see `Quality.stored`), both of shape (rows,). One column a flag
    that says something about daylight (power at night does not), one row a month that has daylight rows.
    """
    lit = (stored & DAYLIGHT_BIT) != 0
    months = pd.DatetimeIndex(time[lit].astype("datetime64[ns]")).to_period("M")
    masks = {flag.name: (stored[lit] & np.uint16(1 << flag.bit)) != 0 for flag in FLAGS if flag.name != "night_power"}
    masks["usable"] = (stored[lit] & np.uint16(EXCLUDING)) == 0
    return pd.DataFrame(masks, index=months).groupby(level=0).mean()
