"""Maintenance orders: each suggestion that asks for work is planned, with what it is expected to cost and to save.

* The saving is computed: energy of a year × an **assumed tariff** (`maintenance.Assumptions`). The cost is the price of
  a service, which begins as an **assumption** (`ASSUMED_VISIT`) and is the manager's from then on. Each order says so.
* Who carries an order out sets its actual cost; the actual saving is measured (`settle`).
* Orders that nobody has confirmed follow the figures: what they expect is kept right, and they are cancelled when their
  suggestion is gone. Confirmed ones, and what people cancelled or finished, are left alone.
* Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wendelin.notebooks.solar import entities, names
from wendelin.notebooks.solar import report as reports
from wendelin.notebooks.solar.errors import MeasurementsError
from wendelin.notebooks.solar.keeper import Keeper
from wendelin.storage.ubm.quantity import Money

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

ASSUMED_VISIT: Final = "300.00 USD"
"""Price of a technician's visit. Not from the data: change the service's `base_price` to your contract."""

SERVICES: Final = {
    "inspection": ("Technician's visit: inspection", ASSUMED_VISIT),
    "repair": ("Technician's visit: repair, without parts", ASSUMED_VISIT),
    "calibration": ("Technician's visit: clock or meter", ASSUMED_VISIT),
    "cleaning": ("Cleaning of the modules", None),
}
"""Kind of work → (title, assumed price; None: not even an assumption)."""

WORK: Final = {"NOW": "urgent", "PLAN": "normal"}
"""Urgency of a suggestion that asks for work → priority of its order."""

GONE: Final = "no finding asks for it any more"
BEFORE_CONFIRMED: Final = ("draft", "planned")
ENOUGH_DAYS: Final = 30
A_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True)
class Order:
    """An order as pages show it: plain values."""

    reference: str
    title: str
    state: str
    priority: str
    expected_cost: Money | None
    expected_saving: Money | None
    actual_cost: Money | None
    actual_saving: Money | None
    outcome: Money | None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be done."""
        return self.state not in ("delivered", "cancelled")


def of_plant(root: Mapping[str, Any], system_id: str) -> tuple[Order, ...]:
    """The orders of a system as pages show them, those to be done first; cancelled ones are left out."""
    owner = entities.plant(root, system_id)
    if owner is None:
        return ()
    shown = [_shown(order) for order in all_of(owner) if order.state != "cancelled"]
    return tuple(sorted(shown, key=lambda each: (not each.is_open, each.priority != "urgent")))


def all_of(plant: Entity) -> list[Any]:
    """The orders of a plant, in the order in which they were made."""
    rows = sorted(plant.store.rows(type="maintenance_order", relation={"asset": plant}), key=lambda row: row["created"])
    return [plant.store[row["uid"]] for row in rows]


def _shown(order: Any) -> Order:
    costs = (order.expected_cost, order.expected_saving, order.actual_cost, order.actual_saving)
    return Order(order.reference, order.title, order.state, order.priority, *costs, order.outcome)


# -- planning


def plan(plant: Any, analysis: Any, summary: dict[str, Any]) -> None:
    """Let a plant's orders be what its suggestions ask for; `analysis` is the one that made them."""
    keeper = Keeper(plant.store)
    services = _services(keeper)
    there = all_of(plant)
    asked = {str(each["what"]): each for each in summary["suggestions"] if each["urgency"] in WORK}
    for title, suggestion in asked.items():
        own = [order for order in there if order.title == title]
        following = [order for order in own if order.state in BEFORE_CONFIRMED]
        expected = _expected(services, suggestion, summary["assumptions"])
        if following:
            keeper.update(following[-1], causality=[analysis], **expected)
        elif not any(_settles(order, summary["end"]) for order in own):
            order = plant.store.create("maintenance_order", title=title, asset=plant, causality=[analysis], **expected)
            order.do("plan", why=f"suggested by {analysis.reference}")
    for order in there:
        if order.state in BEFORE_CONFIRMED and order.title not in asked and _is_ours(order):
            order.do("cancel", why=GONE)


def _services(keeper: Keeper) -> dict[str, Any]:
    """The services by kind of work, all of them, so that a manager finds their prices."""
    about = "The price is an assumption: set base_price to that of your contract."
    return {
        kind: keeper.keep(
            "service",
            f"solar-service:{kind}",
            title=title,
            kind=kind,
            base_price=price,
            description=about if price else "",
        )
        for kind, (title, price) in SERVICES.items()
    }


