"""Pages: so many items at most, and a cursor that leads to those behind them. A cursor says where, not how many."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from pydantic import Field

from wendelin.extensions.server.endpoint import Call, Link, PastQuery, Query
from wendelin.extensions.server.problems import FieldProblem, ProblemError

T = TypeVar("T")

DEFAULT = 100


class PageQuery(Query):
    """What all lists take."""

    limit: int = Field(default=DEFAULT, ge=1, le=1000, description="Items of a page at most")
    cursor: str = Field(default="", max_length=2000, description="Where the page begins, as the link `next` has it")


class PastPageQuery(PageQuery, PastQuery):
    """What all lists take that have a past."""


def page(call: Call, path: str, found: Iterable[T], key: Callable[[T], str]) -> tuple[list[T], str]:
    """The items of one page, and the path of the next one, "" at the end. `found` begins behind the cursor."""
    limit = min(call.query.limit, call.limits.page)
    items = list(islice(found, limit + 1))
    if len(items) <= limit:
        return items, ""
    return items[:limit], following(call, path, cursor_of(key(items[limit - 1])))


def following(call: Call, path: str, cursor: str) -> str:
    """The path of the page that begins at a cursor."""
    asked = {**call.query.model_dump(exclude_defaults=True, by_alias=True), "cursor": cursor}
    return call.links.path(path, asked, **call.path)


def links(call: Call, path: str, next_page: str) -> dict[str, Link]:
    """The links of a page: itself, the first one and the next one."""
    asked = call.query.model_dump(exclude_defaults=True, by_alias=True)
    first = {name: value for name, value in asked.items() if name != "cursor"}
    found = {"self": Link(href=call.links.path(path, asked, **call.path))}
    found["first"] = Link(href=call.links.path(path, first, **call.path))
    if next_page:
        found["next"] = Link(href=next_page)
    return found


def after(query: Any) -> str:
    """The key behind which a page begins; "" for the first one. Raises 422 for a cursor that is none."""
    if not query.cursor:
        return ""
    try:
        return base64.urlsafe_b64decode(query.cursor.encode() + b"==").decode()
    except (binascii.Error, UnicodeError, ValueError):
        message = f"{query.cursor!r} is no cursor: follow the link `next` of a page, or leave it out"
        raise ProblemError(
            "invalid", f"cursor: {message}", errors=[FieldProblem(where="cursor", message=message)]
        ) from None


def cursor_of(key: str) -> str:
    """A key as a cursor."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
