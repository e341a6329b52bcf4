"""Events and documents: what happened, what is to be handled, what is written down."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Settings, Time
from wendelin.storage.ubm.relation import CLEAR, Relation
from wendelin.storage.ubm.workflow import HANDLING


class Event(Entity):
    """Something happened, or was found in data."""

    type, prefix = "event", "EVT"
    roles = ("event",)

    class Fields(Entity.Fields):
        """When, and how bad."""

        start: Time | None = None
        stop: Time | None = None
        severity: Literal["info", "warning", "error", "critical"] = "info"
        kind: str = Field("", description="what happened, in one word", examples=["soiling"])
        data: Settings = Field({})

    asset = Relation("asset", on_delete=CLEAR, doc="where it happened")
    sensor = Relation("sensor", on_delete=CLEAR, doc="what showed it")
    source = Relation("node", "device", on_delete=CLEAR, doc="who tells")
    causality = Relation("movement", "event", many=True, on_delete=CLEAR, doc="what it follows from")


class Ticket(Event):
    """Something that somebody has to handle."""

    type, prefix = "ticket", "TIC"
    workflow = HANDLING

    class Fields(Event.Fields):
        """How urgent."""

        priority: Literal["low", "normal", "high", "urgent"] = "normal"
        due: Time | None = None
        resolution: str = ""

    assignee = Relation("person", on_delete=CLEAR, doc="who handles it")


class Document(Entity):
    """A text or files about other entities: attach the files."""

    type, prefix = "document", "DOC"
    roles = ("document",)

    class Fields(Entity.Fields):
        """What kind of document."""

        text: str = Field("", max_length=1_000_000)
        language: str = Field("", pattern=r"^([a-z]{2,3}(-[A-Z]{2})?)?$", examples=["en"])
        version: str = ""
        kind: Literal["", "manual", "contract", "report", "certificate", "descriptor", "other"] = ""

    about = Relation(many=True, on_delete=CLEAR, doc="what it describes")


for _class in (Event, Ticket, Document):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
