"""The handlers of the door. Each is made from the lines of the routing table that have its path.

In this order: host, name and XSRF token (Jupyter Server's), method, caller and roles, parameters and body; then a
thread works and the answer goes out, compressed where that pays. Every error is a problem.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel
from tornado import web

from wendelin.extensions.server import incoming, negotiation, problems
from wendelin.extensions.server.access import Caller, caller_of
from wendelin.extensions.server.endpoint import Call, Content, Endpoint, Limits, Links, Reply
from wendelin.extensions.server.problems import ProblemError, problem_of
from wendelin.extensions.server.roles import may
from wendelin.extensions.server.versions import NotModifiedError, Preconditions, etag, preconditions
from wendelin.extensions.server.work import Session, Workers

PREFIX = "/wendelin/api/v1"

#: Bytes from which on an answer is compressed.
_WORTH_COMPRESSING = 1024

Answer = tuple[int, dict[str, str], bytes]


class Door(APIHandler):
    """A path of the API. `endpoints` has its methods; none: there is no such path."""

    auth_resource = "wendelin"
    endpoints: ClassVar[dict[str, Endpoint]] = {}
    has_head: ClassVar[bool] = True

    def initialize(self, app: Any) -> None:
        """`app` is the extension, with workers and settings."""
        self.app = app

    def compute_etag(self) -> str | None:
        """None: our ETags name transactions; tornado would take a digest of the body."""
        return None

    @property
    def base(self) -> str:
        """Where the paths of the API begin on this server."""
        return str(self.base_url).rstrip("/") + PREFIX

    async def prepare(self) -> None:  # type: ignore[override]
        """Let in who has a name, and knows the method."""
        try:
            await super().prepare()
        except web.HTTPError:
            if getattr(self, "_jupyter_current_user", None) is None and self.check_host():
                raise _sign_in() from None
            raise
        if not self.endpoints:
            raise ProblemError(
                "not-found", f"there is no {self.request.path}: the links of {self.base}/ lead to what there is"
            )
        allowed = self._allowed()
        if self.request.method not in allowed:
            raise ProblemError(
                "method-not-allowed",
                f"{self.request.method} is not known here, {', '.join(allowed)} are",
                headers={"Allow": ", ".join(allowed)},
            )

    def _allowed(self) -> list[str]:
        found = list(self.endpoints)
        return [*found, *(["HEAD"] if "GET" in found and self.has_head else []), "OPTIONS"]

    @web.authenticated
    @authorized
    async def options(self, *_: str) -> None:  # type: ignore[override]
        """Which methods the resource knows."""
        self.set_header("Allow", ", ".join(self._allowed()))
        self.set_status(204)
        await super(APIHandler, self).finish()

    async def answer(self, endpoint: Endpoint, names: tuple[str, ...]) -> None:
        """Do what the endpoint says, and send what comes of it."""
        try:
            caller = await self.admitted(endpoint)
            call = self.call(endpoint, caller, names)
            note = f"{endpoint.method} {self.request.path}"
            takes_gzip = negotiation.takes_gzip(self.request.headers.get("Accept-Encoding"))
            status, headers, body = await self.workers.do(
                caller.name, note, lambda session: _worked(session, endpoint, call, takes_gzip)
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a problem
            raise problem_of(error) from None
        self.send(status, headers, body)

    async def admitted(self, endpoint: Endpoint) -> Caller:
        """The caller, whose roles allow the endpoint. Raises 401 and 403."""
        caller = await caller_of(self, self.app.roles, self.app.scopes, writes=endpoint.writes)
        if not may(caller.roles, endpoint.name):
            have = ", ".join(sorted(caller.roles)) or "no role"
            raise ProblemError("not-allowed", f"{caller.name} is {have}; {endpoint.name} needs {needed(endpoint.name)}")
        return caller

    def call(self, endpoint: Endpoint, caller: Caller, names: tuple[str, ...]) -> Call:
        """The request, checked. Raises 400, 406, 413, 415, 422."""
        media = negotiation.chosen(self.request.headers.get("Accept"), [one.media for one in endpoint.answers])
        query = incoming.query_of(self.request, endpoint)
        body, content_type = incoming.body_of(self.request, endpoint, self.limits.body)
        headers = self.request.headers
        return Call(
            connection=None,
            user=caller.name,
            roles=caller.roles,
            path=dict(zip(endpoint.names, names, strict=True)),
            query=query,
            body=body,
            media=media,
            content_type=content_type,
            preconditions=preconditions(headers.get("If-Match"), headers.get("If-None-Match")),
            limits=self.limits,
            links=Links(self.base, caller.roles, getattr(query, "at", "")),
            writes=endpoint.writes,
            suffix=endpoint.answer(media).suffix,
        )

    @property
    def limits(self) -> Limits:
        """What one request may ask for."""
        return self.app.limits  # type: ignore[no-any-return]

    @property
    def workers(self) -> Workers:
        """The threads that work in the database."""
        return self.app.workers  # type: ignore[no-any-return]

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send an answer."""
        self.set_status(status)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Vary", "Accept, Accept-Encoding, Authorization, Cookie")
        for name, value in headers.items():
            self.set_header(name, value)
        if status in (204, 304):
            self.update_api_activity()
            self.clear_header("Content-Type")
            super(APIHandler, self).finish()
        else:
            self.finish(body, set_content_type=headers["Content-Type"])

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors are problems."""
        error = kwargs.get("exc_info", (None, web.HTTPError(status_code), None))[1]
        found = problem_of(error)
        self.set_status(found.status_code)
        for name, value in found.headers.items():
            self.set_header(name, value)
        body = found.problem(self.base).model_dump_json(exclude_none=True)
        self.finish(body, set_content_type=problems.MEDIA)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A problem is an answer; what nobody foresaw was logged when it became one."""
        if not isinstance(value, ProblemError):
            super().log_exception(typ, value, tb)


