"""Paths: the rules by which movements come. Supplies, transformations, assignments, tariffs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Duration, Price, Settings, Time, UnitName
from wendelin.storage.ubm.relation import CLEAR, Relation
from wendelin.storage.ubm.workflow import REGISTRATION


class Path(Entity):
    """From a source to a destination, while it is in force."""

    roles = ("path",)
    workflow = REGISTRATION

    class Fields(Entity.Fields):
        """When it is in force."""

        start: Time | None = None
        stop: Time | None = None

    source = Relation("node", "asset", "device", doc="from whom")
    destination = Relation("node", doc="to whom")


class DataSupply(Path):
    """Registers a source of data: which device gives which product, and what is done with it."""

    type, prefix = "supply", "SUP"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("resource",), "make_default": ("resource",)}

    class Fields(Path.Fields):
        """How often, and by which name."""

        interval: Duration | None = Field(None, description="time between two ingestions; None: it never ends")
        tag: str = Field("", description="what the source sends with its data")

    resource = Relation("data_product", doc="the product")
    operation = Relation("operation", doc="what writes incoming data")
    device = Relation("device", doc="what sends it")
    asset = Relation("asset", doc="what it is about")
    items = Relation("sensor", "array", "stream", many=True, on_delete=CLEAR, doc="what takes the data (aggregate)")
    licence = Relation("licence", doc="what may be done with the data")


class DataTransformation(Path):
    """Makes other data of a product: for each ingestion of its input, an analysis by its operation."""

    type, prefix = "transformation", "TRA"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("inputs", "operation")}

    class Fields(Path.Fields):
        """Its settings."""

        parameters: Settings = Field({}, description="named arguments, over those of the operation")
        trigger: Literal["started", "delivered"] = Field("delivered", description="state of the ingestion")

    inputs = Relation("data_product", many=True, doc="the products that it takes")
    outputs = Relation("data_product", many=True, doc="the products that it makes")
    operation = Relation("operation", doc="what it does")


class Assignment(Path):
    """A role of a person."""

    type, prefix = "assignment", "ASG"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("person",)}

    class Fields(Path.Fields):
        """Which role."""

        role: Literal["analyst", "manager", "operator", "auditor", "admin"] = "analyst"

    person = Relation("person", doc="who has the role")


class Tariff(Path):
    """A price: what one unit of a resource costs, or earns."""

    type, prefix = "tariff", "TAR"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("price", "resource")}

    class Fields(Path.Fields):
        """How much, of what."""

        price: Price | None = None
        unit: UnitName | None = Field(None, description="the price is for one of these")

    resource = Relation("resource", doc="what is paid for")


for _class in (Path, DataSupply, DataTransformation, Assignment, Tariff):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
