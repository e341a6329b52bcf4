"""From the measurements of one system to everything the notebook and the dashboard show.

`analyse` is a pure function: a system and a frame in, figures out; no database, no network, no clock. So it can run in
a notebook, in the loader, and in a thread of the dashboard. `summary` turns the figures into plain values for the
database, with `VERSION` and a digest of the very rows they were computed from, so that stale figures are recognised.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wendelin.notebooks.solar import degradation as ageing
from wendelin.notebooks.solar import maintenance, performance, quality
from wendelin.notebooks.solar.degradation import Degradation
from wendelin.notebooks.solar.flags import monthly_shares
from wendelin.notebooks.solar.maintenance import Assumptions, Suggestion
from wendelin.notebooks.solar.performance import Performance
from wendelin.notebooks.solar.quality import Quality
from wendelin.notebooks.solar.readings import stamps
from wendelin.notebooks.solar.report import VERSION, Report
from wendelin.notebooks.solar.soiling import Soiling, soiling
from wendelin.notebooks.solar.systems import System


@dataclass(frozen=True)
class Analysis:
    """All figures of one system; see the classes of its parts for their units."""

    system: System
    begin: pd.Timestamp
    end: pd.Timestamp
    rows: int
    quality: Quality
    performance: Performance
    degradation: Degradation
    soiling: Soiling
    suggestions: tuple[Suggestion, ...]
    assumptions: Assumptions


def analyse(system: System, frame: pd.DataFrame, assumptions: Assumptions | None = None) -> Analysis:
    """Quality, performance, degradation, soiling and suggestions of `system` from `frame` (see `readings`).

    Takes about 4 s for seven years of hours on one core.

    Raises
    ------
    MeasurementsError
        The frame has no rows, no power or irradiance, or stamps that go back or repeat.
    """
    money = assumptions or Assumptions()
    checked = quality.check(system, frame)
    assessed = performance.assess(system, frame, checked)
    aged = ageing.degradation(assessed.daily["normalized"])
    dirt = soiling(assessed.daily) if aged.rate is not None else Soiling(None, reason="needs a degradation rate first")
    findings = maintenance.Findings(system, frame, checked, assessed, aged, dirt)
    return Analysis(
        system=system,
        begin=stamps(frame)[0],
        end=stamps(frame)[-1],
        rows=len(frame),
        quality=checked,
        performance=assessed,
        degradation=aged,
        soiling=dirt,
        suggestions=maintenance.suggest(findings, money),
        assumptions=money,
    )


def what_if(system: System, frame: pd.DataFrame, percent_per_year: float) -> Analysis:
    """The analysis as if the power had in addition changed by `percent_per_year` (negative: lost), in memory only."""
    changed = frame.copy()
    changed[system.power] = ageing.inject(changed[system.power].to_numpy(np.float64), stamps(frame), percent_per_year)
    return analyse(system, changed)


def summary(analysis: Analysis, fingerprint: str) -> dict[str, Any]:
    """Plain values (str, int, float, None, lists and dicts of them) of `analysis` for the database.

    Times are ISO 8601 in UTC; energies kWh; powers W; shares 0…1; rates %/year.
    """
    aged = asdict(replace(analysis.degradation, slopes=None))
    del aged["slopes"]
    years = performance.by_period(analysis.performance, "YS")
    return {
        "version": VERSION,
        "digest": fingerprint,
        "rows": analysis.rows,
        "begin": analysis.begin.isoformat(),
        "end": analysis.end.isoformat(),
        "rated_power": _number(analysis.performance.rated_power),
        "rated_is_estimated": analysis.performance.rated_is_estimated,
        "performance": _number(analysis.performance.ratio),
        "performance_last_year": _number(analysis.performance.over(365)),
        "degradation": {key: _number(value) if isinstance(value, float) else value for key, value in aged.items()},
        "soiling": asdict(analysis.soiling),
        "daylight_rows": int(analysis.quality.daylight.sum()),
        "usable_share": _number(analysis.quality.usable_share),
        "flags": analysis.quality.counts,
        "days_out": int(analysis.performance.daily["out"].sum()),
        "years": [
            [int(year.year), *_plain_row(row)] for year, row in years.iterrows() if isinstance(year, pd.Timestamp)
        ],
        "suggestions": [{**asdict(s), "urgency": s.urgency.name} for s in analysis.suggestions],
        "assumptions": asdict(analysis.assumptions),
    }


def _plain_row(row: pd.Series[Any]) -> list[float | None]:
    return [_number(float(row[name])) for name in ("energy", "performance", "days_out", "coverage")]


def _number(value: float) -> float | None:
    """NaN is no JSON and no answer: None says "unknown"."""
    return None if not math.isfinite(value) else float(value)


def report(analysis: Analysis, time: npt.NDArray[np.int64], fingerprint: str, *, stale: bool = False) -> Report:
    """The report of a fresh analysis; `time` (ns, UTC) and `fingerprint` (`analysis.digest`) are those of its rows."""
    return Report(
        system=analysis.system,
        summary=summary(analysis, fingerprint),
        daily=analysis.performance.daily,
        flags=monthly_shares(time, analysis.quality.stored),
        slopes=slopes_of(analysis),
        stale=stale,
    )


def slopes_of(analysis: Analysis) -> pd.DataFrame:
    """The slopes of an analysis, an empty table where there is no rate."""
    found = analysis.degradation.slopes
    return found if found is not None else pd.DataFrame({"slope": []}, index=pd.DatetimeIndex([], tz="UTC"))
