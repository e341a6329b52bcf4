"""How fast a system ages: year-on-year degradation, with an interval, or the reason why there is none.

* The rate is RdTools' year-on-year median (Hasselbrink et al. 2013; Jordan et al. 2018): each day's normalized energy
  is compared with the same day one year later; the median of all these slopes is the rate, in % of the first year's
  level per year.
* The 95 % interval is a circular block bootstrap of the slopes (Politis and Romano 1992), blocks of 30 slopes: slopes
  of neighbouring days share their weather, so drawing them one by one, as RdTools does, gives an interval that is too
  narrow. RdTools' own interval (68.2 %) is kept beside it for comparison.
* Both bootstraps start from a fixed seed: the same data give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from wendelin.notebooks.solar.quiet import quiet

SEED: Final = 2013
BLOCK: Final = 30
DRAWS: Final = 2000
CONFIDENCE: Final = 95.0

MIN_YEARS: Final = 2.0
MIN_DAYS: Final = 365
MIN_PAIRS: Final = 365
"""Pairs of days one year apart: with fewer than a year of them, some season is never compared."""


@dataclass(frozen=True)
class Degradation:
    """Rate of change of the normalized energy, or the reason why it cannot be told.

    Attributes
    ----------
    rate, low, high : float or None
        %/year (negative: ageing) and its 95 % interval; None when `reason` says why.
    rdtools_low, rdtools_high : float or None
        RdTools' 68.2 % interval.
    days, pairs : int
        Valid days, and pairs of them one year apart.
    years : float
        Span from the first to the last valid day.
    reason : str or None
        In words, why there is no rate.
    slopes : DataFrame
        ``slope`` (%/year) by the middle of its pair (UTC); empty when there is no rate.
    level : float
        Normalized energy of the first year that the rate is relative to; NaN when there is no rate.
    """

    rate: float | None
    low: float | None
    high: float | None
    days: int
    pairs: int
    years: float
    reason: str | None
    rdtools_low: float | None = None
    rdtools_high: float | None = None
    level: float = float("nan")
    slopes: pd.DataFrame | None = None

    def __str__(self) -> str:
        if self.rate is None:
            return f"no rate: {self.reason}"
        return f"{self.rate:+.2f} %/year, 95 % interval {self.low:+.2f} … {self.high:+.2f} ({self.pairs} pairs of days)"


def degradation(normalized: pd.Series[float], *, seed: int = SEED) -> Degradation:
    """Year-on-year degradation of a daily series of normalized energy (dimensionless, NaN or absent: no valid day).

    `normalized` is ``Performance.daily["normalized"]``: a UTC index, one row a day. Never raises for scarce or empty
    data: `Degradation.reason` says what is missing.

    Raises
    ------
    ValueError
        The index is no `DatetimeIndex`, or goes back or repeats.
    """
    if not isinstance(normalized.index, pd.DatetimeIndex):
        raise ValueError(f"degradation needs days as its index, not {normalized.index.dtype}: use daily['normalized']")
    if not (normalized.index.is_monotonic_increasing and normalized.index.is_unique):
        raise ValueError(
            "degradation needs days that go forward and do not repeat: call .sort_index().groupby(level=0)"
        )
    valid = normalized.dropna()
    years = float((valid.index[-1] - valid.index[0]) / pd.Timedelta(days=365.25)) if len(valid) else 0.0
    pairs = _pairs(valid)
    reason = _reason(valid, years, pairs)
    if reason is not None:
        return Degradation(None, None, None, len(valid), pairs, years, reason)
    return _rate(valid, years, seed)


def inject(power: npt.NDArray[np.float64], time: pd.DatetimeIndex, percent_per_year: float) -> npt.NDArray[np.float64]:
    """`power` with a linear loss (negative) or gain added: × (1 + percent/100 · years since the first stamp).

    For the question "what if": ``inject(power, time, -1.0)`` must move the rate by about −1 %/year.
    """
    years = (time - time[0]) / pd.Timedelta(days=365.25)
    return np.asarray(power * (1 + percent_per_year / 100 * years.to_numpy(np.float64)))


def _pairs(valid: pd.Series[float]) -> int:
    """Valid days that have a valid day exactly one calendar year before."""
    assert isinstance(valid.index, pd.DatetimeIndex)
    return int((valid.index + pd.DateOffset(years=1)).isin(valid.index).sum()) if len(valid) else 0


def _reason(valid: pd.Series[float], years: float, pairs: int) -> str | None:
    if not len(valid):
        return "there is not a single day with valid power, irradiance and temperature"
    span = f"{valid.index[0]:%B %Y} to {valid.index[-1]:%B %Y}"
    if years < MIN_YEARS:
        return f"valid data span {years:.1f} years ({span}); comparing years needs {MIN_YEARS:.0f}"
    if len(valid) < MIN_DAYS:
        return f"only {len(valid)} valid days in {years:.1f} years ({span}); {MIN_DAYS} are needed"
    if pairs < MIN_PAIRS:
        return (
            f"only {pairs} of the {len(valid)} valid days ({span}) have a valid day one year later; "
            f"{MIN_PAIRS} are needed, so that every season is compared"
        )
    return None


def _rate(valid: pd.Series[float], years: float, seed: int) -> Degradation:
    with quiet(), _seeded(seed):
        import rdtools  # imports xgboost: seconds that a dashboard showing stored figures need not spend

        rate, interval, info = rdtools.degradation_year_on_year(valid.copy(), confidence_level=68.2)
    slopes = pd.DataFrame(
        {"slope": info["YoY_values"].to_numpy(np.float64)}, index=pd.DatetimeIndex(info["YoY_times"]["dt_center"])
    )
    low, high = block_interval(slopes["slope"].to_numpy(), seed=seed)
    return Degradation(
        rate=float(rate),
        low=low,
        high=high,
        days=len(valid),
        pairs=len(slopes),
        years=years,
        reason=None,
        rdtools_low=float(interval[0]),
        rdtools_high=float(interval[1]),
        level=float(info["renormalizing_factor"]),
        slopes=slopes,
    )


def block_interval(slopes: npt.NDArray[np.float64], *, seed: int = SEED) -> tuple[float, float]:
    """The 95 % interval of the median of `slopes` (in order of time) by a circular block bootstrap, same unit."""
    count = len(slopes)
    block = min(BLOCK, count)
    starts = np.random.default_rng(seed).integers(0, count, (DRAWS, -(-count // block)))
    medians = np.empty(DRAWS)
    for draw, begin in enumerate(starts):  # one draw at a time: all at once would be 30 MB a system
        index = (begin[:, None] + np.arange(block)) % count
        medians[draw] = np.median(slopes[index.ravel()[:count]])
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """RdTools draws from NumPy's global generator: seed it inside, put it back after."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
