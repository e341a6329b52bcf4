"""What one line of the routing table says, what its function is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field

from wendelin.extensions.server.negotiation import JSON
from wendelin.extensions.server.roles import Role, may
from wendelin.extensions.server.versions import Preconditions


class Query(BaseModel):
    """The parameters of a request, behind the question mark. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class PastQuery(Query):
    """Of what has a past."""

    at: str = Field(
        default="",
        max_length=200,
        description="As it was: after a time with its zone, after a transaction, or at a tag; empty: as it is now",
        examples=["2026-01-01T12:00Z"],
    )


class Body(BaseModel):
    """What a request carries as JSON. Unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class Link(BaseModel):
    """Where to go from here."""

    href: str = Field(description="A path on this server", json_schema_extra={"format": "uri-reference"})
    method: str = Field(default="GET", description="The method to call it with")
    templated: bool = Field(default=False, description="Whether the path has places {in braces} to fill in (RFC 6570)")


class Resource(BaseModel):
    """What every answer has: the links that the caller may follow."""

    model_config = ConfigDict(serialize_by_alias=True)

    links: dict[str, Link] = Field(
        default_factory=dict, serialization_alias="_links", description="What one can do next, by name"
    )


class Links:
    """Makes links that a caller may follow, and leaves out others. From a past state, `at`, they lead to the same."""

    def __init__(self, base: str, roles: frozenset[Role], at: str = "") -> None:
        self.base, self.roles, self.at = base, roles, at

    def path(self, path: str, query: Mapping[str, Any] | None = None, /, **names: str) -> str:
        """A path of the table with its names filled in."""
        filled = path.format(**{name: quote(value, safe="") for name, value in names.items()})
        asked = urlencode({name: value for name, value in (query or {}).items() if value is not None}, doseq=True)
        return f"{self.base}{filled}" + (f"?{asked}" if asked else "")

    def to(self, operation: str, **names: Any) -> dict[str, Link]:
        """`{operation's relation: link}` when the caller may call it, else nothing."""
        from wendelin.extensions.server.routes import by_name

        endpoint = by_name(operation)
        if not may(self.roles, operation) or (self.at and endpoint.writes):
            return {}
        asked = {"at": self.at} if self.at and endpoint.has_past else {}
        return {endpoint.relation: Link(href=self.path(endpoint.path, asked, **names), method=endpoint.method)}

    def all(self, *operations: str, **names: Any) -> dict[str, Link]:
        """The links of several operations on the same resource."""
        found: dict[str, Link] = {}
        for operation in operations:
            found |= self.to(operation, **names)
        return found


@dataclass(frozen=True)
class Limits:
    """What one request may ask for at most; bytes but for `page` (items)."""

    page: int
    binary: int
    text: int
    body: int


@dataclass(frozen=True)
class Call:
    """A request, checked, as the function of an endpoint sees it: in a worker's thread, within a transaction."""

    connection: Any
    user: str
    roles: frozenset[Role]
    path: Mapping[str, str]
    query: Any
    body: Any
    media: str
    content_type: str
    preconditions: Preconditions
    limits: Limits
    links: Links
    writes: bool
    suffix: str = ""

    def check(self, version: bytes) -> bytes:
        """Compare what the caller knows with the state it meets. Raises 412, or what becomes 304."""
        self.preconditions.check(version, self.suffix, writes=self.writes)
        return version


@dataclass(frozen=True)
class Reply:
    """What a function gives back. `version` becomes the ETag; `next_page` a Link header."""

    body: BaseModel | bytes | None = None
    status: int = 200
    version: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    next_page: str = ""


#: What the function of a writing endpoint gives back: called after the commit, it shows what was stored.
Later = Callable[[Call], Reply]

Function = Callable[[Call], "Reply | Later"]


@dataclass(frozen=True)
class Content:
    """One format of an answer or of a body. `suffix` tells its ETag from the usual format's."""

    media: str = JSON
    schema: Any = None
    suffix: str = ""


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `name` is its operation in `roles.MATRIX` and in the OpenAPI document."""

    method: str
    path: str
    name: str
    function: Function | None
    summary: str
    relation: str
    answers: tuple[Content, ...]
    status: int = 200
    query: type[Query] = Query
    takes: tuple[Content, ...] = ()
    problems: tuple[str, ...] = ()
    details: str = ""
    group: str = ""

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")

    @property
    def has_past(self) -> bool:
        """Whether it shows earlier states, too."""
        return issubclass(self.query, PastQuery)

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def answer(self, media: str) -> Content:
        """The format of that media type."""
        return next(content for content in self.answers if content.media == media)
