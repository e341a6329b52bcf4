"""What the dashboard and the notebook show of one system: the same whether read from the database or just computed.

Light to import: `analysis`, which makes reports, imports the scientific packages; showing stored ones needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from wendelin.notebooks.solar.readings import stamps
from wendelin.notebooks.solar.systems import System

if TYPE_CHECKING:
    from wendelin.notebooks.solar.orders import Order

VERSION: Final = 1
"""Raise it when a formula changes: stored figures of another version count as stale."""

DAILY: Final = ("energy", "expected", "expected_usable", "performance", "insolation", "normalized", "coverage")
"""Columns of float32 in the stored daily table; ``day`` (int64 ns) and ``out`` (bool) stand beside them."""

DAILY_DTYPE: Final = np.dtype([("day", "<i8"), *((name, "<f4") for name in DAILY), ("out", "?")])
SLOPE_DTYPE: Final = np.dtype([("time", "<i8"), ("slope", "<f4")])


@dataclass(frozen=True)
class Report:
    """One system, ready to be shown.

    Attributes
    ----------
    summary : dict
        Plain figures, see `analysis.summary`.
    daily : DataFrame
        A row a day, see `performance.Performance.daily`.
    flags : DataFrame
        Share of each month's daylight hours with each finding, see `quality.monthly_shares`.
    slopes : DataFrame
        Year-on-year slopes (%/year), see `degradation.Degradation.slopes`; empty when there is no rate.
    stale : bool
        The stored figures were older than the measurements: these were computed on the spot.
    orders : tuple of Order
        Maintenance orders, those to be done first.
    """

    system: System
    summary: dict[str, Any]
    daily: pd.DataFrame
    flags: pd.DataFrame
    slopes: pd.DataFrame
    stale: bool = False
    orders: tuple[Order, ...] = ()

    @property
    def end(self) -> pd.Timestamp:
        """Stamp of the last row (UTC)."""
        return _stamp(self.summary["end"])

    @property
    def begin(self) -> pd.Timestamp:
        """Stamp of the first row (UTC)."""
        return _stamp(self.summary["begin"])

    @property
    def years(self) -> float:
        """Span of the rows in years."""
        return float((self.end - self.begin) / pd.Timedelta(days=365.25))


def daily_records(daily: pd.DataFrame) -> npt.NDArray[Any]:
    """The daily table as `DAILY_DTYPE`."""
    records = np.empty(len(daily), DAILY_DTYPE)
    records["day"] = stamps(daily).as_unit("ns").asi8
    records["out"] = daily["out"].to_numpy(np.bool_)
    for name in DAILY:
        records[name] = daily[name].to_numpy(np.float32)
    return records


def daily_frame(records: npt.NDArray[Any]) -> pd.DataFrame:
    """The inverse of `daily_records`."""
    index = pd.DatetimeIndex(records["day"].astype("datetime64[ns]"), name="day").tz_localize("UTC")
    table = pd.DataFrame({name: records[name].astype(np.float64) for name in DAILY}, index=index)
    return table.assign(out=records["out"].copy())


def slope_records(slopes: pd.DataFrame) -> npt.NDArray[Any]:
    """The slopes as `SLOPE_DTYPE`."""
    records = np.empty(len(slopes), SLOPE_DTYPE)
    records["time"] = stamps(slopes).as_unit("ns").asi8
    records["slope"] = slopes["slope"].to_numpy(np.float32)
    return records


def slope_frame(records: npt.NDArray[Any]) -> pd.DataFrame:
    """The inverse of `slope_records`."""
    index = pd.DatetimeIndex(records["time"].astype("datetime64[ns]"), name="time").tz_localize("UTC")
    return pd.DataFrame({"slope": records["slope"].astype(np.float64)}, index=index)


def _stamp(text: str) -> pd.Timestamp:
    stamp = pd.Timestamp(text)
    assert isinstance(stamp, pd.Timestamp)
    return stamp