def needed(operation: str) -> str:
    """The roles that an operation needs, in words."""
    from wendelin.extensions.server.roles import MATRIX

    return " or ".join(sorted(MATRIX[operation]))


def handlers(endpoints: tuple[Endpoint, ...], app: Any) -> list[tuple[str, type[Door], dict[str, Any]]]:
    """The routes of the server: one for each path of the table, and one for all other paths below the prefix."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    # Fixed paths come before those with names, which would match them.
    ordered = sorted(by_path.items(), key=lambda item: [part.startswith("{") for part in item[0].split("/")])
    table = [(_pattern(path), _handler(path, found), {"app": app}) for path, found in ordered]
    return [*table, (r"/wendelin(?:/.*)?", Door, {"app": app})]


def _pattern(path: str) -> str:
    return PREFIX + re.sub(r"\{\w+\}", "([^/]+)", path) + ("?" if path == "/" else "")


def _handler(path: str, endpoints: dict[str, Endpoint]) -> type[Door]:
    from wendelin.extensions.server.services.events import Events

    streams = any(content.media == "text/event-stream" for one in endpoints.values() for content in one.answers)
    verbs: dict[str, Any] = {method.lower(): _verb(endpoint) for method, endpoint in endpoints.items()}
    if "get" in verbs and not streams:
        verbs["head"] = verbs["get"]
    name = "".join(part.strip("{}").title() for part in path.split("/") if part) or "Root"
    return type(f"{name}Door", (Events if streams else Door,), {"endpoints": endpoints, **verbs})


def _verb(endpoint: Endpoint) -> Callable[..., Awaitable[None]]:
    @web.authenticated
    @authorized
    async def verb(self: Door, *names: str) -> None:
        await self.answer(endpoint, names)

    return verb  # type: ignore[return-value]


def _sign_in() -> ProblemError:
    return ProblemError(
        "not-signed-in",
        "send the header Authorization: token …, or sign in with a browser; writes with a cookie need the header "
        "X-XSRFToken with the value of the cookie _xsrf",
        headers={"WWW-Authenticate": 'Bearer realm="wendelin"'},
    )


def _worked(session: Session, endpoint: Endpoint, call: Call, takes_gzip: bool) -> Answer:
    """Call the endpoint's function in the right kind of transaction. In a worker's thread."""
    assert endpoint.function
    function: Any = endpoint.function
    try:
        if not endpoint.writes:
            at = incoming.moment_of(call.query)
            reply = session.read(lambda connection: function(_with(call, connection)), at)
        else:
            reply = session.write(lambda connection: function(_with(call, connection)))
            if callable(reply):
                later = reply
                # What it shows now is for its writer: conditions held before the commit.
                after = Preconditions(None, None)
                reply = session.read(lambda connection: later(_with(call, connection, preconditions=after)))
    except NotModifiedError as known:
        return 304, {"ETag": etag(known.version, call.suffix)}, b""
    return _encoded(endpoint.answer(call.media), call, reply, takes_gzip)


def _with(call: Call, connection: Any, **changes: Any) -> Call:
    from dataclasses import replace

    return replace(call, connection=connection, **changes)


def _encoded(content: Content, call: Call, reply: Reply, takes_gzip: bool) -> Answer:
    headers = dict(reply.headers)
    if reply.next_page:
        headers["Link"] = f'<{reply.next_page}>; rel="next"'
    body, suffix = _bytes(reply.body), content.suffix
    if body:
        headers.setdefault("Content-Type", content.media)
    if takes_gzip and len(body) >= _WORTH_COMPRESSING:
        body, suffix = gzip.compress(body, 5, mtime=0), f"{suffix}+gzip"
        headers["Content-Encoding"] = "gzip"
    if reply.version is not None:
        headers["ETag"] = etag(reply.version, suffix)
    return reply.status, headers, body


def _bytes(body: BaseModel | bytes | dict[str, Any] | None) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_none=True).encode()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
