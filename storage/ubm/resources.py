"""Resources: what movements are about. Data products, operations, services, components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from wendelin.storage.activities.call import packed, unpacked
from wendelin.storage.activities.create import registered
from wendelin.storage.errors import TransitionError
from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Duration, Mass, Price, Settings, UnitName
from wendelin.storage.ubm.relation import CLEAR, Relation
from wendelin.storage.ubm.workflow import Transition


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

    def after_transition(self, transition: Transition) -> None:
        """Validated, it keeps the function, so that any process can call it."""
        if transition.name == "validate":
            self.keep()

    def keep(self) -> None:
        """Keep the registered function of that name, with its code when workers cannot import it.

        Called again, it keeps the newest one. Raises `TransitionError` when none is registered.
        """
        function = registered(self.function)
        if function is None:
            raise TransitionError(
                f"{self.label('function')} = {self.function!r}: no function of that name is registered; "
                "write @wendelin.operation above its definition, run that, then validate again"
            )
        jar = self.store._p_jar
        self._code, self._code_references = packed(function, jar)
        self.changed()

    def callable(self) -> Callable[..., Any]:
        """The function that is kept, else the registered one of that name. `TransitionError` when there is none."""
        code: bytes | None = self.__dict__.get("_code")
        try:
            found = registered(self.function) if code is None else unpacked(code, self._p_jar)
        except Exception as error:  # another version of Python, or a module that is gone
            raise TransitionError(
                f"{self.label('function')} = {self.function!r}: its code cannot be loaded here: {error}; "
                "define it again with @wendelin.operation, then call keep()"
            ) from error
        if found is None:
            raise TransitionError(f"{self.label('function')} = {self.function!r} is not kept: do('validate') first")
        return found


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