def _expected(services: dict[str, Any], suggestion: dict[str, Any], assumed: dict[str, Any]) -> dict[str, Any]:
    """What an order is, and what it is expected to cost and to save in a year; None for what nobody knows."""
    kind = suggestion.get("kind", "inspection")
    service = services[kind]
    money = suggestion["money"]
    saving = None if money is None else Money.of(f"{money:.2f}", assumed["currency"])
    cost = service.base_price
    if cost is not None and cost.currency != assumed["currency"]:
        cost = None  # not to be compared with the saving
    notes = [f"{suggestion['why'][:1].upper()}{suggestion['why'][1:]}."]
    notes += [f"Cost: price of the service {service.reference}, at first an assumption."] if cost is not None else []
    if saving is not None:
        tariff = f"{assumed['tariff']:.2f} {assumed['currency']}/kWh"
        notes.append(f"Saving of a year: {suggestion['energy']:,.0f} kWh × an assumed tariff of {tariff}.")
    return {
        "resource": service,
        "kind": kind,
        "priority": WORK[suggestion["urgency"]],
        "description": "\n".join(notes),
        "expected_cost": cost,
        "expected_saving": saving,
    }


def _is_ours(order: Any) -> bool:
    """Whether this module planned it."""
    return any(each.type == "analysis" for each in order.causality)


def _settles(order: Any, end: str) -> bool:
    """Whether an order speaks against another one of the same title: it is on its way, declined, or not a year old."""
    if order.state == "cancelled":
        return bool(next(entry.why for entry in reversed(order.trail) if entry.to_state == "cancelled") != GONE)
    done = order.stop or order.modified
    return bool(order.state != "delivered" or datetime.fromisoformat(end) < done + A_YEAR)


# -- what it brought


def settle(root: Mapping[str, Any], order: Any) -> Money:
    """Set what a stopped order really saved, as measured, deliver it, and return the saving.

    It is the energy since its stop, a year's at most, over what the plant would have given at its level of the year
    before its start; at the tariff that was assumed. Set `actual_cost` first.

    Raises
    ------
    MeasurementsError
        The figures have fewer than 30 judged days before, or after the work.
    TransitionError
        The order is not stopped, or its actual cost is not set.
    """
    system_id = names.system_id(order.asset.reference) or ""
    daily = reports.daily_frame(entities.array(root, system_id, "daily")[:])
    gained = energy_gained(daily, pd.Timestamp(order.start), pd.Timestamp(order.stop))
    if gained is None:
        raise MeasurementsError(
            f"{order.reference}: fewer than {ENOUGH_DAYS} days with figures before {order.start:%Y-%m-%d} or after "
            f"{order.stop:%Y-%m-%d}: store later measurements first, then call settle again"
        )
    assumed = root[f"solar/{system_id}/analysis/summary"]["assumptions"]
    saved = Money.of(f"{gained * assumed['tariff']:.2f}", assumed["currency"])
    order.set(actual_saving=saved)
    order.do("deliver", why=f"gained {gained:,.0f} kWh; assumed tariff {assumed['tariff']} {assumed['currency']}/kWh")
    return saved


def energy_gained(daily: pd.DataFrame, start: pd.Timestamp, stop: pd.Timestamp) -> float | None:
    """kWh of at most 365 days after `stop` above the level of 365 days before `start`, days out included.

    `daily` is ``Performance.daily``. None when there are fewer than 30 judged days on either side.
    """
    judged = daily[daily["out"] | daily["performance"].notna()]
    before = judged[(judged.index >= start - A_YEAR) & (judged.index < start.normalize())]
    after = judged[(judged.index > stop.normalize()) & (judged.index <= stop + A_YEAR)]
    if len(before) < ENOUGH_DAYS or len(after) < ENOUGH_DAYS:
        return None
    level = _given(before) / before["expected"].sum()
    return float(_given(after) - level * after["expected"].sum())


def _given(judged: pd.DataFrame) -> float:
    """kWh of judged days; hours whose power is missing count at the performance of their day."""
    return float((judged["performance"].fillna(0.0) * judged["expected"]).sum())
