"""What happened: the last transactions of the database, and those that changed one array."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

import wendelin
from wendelin.extensions.server.endpoint import Call, Link, PastQuery, Query, Reply, Resource
from wendelin.extensions.server.services.arrays import array_links, found_array, version_of_array


class TransactionsQuery(Query):
    """How many."""

    limit: int = Field(default=20, ge=1, le=1000, description="The last so many")


class VersionsQuery(PastQuery):
    """How many, as of when."""

    limit: int = Field(default=20, ge=1, le=1000, description="The last so many")


class TransactionItem(BaseModel):
    """A transaction."""

    tid: str = Field(description="Its number, as `at` takes it", examples=["0411f3a29d1c8877"])
    time: datetime
    user: str
    note: str
    size: int | None = Field(default=None, description="Bytes of its records; not known on all databases")


class Transactions(Resource):
    """The last transactions, newest first; those that packing left."""

    items: list[TransactionItem]


class VersionItem(BaseModel):
    """What a transaction made of an array."""

    tid: str = Field(description="Its number, as `at` takes it", examples=["0411f3a29d1c8877"])
    time: datetime
    user: str
    note: str
    shape: list[int] = Field(description="The array's, from then on")
    changed: int | None = Field(default=None, description="Bytes that it stored; 0 when it only moved them")


class Versions(Resource):
    """The transactions that changed an array, newest first."""

    items: list[VersionItem]


def list_transactions(call: Call) -> Reply:
    """The last transactions."""
    found = wendelin.history(call.connection, call.query.limit)
    items = [
        TransactionItem(tid=each.tid.hex(), time=each.time, user=_name(each.user), note=each.note, size=each.size)
        for each in found
    ]
    asked = call.query.model_dump(exclude_defaults=True)
    return Reply(Transactions(items=items, links={"self": Link(href=call.links.path("/transactions", asked))}))


def list_versions(call: Call) -> Reply:
    """The transactions that changed an array."""
    array = found_array(call)
    version = call.check(version_of_array(array))
    items = [
        VersionItem(
            tid=each.tid.hex(),
            time=each.time,
            user=_name(each.user),
            note=each.note,
            shape=list(each.shape),
            changed=each.changed,
        )
        for each in array.history(call.query.limit)
    ]
    links = array_links(call, dict(call.path))
    return Reply(Versions(items=items, links={"self": links["versions"], "up": links["self"]}), version=version)


def _name(user: str) -> str:
    """ZODB has a path before the name."""
    return user.removeprefix("/").strip()
