"""What a request brings: parameters and bodies, checked by the endpoint's models."""

from __future__ import annotations

import difflib
import re
from typing import Any

import pydantic_core
from pydantic import BaseModel, TypeAdapter, ValidationError
from tornado.httputil import HTTPServerRequest

from wendelin.extensions.server.endpoint import Endpoint, Query
from wendelin.extensions.server.negotiation import media_type
from wendelin.extensions.server.problems import FieldProblem, ProblemError, invalid

#: A time whose zone lost its plus.
_BLANK_ZONE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+ \d\d:?\d\d")

#: Parameters that are for Jupyter Server.
_JUPYTERS = {"token", "no_track_activity", "_xsrf"}


def query_of(request: HTTPServerRequest, endpoint: Endpoint) -> Query:
    """The parameters of a request. Raises 422 for unknown, repeated and wrong ones, 400 for what is no UTF-8."""
    known = {field.alias or name: field for name, field in endpoint.query.model_fields.items()}
    given: dict[str, Any] = {}
    for name, values in request.query_arguments.items():
        if name in _JUPYTERS:
            continue
        if name not in known:
            raise _unknown(name, list(known), writes=endpoint.writes)
        texts = [_decoded(name, value) for value in values]
        many = "list" in str(known[name].annotation)
        if len(texts) > 1 and not many:
            raise _wrong(name, "is given twice")
        given[name] = texts if many else texts[0]
    try:
        return endpoint.query.model_validate(given)
    except ValidationError as error:
        raise invalid(error, "query") from None


def body_of(request: HTTPServerRequest, endpoint: Endpoint, limit: int) -> tuple[Any, str]:
    """The body and its media type. Raises 400, 413, 415 and 422."""
    if not endpoint.takes:
        if request.body:
            raise ProblemError("invalid", f"{endpoint.method} here takes no body: send none")
        return None, ""
    if len(request.body) > limit:
        raise ProblemError(
            "too-large", f"the body has {len(request.body):,} bytes, at most {limit:,} are taken: send less"
        )
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise ProblemError("unsupported-media-type", f"Content-Encoding: {coding} is not taken: send the body as it is")
    media = media_type(request.headers.get("Content-Type"))
    content = next((one for one in endpoint.takes if one.media == media), None)
    if content is None:
        raise ProblemError(
            "unsupported-media-type",
            f"Content-Type: {media or 'none'} is not taken here: {', '.join(one.media for one in endpoint.takes)} is",
        )
    if isinstance(content.schema, dict):
        return bytes(request.body), media
    return _checked(parsed(request.body), content.schema), media


def parsed(body: bytes) -> Any:
    """JSON, strictly: no NaN, no lone surrogates, no bottomless nesting. Raises 400."""
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ProblemError("malformed", f"the body is no JSON: {error}") from None


def _checked(value: Any, schema: Any) -> Any:
    try:
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            return schema.model_validate(value)
        return TypeAdapter(schema).validate_python(value)
    except ValidationError as error:
        raise invalid(error) from None


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ProblemError("malformed", f"the parameter {name} is no UTF-8") from None


def moment_of(query: Query) -> str:
    """The earlier state that is asked for, "" for none. A plus, which means a blank in a URL, is one again."""
    at = str(getattr(query, "at", "")).strip()
    return at.replace(" ", "+") if _BLANK_ZONE.fullmatch(at) else at


def _unknown(name: str, known: list[str], *, writes: bool) -> ProblemError:
    if name == "at":
        why = "nobody changes the past" if writes else "entities, arrays and what belongs to them have a past, not this"
        return _wrong(name, f"is no parameter of this resource: {why}; leave it out")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}" if known else "there is none here"
    return _wrong(name, f"is no parameter of this resource; {hint}")


def _wrong(name: str, message: str) -> ProblemError:
    return ProblemError("invalid", f"{name} {message}", errors=[FieldProblem(where=name, message=message)])
