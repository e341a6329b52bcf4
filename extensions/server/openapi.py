"""The OpenAPI 3.1 document, made from the routing table, the models and the types of entities."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import wendelin
from wendelin.extensions.server.endpoint import Content, Endpoint
from wendelin.extensions.server.problems import KINDS, MEDIA, Problem
from wendelin.extensions.server.roles import MATRIX
from wendelin.extensions.server.routes import ENDPOINTS
from wendelin.storage.ubm.registry import types

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"

#: Problems of every endpoint, of those that take a body, and of those that write.
_ALWAYS = ("malformed", "not-signed-in", "not-allowed", "not-acceptable", "invalid", "internal", "unavailable")
_BODY = ("too-large", "unsupported-media-type")
_WRITE = ("busy", "full", "conflict")

_NAMES = {
    "path": "Its path, slashes as %2F",
    "entity": "Its reference or uid",
    "name": "The name under which the entity carries the array",
    "type": "The name of the type",
    "uid": "Its uid",
    "kind": "The kind, the last part of a problem's type",
}
_GROUPS = {
    "door": "Where one begins",
    "entities": "Business objects: assets, sensors, products, orders, and who they belong to",
    "arrays": "Persistent arrays and their slices",
    "activities": "Calls that transactions left for workers",
}


@lru_cache(8)
def document_bytes(base: str) -> bytes:
    """The document of a server whose API begins at the path `base`, as JSON."""
    return json.dumps(document(base), ensure_ascii=False, separators=(",", ":")).encode()


def document(base: str) -> Schema:
    """The document of a server whose API begins at the path `base`."""
    models, schemas = _models()
    paths: dict[str, Schema] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wendelin",
            "version": wendelin.__version__,
            "description": "Entities, arrays and activities of a Wendelin database. Answers carry `_links` to "
            "what their reader may do next. Errors are problems (RFC 9457). ETags name "
            "the transaction that made what is shown.",
        },
        "servers": [{"url": base}],
        "security": [{"token": []}, {"cookie": []}],
        "tags": [{"name": name, "description": text} for name, text in _GROUPS.items()],
        "paths": paths,
        "components": {
            "schemas": {**schemas, **_forms()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the Jupyter server, or of the hub",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "jupyter",
                    "description": "Jupyter's cookie after sign-in, whatever its name is; writes also need the header "
                    "X-XSRFToken with the value of the cookie _xsrf",
                },
            },
        },
    }


# ---- schemas

Key = tuple[type[BaseModel], JsonSchemaMode]


def _models() -> tuple[dict[Key, Schema], dict[str, Schema]]:
    """References to all models, and their schemas by name."""
    keys: list[Key] = [(Problem, "serialization")]
    for endpoint in ENDPOINTS:
        contents = [
            *((one, "serialization") for one in endpoint.answers),
            *((one, "validation") for one in endpoint.takes),
        ]
        for content, mode in contents:
            if isinstance(content.schema, type) and (content.schema, mode) not in keys:
                keys.append((content.schema, mode))  # type: ignore[arg-type]
    found, definitions = models_json_schema(keys, ref_template=_REF)
    return {key: found[key] for key in keys}, definitions["$defs"]


def _forms() -> dict[str, Schema]:
    """What each type of entity takes when it is made; third parties' types too."""
    found: dict[str, Schema] = {}
    for name, cls in types().items():
        schema = json.loads(json.dumps(cls.schema()).replace("#/$defs/", f"#/components/schemas/{name}."))
        for inner, definition in schema.pop("$defs", {}).items():
            found[f"{name}.{inner}"] = definition
        known = {"type": {"const": name}, "reference": {"type": "string", "minLength": 1, "maxLength": 100}}
        found[f"new.{name}"] = {
            **schema,
            "properties": {**known, **schema["properties"]},
            "required": ["type", *schema.get("required", ())],
            "additionalProperties": False,
        }
    return found


