"""The fleet at a glance: rows of the table and key figures, from the reports of its systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from wendelin.notebooks.solar import words
from wendelin.notebooks.solar.dates import month
from wendelin.notebooks.solar.report import Report
from wendelin.widgets.cards import Figure
from wendelin.widgets.table import Cell, Column, Row

COLUMNS: Final = (
    Column("system", "System"),
    Column("power", "Rated power", "kWp", numeric=True),
    Column("years", "Data", "years", numeric=True),
    Column("performance", "Performance", "energy / expected"),
    Column("degradation", "Degradation", "% per year"),
    Column("quality", "Data quality"),
    Column("advice", "Maintenance"),
)


def row(report: Report) -> Row:
    """A system's row of the fleet table."""
    ratio, life = words.performance(report)
    rate, interval = words.degradation(report)
    badge, kind, share = words.quality(report)
    urgency, urgency_kind, what = words.first_suggestion(report)
    return Row(
        report.system.id,
        {
            "system": Cell(report.system.name, f"PVDAQ {report.system.id}, {report.system.place}"),
            "power": Cell(words.rated(report), "estimated" if report.summary["rated_is_estimated"] else ""),
            "years": Cell(f"{report.years:.1f}", f"until {month(report.end)}"),
            "performance": Cell(ratio, life),
            "degradation": Cell(rate, interval),
            "quality": Cell(badge, share, kind),
            "advice": Cell(urgency, what, urgency_kind),
        },
    )


def broken_row(system_id: str, problem: str) -> Row:
    """The row of a system whose measurements cannot be analysed."""
    return Row(system_id, {"system": Cell(f"System {system_id}"), "quality": Cell("unusable", problem, "bad")})


def data_until(reports: Mapping[str, Report]) -> pd.Timestamp | None:
    """Stamp of the fleet's latest row; None without systems."""
    return max((report.end for report in reports.values()), default=None)


def key_figures(reports: Sequence[Report]) -> list[Figure]:
    """What a manager asks first."""
    known = [r.summary["rated_power"] for r in reports if r.summary["rated_power"] is not None]
    urgent = [r for r in reports if r.summary["suggestions"][0]["urgency"] == "NOW"]
    planned = [r for r in reports if r.summary["suggestions"][0]["urgency"] == "PLAN"]
    rates = [r for r in reports if r.summary["degradation"]["rate"] is not None]
    energy = sum(last_year_energy(r) for r in reports)
    value, unit = words.energy(energy).split()
    return [
        Figure("Systems", str(len(reports)), hint=f"{sum(known) / 1000:,.1f} kWp together"),
        Figure("Energy of a year", value, unit, "each system's last 365 days with data"),
        Figure("Degradation known", f"{len(rates)} of {len(reports)}", hint="the others have too few valid data"),
        Figure("Need somebody now", str(len(urgent)), hint=f"{len(planned)} more need planning{_open_orders(reports)}"),
        at_stake(reports),
    ]


def last_year_energy(report: Report) -> float:
    """kWh of the last 365 days that gave any energy."""
    given = report.daily["energy"][report.daily["energy"] > 0]
    return float(given.tail(365).sum())


def at_stake(reports: Sequence[Report]) -> Figure:
    """Sum of what the suggestions are worth a year; money rests on an assumption, and says so."""
    items = [s for r in reports for s in r.summary["suggestions"] if s["money"] is not None]
    if not items or not reports:
        return Figure("At stake a year", "0")
    assumed = reports[0].summary["assumptions"]
    total = sum(s["money"] for s in items)
    hint = (
        f"{words.energy(sum(s['energy'] for s in items))}; assumed tariff {assumed['tariff']:.2f} {assumed['currency']}"
    )
    return Figure("At stake a year", f"{total:,.0f}", assumed["currency"], f"{hint}/kWh{_cost_of_orders(reports)}")


def _open_orders(reports: Sequence[Report]) -> str:
    count = sum(order.is_open for report in reports for order in report.orders)
    return f"; {count} {'order is' if count == 1 else 'orders are'} open" if count else ""


def _cost_of_orders(reports: Sequence[Report]) -> str:
    """What the open orders cost that are expected to save something, where their prices are known."""
    found = [
        order for report in reports for order in report.orders if order.is_open and order.expected_saving is not None
    ]
    costs = [order.expected_cost for order in found if order.expected_cost is not None]
    if not costs or len({cost.currency for cost in costs}) > 1:
        return ""
    return f"; orders cost {sum(cost.amount for cost in costs):,.0f} {costs[0].currency}, assumed"
