"""The steps of the analysis as registered operations, so that a transformation can run one through an activity.

Figures are computed together and stored with a digest of their rows: the first step of new rows computes them, the
others find them there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import wendelin
from wendelin.notebooks.solar.errors import UnknownSystemError


def _result(analysis: Any, step: str) -> str:
    """Compute the figures of the plant that an analysis is about, where they are not current; the step's result."""
    from wendelin.notebooks.solar import movements, names, store

    about = [*(getattr(item, "asset", None) for item in analysis.items), analysis.source, analysis.destination]
    ids = {names.system_id(each.reference) for each in about if each is not None} - {None}
    if len(ids) != 1:
        raise UnknownSystemError(
            f"{analysis.reference} is about {len(ids)} solar plants: let its items be the sensors of one"
        )
    root, system_id = analysis.store._p_jar.root(), str(ids.pop())
    if not store.is_current(root, system_id):
        store.compute_figures(root, system_id)
    return movements.RESULTS[step](root[f"solar/{system_id}/analysis/summary"])


@wendelin.operation
def solar_quality(analysis: Any) -> str:
    """Checks of pvanalytics (stuck values, clipping, outliers, limits), daylight, clock and outages."""
    return _result(analysis, "quality")


@wendelin.operation
def solar_performance(analysis: Any) -> str:
    """Energy / energy expected by PVWatts v5 over the usable hours, as IEC 61724-1 has it."""
    return _result(analysis, "performance")


@wendelin.operation
def solar_degradation(analysis: Any) -> str:
    """RdTools' year-on-year median with a block bootstrap."""
    return _result(analysis, "degradation")


@wendelin.operation
def solar_soiling(analysis: Any) -> str:
    """RdTools' stochastic rate and recovery."""
    return _result(analysis, "soiling")


@wendelin.operation
def solar_maintenance(analysis: Any) -> str:
    """Rules over the figures that say what to do, why, and what it is worth at an assumed tariff."""
    return _result(analysis, "maintenance")


FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "quality": solar_quality,
    "performance": solar_performance,
    "degradation": solar_degradation,
    "soiling": solar_soiling,
    "maintenance": solar_maintenance,
}