def _schema(content: Content, models: dict[Key, Schema], mode: JsonSchemaMode, operation: str) -> Schema:
    if operation == "createEntity" and mode == "validation":
        mapping = {name: _REF.format(model=f"new.{name}") for name in types()}
        return {
            "oneOf": [{"$ref": ref} for ref in mapping.values()],
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }
    return dict(content.schema) if isinstance(content.schema, dict) else models[content.schema, mode]


# ---- operations


def _operation(endpoint: Endpoint, models: dict[Key, Schema]) -> Schema:
    roles = sorted(MATRIX[endpoint.name])
    text = [endpoint.details, f"Roles: {', '.join(roles)}."]
    found: Schema = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": "\n\n".join(part for part in text if part),
        "tags": [endpoint.group],
        "x-wendelin-roles": roles,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_header_parameters(endpoint)],
        "responses": {str(endpoint.status): _answer(endpoint, models), **_problems(endpoint)},
    }
    if endpoint.takes:
        contents = {one.media: {"schema": _schema(one, models, "validation", endpoint.name)} for one in endpoint.takes}
        found["requestBody"] = {"required": True, "content": contents}
    return found


def _path_parameters(endpoint: Endpoint) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _NAMES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in endpoint.names
    ]


def _query_parameters(endpoint: Endpoint) -> list[Schema]:
    schema = TypeAdapter(endpoint.query).json_schema(ref_template=_REF)
    found = []
    for name, each in schema.get("properties", {}).items():
        inner = {key: value for key, value in each.items() if key not in ("description", "title")}
        options = [one for one in inner.pop("anyOf", []) if one.get("type") != "null"]
        if options:
            inner = {**options[0], **{key: value for key, value in inner.items() if value is not None}}
        found.append({"name": name, "in": "query", "description": each.get("description", ""), "schema": inner})
    return found


def _conditional(endpoint: Endpoint) -> bool:
    return "changed" in endpoint.problems


def _header_parameters(endpoint: Endpoint) -> list[Schema]:
    if not _conditional(endpoint):
        return []
    tags = {"type": "string", "pattern": r'^(\*|"[0-9a-f]{16}[a-z;+]*")$', "examples": ['"0411f3a29d1c8877"']}
    known = {"name": "If-None-Match", "in": "header", "description": "ETags that you have: 304", "schema": tags}
    expected = {"name": "If-Match", "in": "header", "description": "The ETag that you expect, else 412", "schema": tags}
    return [expected] if endpoint.writes else [known, expected]


def _answer(endpoint: Endpoint, models: dict[Key, Schema]) -> Schema:
    headers: Schema = {}
    if _conditional(endpoint) and endpoint.status != 204:
        headers["ETag"] = {"description": "The transaction that made this", "schema": {"type": "string"}}
    if endpoint.status == 201:
        headers["Location"] = {"description": "Where it is", "schema": {"type": "string", "format": "uri-reference"}}
    if "cursor" in endpoint.query.model_fields:
        headers["Link"] = {"description": 'The next page, rel="next"', "schema": {"type": "string"}}
    found: Schema = {"description": endpoint.summary}
    if headers:
        found["headers"] = headers
    if endpoint.status != 204:
        contents = {
            one.media: {"schema": _schema(one, models, "serialization", endpoint.name)} for one in endpoint.answers
        }
        found["content"] = contents
    return found


def _problems(endpoint: Endpoint) -> Schema:
    past = ("no-such-state",) if endpoint.has_past else ()
    kinds = [
        *_ALWAYS,
        *past,
        *endpoint.problems,
        *(_BODY if endpoint.takes else ()),
        *(_WRITE if endpoint.writes else ()),
    ]
    by_status: dict[int, list[str]] = {}
    for kind in KINDS:
        if kind in kinds:
            by_status.setdefault(KINDS[kind][0], []).append(f"{KINDS[kind][1]} (`{kind}`)")
    found: Schema = {str(status): _problem(" · ".join(texts)) for status, texts in sorted(by_status.items())}
    if _conditional(endpoint) and not endpoint.writes:
        found["304"] = {"description": "You have it already"}
    return found


def _problem(text: str) -> Schema:
    return {"description": text, "content": {MEDIA: {"schema": {"$ref": _REF.format(model="Problem")}}}}
