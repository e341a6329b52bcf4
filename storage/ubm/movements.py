"""Movements: what is planned, happens, and has happened. Ingestions, analyses, data orders, maintenance orders.

Invoices, payments and accounting transactions will be movements too.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Count, Duration, Price, Settings, Time, UnitName
from wendelin.storage.ubm.relation import CLEAR, Relation
from wendelin.storage.ubm.workflow import SIMULATION


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


class DataIngestion(Movement):
    """Data come from a source and are written into items."""

    type, prefix = "ingestion", "ING"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"start": ("resource",)}

    class Fields(Movement.Fields):
        """How much came."""

        tag: str = Field("", description="what the source sent with its data")
        rows: Count = Field(0, description="how many rows, or bytes, came")

    operation = Relation("operation", doc="what writes the data")


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

    asset = Relation("asset", doc="what is worked on")
    components = Relation("component", many=True, doc="what is built in")


for _class in (Movement, DataIngestion, DataAnalysis, DataOrder, MaintenanceOrder):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
