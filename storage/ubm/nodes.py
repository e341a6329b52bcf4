"""Nodes: who gives, takes and owns. Organisations, persons, projects."""

from __future__ import annotations

from typing import Literal

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import Country, Email, Latitude, Longitude, Price, Time, Url
from wendelin.storage.ubm.relation import CLEAR, Relation


class Node(Entity):
    """A source, destination or owner."""

    roles = ("node",)

    class Fields(Entity.Fields):
        """Where it is found."""

        email: Email | None = None
        phone: str = ""
        website: Url | None = None
        street: str = ""
        city: str = ""
        postal_code: str = ""
        country: Country | None = None


class Organisation(Node):
    """A company, an authority, or a part of one."""

    type, prefix = "organisation", "ORG"

    class Fields(Node.Fields):
        """What registers know of it."""

        legal_name: str = ""
        vat_number: str = ""
        kind: Literal["", "operator", "owner", "manufacturer", "supplier", "customer", "authority", "research"] = ""
        latitude: Latitude | None = None
        longitude: Longitude | None = None

    parent = Relation("organisation", acyclic=True, doc="the organisation it is part of")


class Person(Node):
    """Somebody. `user` is the name by which they sign in."""

    type, prefix = "person", "PER"

    class Fields(Node.Fields):
        """Their name."""

        first_name: str = ""
        last_name: str = ""
        user: str = ""
        function: str = ""

    organisation = Relation("organisation", on_delete=CLEAR, doc="who they work for")


class Project(Node):
    """Groups what is done for one purpose (follow_up)."""

    type, prefix = "project", "PRJ"

    class Fields(Node.Fields):
        """When, and for how much."""

        start: Time | None = None
        stop: Time | None = None
        budget: Price | None = None

    customer = Relation("organisation", "person", on_delete=CLEAR, doc="who wants it")
    members = Relation("person", many=True, on_delete=CLEAR, doc="who works on it")
    parent = Relation("project", acyclic=True, doc="the project it is part of")


for _class in (Node, Organisation, Person, Project):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
