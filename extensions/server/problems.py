"""Errors as RFC 9457 has them: `application/problem+json`, with a kind that programs can tell apart.

The detail says what happened, with which value, and what to send instead. What nobody foresaw tells only a number,
which stands in the server's log beside the traceback.
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from tornado.web import HTTPError
from ZODB.POSException import ConflictError, POSKeyError, ReadOnlyError

from wendelin.storage import errors

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"
RETRY_SECONDS = 1
AWAY_SECONDS = 5


class FieldProblem(BaseModel):
    """One thing that is wrong with what was sent."""

    where: str = Field(description="The field, with dots between names, or the parameter", examples=["sampling_rate"])
    message: str = Field(description="What is asked for")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(
        description="A link that names the kind of problem", json_schema_extra={"format": "uri-reference"}
    )
    title: str = Field(description="The kind in words; the same for all of a kind")
    status: int = Field(description="The HTTP status", ge=400, le=599)
    detail: str = Field(description="What happened this time, and what to send instead")
    instance: str | None = Field(default=None, description="A number that stands in the server's log")
    errors: list[FieldProblem] | None = Field(default=None, description="What is wrong, field by field")


#: Kind → (status, title).
KINDS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "not-signed-in": (401, "Sign in, or send a token"),
    "not-allowed": (403, "Your roles do not allow this"),
    "refused": (403, "The request is refused"),
    "not-found": (404, "There is no such resource"),
    "no-such-state": (404, "There is no such state of the database"),
    "method-not-allowed": (405, "The resource does not know this method"),
    "not-acceptable": (406, "There is no such format of the resource"),
    "conflict": (409, "The state of the resource does not allow this"),
    "changed": (412, "The resource has changed meanwhile"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The resource takes no such content"),
    "invalid": (422, "What was sent does not fit"),
    "slice-too-large": (422, "The slice is too large for one answer"),
    "internal": (500, "An error of the server"),
    "busy": (503, "Others are changing the same: try again"),
    "unavailable": (503, "The database does not answer now"),
    "full": (507, "The server has no room"),
}

_BY_STATUS: dict[int, str] = {}
for _kind, (_status, _) in KINDS.items():
    _BY_STATUS.setdefault(_status, _kind)
_BY_STATUS[403] = "refused"


class ProblemError(HTTPError):
    """Raised to answer with a problem. `kind` is one of `KINDS`; `headers` go with the answer."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        errors: list[FieldProblem] | None = None,
        instance: str | None = None,
    ) -> None:
        status, self.title = KINDS[kind]
        super().__init__(status, detail.replace("%", "%%"))
        self.kind, self.detail, self.headers = kind, detail, headers or {}
        self.errors, self.instance = errors, instance

    def problem(self, base: str) -> Problem:
        """The body of the answer; `base` is where the door's paths begin."""
        return Problem(
            type=f"{base}/problems/{self.kind}",
            title=self.title,
            status=self.status_code,
            detail=self.detail,
            instance=self.instance,
            errors=self.errors,
        )


def problem_of(error: BaseException) -> ProblemError:
    """The problem that an exception means to a caller. What nobody foresaw is logged."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ValidationError):
        return invalid(error)
    if isinstance(error, HTTPError):
        return _of_tornado(error)
    return _of_wendelin(error) or _unforeseen(error)


def invalid(error: ValidationError, where: str = "") -> ProblemError:
    """422 with what pydantic found, field by field."""
    found = [
        FieldProblem(where=".".join(map(str, one["loc"])) or where or "body", message=one["msg"])
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    told = "; ".join(f"{one.where}: {one.message}" for one in found[:5])
    return ProblemError("invalid", told, errors=found)


def _of_tornado(error: HTTPError) -> ProblemError:
    kind = _BY_STATUS.get(error.status_code, "malformed" if error.status_code < 500 else "internal")
    try:
        detail = error.log_message % error.args if error.log_message and error.args else error.log_message
    except (TypeError, ValueError):
        detail = error.log_message
    return ProblemError(kind, detail or HTTPStatus(KINDS[kind][0]).description or KINDS[kind][1])


def _of_wendelin(error: BaseException) -> ProblemError | None:
    if isinstance(error, ConflictError) and not isinstance(error, POSKeyError):
        retry = {"Retry-After": str(RETRY_SECONDS)}
        return ProblemError("busy", "other transactions changed the same each time it was tried: retry", headers=retry)
    if isinstance(error, ReadOnlyError):
        return ProblemError("refused", "the server's database is open for reading only")
    if isinstance(error, errors.StorageFullError):
        return ProblemError("full", str(error))
    if isinstance(error, errors.UnavailableError):
        return ProblemError("unavailable", str(error), headers={"Retry-After": str(AWAY_SECONDS)})
    for kind, classes in _usage().items():
        if isinstance(error, classes):
            return ProblemError(kind, _text(error))
    return None


def _usage() -> dict[str, tuple[type[BaseException], ...]]:
    return {
        "conflict": (errors.NameTakenError, errors.RelatedError, errors.TransitionError),
        "not-allowed": (errors.NotAllowedError,),
        "no-such-state": (errors.StateGoneError, errors.NoHistoryError),
        "invalid": (errors.UsageError,),
    }


def _text(error: BaseException) -> str:
    # A KeyError shows its message quoted.
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _unforeseen(error: BaseException) -> ProblemError:
    number = secrets.token_hex(6)
    log.error("REST door, incident %s", number, exc_info=error)
    return ProblemError(
        "internal", f"the server met an error it did not expect; its log has it as incident {number}", instance=number
    )


def statuses() -> dict[int, list[tuple[str, str]]]:
    """Status → its kinds, each with its title."""
    found: dict[int, list[tuple[str, str]]] = {}
    for kind, (status, title) in KINDS.items():
        found.setdefault(status, []).append((kind, title))
    return found


__all__: list[Any] = ["KINDS", "MEDIA", "FieldProblem", "Problem", "ProblemError", "invalid", "problem_of", "statuses"]
