"""Figures in a plant manager's words: one place for signs, units, dates and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wendelin.notebooks.solar.report import Report
from wendelin.widgets.table import Kind

if TYPE_CHECKING:
    from wendelin.notebooks.solar.orders import Order
    from wendelin.storage.ubm.quantity import Money

URGENCY: Final[dict[str, tuple[str, Kind]]] = {
    "NOTHING": ("Nothing to do", "good"),
    "WATCH": ("Keep watching", "unknown"),
    "PLAN": ("Plan", "watch"),
    "NOW": ("Now", "bad"),
}
ORDER: Final[dict[str, tuple[str, Kind]]] = {
    "draft": ("Draft", "unknown"),
    "planned": ("Planned", "unknown"),
    "confirmed": ("Confirmed", "watch"),
    "started": ("In work", "watch"),
    "stopped": ("Done, to be settled", "watch"),
    "delivered": ("Settled", "good"),
}
GOOD_SHARE: Final = 0.85
POOR_SHARE: Final = 0.60


def signed(value: float, digits: int = 2) -> str:
    """A number with a sign, a real minus: ``"−0.49"``."""
    return f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 0) -> str:
    """A share 0…1 as ``"88 %"``; ``"unknown"`` for None."""
    return "unknown" if share is None else f"{100 * share:.{digits}f} %"


def energy(kwh: float | None) -> str:
    """``"1,571 kWh"``, ``"252.4 MWh"`` from 10 MWh on, ``"unknown"`` for None."""
    if kwh is None:
        return "unknown"
    return f"{kwh / 1000:,.1f} MWh" if abs(kwh) >= 10_000 else f"{kwh:,.0f} kWh"


def money(amount: float | None, currency: str) -> str:
    """``"7,322 USD"``; nothing for None."""
    return "" if amount is None else f"{amount:,.0f} {currency}"


def rated(report: Report) -> str:
    """Rated power in kWp, with ≈ where it was estimated."""
    watts = report.summary["rated_power"]
    if watts is None:
        return "unknown"
    about = "≈ " if report.summary["rated_is_estimated"] else ""
    return f"{about}{watts / 1000:,.1f}"


def degradation(report: Report) -> tuple[str, str]:
    """The rate and its interval, or "not known yet" and the reason in words."""
    aged = report.summary["degradation"]
    if aged["rate"] is None:
        return "no rate yet", str(aged["reason"])
    return signed(aged["rate"]), f"95 % interval {signed(aged['low'])} … {signed(aged['high'])}"


def ageing_verdict(report: Report) -> str:
    """One sentence about the rate for somebody who never heard of confidence intervals."""
    aged = report.summary["degradation"]
    if aged["rate"] is None:
        return f"Whether this system ages cannot be told yet: {aged['reason']}."
    if aged["low"] < 0 < aged["high"]:
        return (
            f"From {aged['pairs']} pairs of days one year apart the change is {signed(aged['rate'])} % a year, but the "
            f"interval {signed(aged['low'])} … {signed(aged['high'])} includes zero: no ageing is proven."
        )
    verb = "loses" if aged["rate"] < 0 else "gains"
    return (
        f"The system {verb} {abs(aged['rate']):.2f} % of its first year's level a year; with 95 % confidence between "
        f"{signed(aged['low'])} and {signed(aged['high'])} %, from {aged['pairs']} pairs of days one year apart."
    )


def quality(report: Report) -> tuple[str, Kind, str]:
    """Badge, its kind, and the share of usable daylight hours in words."""
    share = report.summary["usable_share"]
    if share is None:
        return "unknown", "unknown", "no daylight hours"
    text = f"{percent(share)} of the daylight hours are usable"
    if share >= GOOD_SHARE:
        return "good", "good", text
    return ("fair", "watch", text) if share >= POOR_SHARE else ("poor", "bad", text)


def performance(report: Report) -> tuple[str, str]:
    """Performance of the last year with data, and over the whole life."""
    last, life = report.summary["performance_last_year"], report.summary["performance"]
    if last is None or life is None:
        return "unknown", "no usable hours"
    relative = ", relative: rated power estimated" if report.summary["rated_is_estimated"] else ""
    return f"{last:.2f}", f"{life:.2f} over its life{relative}"


def first_suggestion(report: Report) -> tuple[str, Kind, str]:
    """Word of urgency, its kind, and what to do first."""
    first = report.summary["suggestions"][0]
    word, kind = URGENCY[first["urgency"]]
    return word, kind, "" if first["urgency"] == "NOTHING" else str(first["what"])


def suggestions(report: Report) -> list[tuple[str, Kind, str, str, str]]:
    """All suggestions as `wendelin.widgets.cards.advice` takes them."""
    assumed = report.summary["assumptions"]
    return [
        (*URGENCY[s["urgency"]], str(s["what"]), sentence(str(s["why"])), worth(s, assumed))
        for s in report.summary["suggestions"]
    ]


def sentence(text: str) -> str:
    """A capital first and a full stop last."""
    return f"{text[:1].upper()}{text[1:]}."


def worth(suggestion: dict[str, Any], assumed: dict[str, Any]) -> str:
    """``"Worth about 17.8 MWh or 2,131 USD a year (assumed tariff 0.12 USD/kWh)"``; nothing when unknown."""
    if suggestion["energy"] is None:
        return ""
    price = f"{assumed['tariff']:.2f} {assumed['currency']}/kWh"
    value = money(suggestion["money"], assumed["currency"])
    return f"Worth about {energy(suggestion['energy'])} or {value} a year (assumed tariff {price})"


ORDERS_REST_ON: Final = (
    "Costs are the prices of the services, savings energy at a tariff; both are assumptions until yours are set."
)


def orders(report: Report) -> list[tuple[str, Kind, str, str, str]]:
    """Maintenance orders as `wendelin.widgets.cards.advice` takes them."""
    return [
        (*ORDER[each.state], each.title, f"{each.reference}. {expected(each)}", actual(each)) for each in report.orders
    ]


def expected(order: Order) -> str:
    """``"Expected to cost 300 USD and to save 2,131 USD a year."``"""
    cost, saving = exact(order.expected_cost), exact(order.expected_saving)
    if not saving:
        return f"Expected to cost {cost or 'an unknown sum'}; what it saves is not known."
    return f"Expected to cost {cost or 'an unknown sum'} and to save {saving} a year."


def actual(order: Order) -> str:
    """What it did, and how much better or worse than expected that is; nothing as long as nothing is known."""
    said = [f"cost {exact(order.actual_cost)}"] if order.actual_cost is not None else []
    said += [f"saved {exact(order.actual_saving)}"] if order.actual_saving is not None else []
    outcome = order.outcome
    if outcome is not None:
        better = "better" if outcome.amount >= 0 else "worse"
        said.append(f"{abs(outcome.amount):,.0f} {outcome.currency} {better} than expected")
    return f"It {', '.join(said)}" if said else ""


def exact(sum_: Money | None) -> str:
    """``"2,131 USD"``; nothing for None."""
    return "" if sum_ is None else f"{sum_.amount:,.0f} {sum_.currency}".replace("-", "−")
