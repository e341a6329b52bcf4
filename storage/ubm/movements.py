"""Movements: what is planned, happens, and has happened. Ingestions, analyses, data orders, maintenance orders.

Invoices, payments and accounting transactions will be movements too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from wendelin.storage.ubm import simulation
from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Count, Duration, Price, Settings, Time, UnitName, refused
from wendelin.storage.ubm.quantity import Money
from wendelin.storage.ubm.relation import CLEAR, Relation
from wendelin.storage.ubm.workflow import SIMULATION, Transition


class Movement(Entity):
    """A resource goes from a source to a destination: in items, along a path, because of another movement."""

    roles = ("movement",)
    workflow = SIMULATION

    class Fields(Entity.Fields):
        """When and how much."""

        start: Time | None = Field(None, description="when it begins, planned and then really")
        stop: Time | None = None
        quantity: float | None = None
        unit: UnitName | None = None
        price: Price | None = Field(None, description="of all of it")

    source = Relation("node", "asset", "device", doc="from whom")
    destination = Relation("node", "asset", doc="to whom")
    resource = Relation("resource", doc="of what")
    items = Relation("item", many=True, doc="which ones (aggregate)")
    path = Relation("path", doc="by which rule (specialise)")
    causality = Relation("movement", "event", many=True, doc="what it follows from")

    def after_transition(self, transition: Transition) -> None:
        """It began or ended now, unless that was planned."""
        now, fields = datetime.now(UTC), self.fields
        if transition.name == "start" and fields.start is None and (fields.stop is None or now <= fields.stop):
            self.set(start=now)
        elif transition.name == "stop" and fields.stop is None and (fields.start is None or fields.start <= now):
            self.set(stop=now)


class DataIngestion(Movement):
    """Data come from a source and are written into items."""

    type, prefix = "ingestion", "ING"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"start": ("resource",)}

    class Fields(Movement.Fields):
        """How much came."""

        tag: str = Field("", description="what the source sent with its data")
        rows: Count = Field(0, description="how many rows, or bytes, came")

    operation = Relation("operation", doc="what writes the data")

    def after_transition(self, transition: Transition) -> None:
        """Transformations of its product begin, or look at what came."""
        super().after_transition(transition)
        if self.state in ("started", "stopped", "delivered"):
            simulation.follow(self)

    def arrived(self, rows: int) -> None:
        """So many rows more have come: the analyses that run look at them."""
        self.rows += rows
        simulation.follow(self)


class DataAnalysis(Movement):
    """An operation makes other data of those of an ingestion."""

    type, prefix = "analysis", "ANA"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"start": ("operation",)}

    class Fields(Movement.Fields):
        """How far it is."""

        parameters: Settings = Field({})
        rounds: Count = Field(0, description="how often its operation ran")
        result: str = Field("", description="what the operation said at its end")

    operation = Relation("operation", doc="what is done")
    outputs = Relation("item", many=True, on_delete=CLEAR, doc="what takes the results")

    def proceed(self) -> str:
        """One round of its operation; for its activity, see `simulation.proceed`."""
        return simulation.proceed(self)


class DataOrder(Movement):
    """Somebody asks for data."""

    type, prefix = "data_order", "ORD"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"confirm": ("destination",)}

    class Fields(Movement.Fields):
        """What for."""

        purpose: str = ""

    licence = Relation("licence", doc="under which terms")


class MaintenanceOrder(Movement):
    """Work on an asset: what it is expected to cost and to save, and afterwards what it did."""

    type, prefix = "maintenance_order", "MNT"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {
        "confirm": ("asset", "expected_cost", "expected_saving"),
        "deliver": ("actual_cost", "actual_saving"),
    }

    class Fields(Movement.Fields):
        """Costs and savings."""

        kind: Literal["", "inspection", "cleaning", "repair", "replacement", "calibration"] = ""
        priority: Literal["low", "normal", "high", "urgent"] = "normal"
        due: Time | None = None
        downtime: Duration | None = None
        expected_cost: Price | None = None
        expected_saving: Price | None = None
        actual_cost: Price | None = None
        actual_saving: Price | None = None

        @model_validator(mode="after")
        def _one_currency(self) -> Self:
            amounts = (self.expected_cost, self.expected_saving, self.actual_cost, self.actual_saving)
            currencies = sorted({each.currency for each in amounts if each is not None})
            if len(currencies) > 1:
                raise refused(f"{' and '.join(currencies)}: give costs and savings in one currency, convert the others")
            return self

    asset = Relation("asset", doc="what is worked on")
    components = Relation("component", many=True, doc="what is built in")
    derived = ("expected", "actual", "outcome")

    @property
    def expected(self) -> Money | None:
        """What it was expected to bring: saving less cost."""
        return _net(self.expected_saving, self.expected_cost)

    @property
    def actual(self) -> Money | None:
        """What it brought: saving less cost."""
        return _net(self.actual_saving, self.actual_cost)

    @property
    def outcome(self) -> Money | None:
        """How much better than expected it was; None before both are known."""
        return _net(self.actual, self.expected)


def _net(more: Money | None, less: Money | None) -> Money | None:
    return None if more is None or less is None else more - less


for _class in (Movement, DataIngestion, DataAnalysis, DataOrder, MaintenanceOrder):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
