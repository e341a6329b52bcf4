"""Resources: what movements are about. Data products, operations, services, components."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Duration, Mass, Price, Settings, UnitName
from wendelin.storage.ubm.relation import CLEAR, Relation


class Resource(Entity):
    """Something that is given and taken."""

    roles = ("resource",)

    class Fields(Entity.Fields):
        """How it is counted, and what it costs."""

        unit: UnitName | None = Field(None, description="the unit in which it is counted")
        base_price: Price | None = Field(None, description="price of one unit")


class DataProduct(Resource):
    """A type of data; it names the sinks that an ingestion makes."""

    type, prefix = "data_product", "PRO"

    class Fields(Resource.Fields):
        """What such data look like."""

        sink: Literal["array", "stream", "sensor"] = Field("array", description="type of the item that takes the data")
        dtype: str = Field("float64", description="NumPy dtype of one value", examples=["float32"])
        columns: tuple[str, ...] = Field((), description="names of the columns, when one row has several values")
        sensitivity: Literal["public", "internal", "confidential"] = "internal"

    supplier = Relation("organisation", "person", on_delete=CLEAR, doc="who makes such data")


class DataOperation(Resource):
    """A function that transforms the items of a movement, registered with `@wendelin.operation`."""

    type, prefix = "operation", "OPE"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("function",)}

    class Fields(Resource.Fields):
        """Which function."""

        function: str = Field("", pattern=r"^[A-Za-z_]\w*$|^$", description="name of the registered operation")
        parameters: Settings = Field({}, description="named arguments of each call")
        version: str = ""


class Service(Resource):
    """Work that somebody does, as an inspection."""

    type, prefix = "service", "SER"

    class Fields(Resource.Fields):
        """How long it takes."""

        duration: Duration | None = None
        kind: Literal["", "inspection", "cleaning", "repair", "replacement", "calibration", "analysis"] = ""


class Component(Resource):
    """A part that is built in or kept in store."""

    type, prefix = "component", "COM"

    class Fields(Resource.Fields):
        """Which part."""

        manufacturer_part_number: str = ""
        mass: Mass | None = None
        lifetime: Duration | None = Field(None, description="expected time in operation")

    manufacturer = Relation("organisation", on_delete=CLEAR, doc="who makes it")
    supplier = Relation("organisation", on_delete=CLEAR, doc="who sells it")


for _class in (Resource, DataProduct, DataOperation, Service, Component):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
