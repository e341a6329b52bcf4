"""Paths: the rules by which movements come. Supplies, transformations, assignments, tariffs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic import Field

from wendelin.storage.errors import FieldError
from wendelin.storage.ubm import simulation
from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Duration, Price, Settings, Time, UnitName
from wendelin.storage.ubm.quantity import Money, Quantity
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


class Supply(Path):
    """What comes again and again, from whom: data of a product (which device sends it), or a service on an asset."""

    type, prefix = "supply", "SUP"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("resource",), "make_default": ("resource",)}

    class Fields(Path.Fields):
        """How often, by which name, and for maintenance at which cost."""

        interval: Duration | None = Field(None, description="time between two movements; None: one for all")
        tag: str = Field("", description="what the source sends with its data")
        expected_cost: Price | None = Field(None, description="of one service")
        expected_saving: Price | None = Field(None, description="of one service")

    resource = Relation("data_product", "service", "component", doc="what comes")
    operation = Relation("operation", doc="what writes incoming data")
    device = Relation("device", doc="what sends it")
    asset = Relation("asset", doc="what it is about")
    items = Relation("sensor", "array", "stream", many=True, on_delete=CLEAR, doc="what takes the data (aggregate)")
    licence = Relation("licence", doc="what may be done with the data")

    @property
    def plans(self) -> str:
        """The type of its movements."""
        return "ingestion" if self.resource.type == "data_product" else "maintenance_order"

    def movement(self) -> dict[str, Any]:
        """What its movements have of it."""
        common = ("title", "source", "destination", "resource", "owner", "project")
        own = ("items", "operation") if self.plans == "ingestion" else ("asset", "expected_cost", "expected_saving")
        more = {"tag": self.tag} if self.plans == "ingestion" and self.tag else {}
        return {**{name: getattr(self, name) for name in (*common, *own)}, **more}

    def plan(self, start: datetime, stop: datetime) -> list[Any]:
        """Plan its movements from `start` until before `stop`; see `simulation.plan`."""
        return simulation.plan(self, start, stop)


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

    def amount(self, quantity: Quantity | float) -> Money:
        """What so much costs, exact to the last digit that is given. FieldError when the units do not fit."""
        try:
            value = quantity.to(self.unit or "").value if isinstance(quantity, Quantity) else quantity
        except ValueError as error:
            raise FieldError(f"{self.label('amount')}({quantity}): {error}; give a quantity in {self.unit}") from None
        return self.price * Decimal(str(value))  # type: ignore[no-any-return]


for _class in (Path, Supply, DataTransformation, Assignment, Tariff):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
