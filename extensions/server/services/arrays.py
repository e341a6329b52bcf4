"""Arrays: those at paths of the database's folders, and those that entities carry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from persistent.TimeStamp import TimeStamp
from pydantic import BaseModel, Field
from ZODB.utils import z64

from wendelin.extensions.server import paging
from wendelin.extensions.server.endpoint import Call, Later, Link, PastQuery, Reply, Resource
from wendelin.extensions.server.problems import ProblemError
from wendelin.extensions.server.services import rows, slices
from wendelin.extensions.server.services.entities import found_entity
from wendelin.extensions.server.versions import version_of
from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.folder import Folder


class ArraysQuery(paging.PastPageQuery):
    """Which arrays."""

    under: str = Field(default="", max_length=1000, description="Only those below this folder", examples=["plants/4"])


class DataQuery(PastQuery):
    """Which part of an array."""

    slice: str = Field(
        default="",
        max_length=500,
        pattern=f"(^$)|({slices.PATTERN})",
        description="As in Python: numbers, `start:stop:step` and `...`, an axis each; empty: all",
        examples=["0:100, ::2"],
    )
    field: str = Field(default="", max_length=200, description="One field of a structured array")


class ArrayInfo(Resource):
    """What an array is. Its numbers are behind the link `data`."""

    path: str = Field(description="Its path in the database, or entity/name")
    shape: list[int]
    dtype: Any = Field(description="NumPy's name of the type, or [field, type] pairs", examples=["<f8"])
    order: str = Field(description="Layout in memory", pattern="^[CF]$")
    axis: int | None = Field(default=None, description="The axis that rows are appended to")
    nbytes: int = Field(description="Bytes of all elements")
    block: int = Field(description="Bytes of a block, the unit in which writers conflict")
    changed: datetime | None = Field(default=None, description="When it was changed last")


class Arrays(Resource):
    """A page of arrays, by path."""

    items: list[ArrayInfo]


class Data(BaseModel):
    """A slice as JSON."""

    shape: list[int]
    dtype: Any = Field(description="NumPy's name of the type, or [field, type] pairs")
    values: Any = Field(description='Nested lists; null for NaN, "Infinity", records as objects, times as text')


class Appended(ArrayInfo):
    """An array that has grown. Rows that others appended at the same time may stand between."""

    appended: int = Field(description="Rows that this request added")


def list_arrays(call: Call) -> Reply:
    """A page of the arrays at paths."""
    query = call.query
    parts = [part for part in query.under.split("/") if part]
    folder = call.connection.root()
    for part in parts:
        folder = folder.get(part) if isinstance(folder, Folder) else None
    if not isinstance(folder, Folder):
        raise ProblemError("not-found", f"there is no folder {query.under!r}")
    prefix = "".join(f"{part}/" for part in parts)
    behind = paging.after(query).split("/") if query.cursor else []
    found = ((prefix + path, array) for path, array in _walk(folder, behind))
    relative = len(prefix)
    items, following = paging.page(call, "/arrays", found, lambda item: item[0][relative:])
    infos = [_info(call, ArrayInfo, path, array, {"path": path}) for path, array in items]
    return Reply(Arrays(items=infos, links=paging.links(call, "/arrays", following)), next_page=following)


def _walk(folder: Folder, behind: list[str]) -> Iterator[tuple[str, ZBigArray]]:
    """Arrays below a folder, by their paths part by part, from behind a path on."""
    for name in folder.names(start=behind[0] if behind else ""):
        same = bool(behind) and name == behind[0]
        value = folder[name]
        if isinstance(value, Folder):
            yield from ((f"{name}/{path}", array) for path, array in _walk(value, behind[1:] if same else []))
        elif isinstance(value, ZBigArray) and not (same and len(behind) == 1):
            yield name, value


def get_array(call: Call) -> Reply:
    """One array, without its numbers."""
    array = found_array(call)
    version = call.check(version_of_array(array))
    return Reply(_info(call, ArrayInfo, _name(call), array, dict(call.path)), version=version)


def get_data(call: Call) -> Reply:
    """A slice of an array, in the format that was asked for."""
    array = found_array(call)
    version = call.check(version_of_array(array))
    text = call.media in (slices.JSON, slices.CSV)
    part = slices.selected(array, call.query.slice, call.query.field, call.limits.text if text else call.limits.binary)
    headers = {}
    if call.media != slices.JSON:
        name = _name(call).rpartition("/")[2].encode("ascii", "replace").decode().replace('"', "_").replace("?", "_")
        headers["Content-Disposition"] = f'attachment; filename="{name}.{_ENDINGS[call.media]}"'
    return Reply(slices.WRITERS[call.media](part), version=version, headers=headers)


_ENDINGS = {slices.NPY: "npy", slices.ARROW: "arrows", slices.CSV: "csv"}


def append_rows(call: Call) -> Later:
    """Rows at the end of an array; those of others at the same time come before or behind, never between."""
    array = found_array(call)
    call.check(version_of_array(array))
    npy = call.content_type == slices.NPY
    found = rows.from_npy(call.body) if npy else rows.from_json(call.body, array.dtype)
    before = len(array) if array.shape else 0
    try:
        array.append(rows.fitting(array, found))
    except ValueError as error:
        raise ProblemError("invalid", str(error)) from None
    added = len(array) - before

    def later(after: Call) -> Reply:
        grown = found_array(after)
        info = _info(after, Appended, _name(after), grown, dict(after.path), appended=added)
        return Reply(info, version=version_of_array(grown))

    return later


def found_array(call: Call) -> ZBigArray:
    """The array that the path of a request names. Raises 404."""
    found: Any
    if "entity" in call.path:
        entity = found_entity(call, call.path["entity"])
        found = entity.carried(call.path["name"]) if call.path["name"] in entity.carries else None
    else:
        try:
            found = call.connection.root().get(call.path["path"])
        except (KeyError, ValueError):
            found = None
    if not isinstance(found, ZBigArray):
        raise ProblemError(
            "not-found", f"there is no array {_name(call)!r}: {call.links.path('/arrays')} lists those at paths"
        )
    return found


def _name(call: Call) -> str:
    return call.path["path"] if "path" in call.path else f"{call.path['entity']}/{call.path['name']}"


def version_of_array(array: ZBigArray) -> bytes:
    """The transaction that changed it last."""
    return version_of(array, array.extents)


def _info(call: Call, kind: Any, path: str, array: ZBigArray, names: dict[str, str], **more: Any) -> Any:
    version = version_of_array(array)
    return kind(
        path=path,
        shape=list(array.shape),
        dtype=slices.described(array.dtype),
        order=array.order,
        axis=(0 if array.order == "C" else array.ndim - 1) if array.shape else None,
        nbytes=array.nbytes,
        block=array.blksize,
        changed=None if version == z64 else datetime.fromtimestamp(TimeStamp(version).timeTime(), UTC),
        links=array_links(call, names),
        **more,
    )


def array_links(call: Call, names: dict[str, str]) -> dict[str, Link]:
    """What one can do with an array at a path, or with one that an entity carries."""
    if "entity" in names:
        found = call.links.all(
            "getEntityArray", "getEntityArrayData", "appendEntityRows", "listEntityArrayVersions", **names
        )
        up = call.links.all("getEntity", entity=names["entity"])
        return {"self": found.pop("array"), **found, "up": up["entity"]}
    found = call.links.all("getArray", "getArrayData", "appendRows", "listVersions", **names)
    return {"self": found.pop("array"), **found, "up": call.links.all("listArrays")["arrays"]}
