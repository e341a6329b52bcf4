"""Dirt on the modules: RdTools' stochastic rate and recovery, as far as daily data allow it.

Method: Deceglie, Micheli, Muller 2018, doi 10.1109/JPHOTOV.2017.2784682 (SRR). The ratio is the energy the dirty
modules gave / the energy clean ones would have given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from wendelin.notebooks.solar.quiet import quiet

SEED: Final = 2013
DRAWS: Final = 20
"""Monte Carlo draws: the ratio is stable to 0.3 % from here on, and each draw costs 50 ms for seven years."""

MIN_DAYS: Final = 365
SWING: Final = 0.15
"""A yearly swing of the performance above this is no dirt; dirt found in it would be the season."""


@dataclass(frozen=True)
class Soiling:
    """`ratio` 0…1 with its 68.2 % interval, or None and the `reason` why."""

    ratio: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def soiling(daily: pd.DataFrame, *, seed: int = SEED) -> Soiling:
    """Soiling ratio of ``Performance.daily``. Too few days, or no dry spell that shows a slope, give a reason."""
    normalized, insolation = daily["normalized"], daily["insolation"]
    days = int(normalized.notna().sum())
    if days < MIN_DAYS:
        return Soiling(None, reason=f"only {days} valid days; {MIN_DAYS} are needed")
    swung = swing(by_season(normalized))
    if swung > SWING:
        return Soiling(None, reason=f"performance swings by {100 * swung:.0f} % with the season, which hides dirt")
    with quiet():
        from rdtools.soiling import NoValidIntervalError, soiling_srr  # imports xgboost: seconds

    before = np.random.get_state()
    np.random.seed(seed)
    try:
        with quiet():
            ratio, interval, _ = soiling_srr(normalized, insolation, reps=DRAWS)
    except NoValidIntervalError as error:
        return Soiling(None, reason=f"no dry spell shows a clear slope ({error})")
    finally:
        np.random.set_state(before)
    return Soiling(float(ratio), float(interval[0]), float(interval[1]))


def by_season(normalized: pd.Series[float]) -> pd.Series[float]:
    """Median of the daily normalized energy in each of the twelve months; months with fewer than ten days left out."""
    valid = normalized.dropna()
    assert isinstance(valid.index, pd.DatetimeIndex)
    months = valid.groupby(valid.index.month)
    medians: pd.Series[float] = months.median()[months.count() >= 10]
    return medians


def swing(season: pd.Series[float]) -> float:
    """(best − worst month) / mean of the months; 0 with fewer than six months."""
    return float((season.max() - season.min()) / season.mean()) if len(season) >= 6 else 0.0
