"""Wendelin: an industrial monitoring workbench.

This package is a door, not a room: it holds relative links to the floors (`storage`, `kernel`, `widgets`,
`extensions`, `hub_config`, and the applications in `notebooks`) and gives the public names.

Names load on first use (PEP 562), because a ZEO server imports `wendelin.…` to resolve conflicts and needs
neither NumPy nor Jupyter. Persistent classes carry these names in the database (`wendelin.ZBigArray`), so the
modules behind them can move without breaking stored data.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wendelin.kernel.extension import load_ipython_extension, unload_ipython_extension
    from wendelin.storage.activities.create import activate, operation
    from wendelin.storage.activities.merging import LogPage, MergingLog
    from wendelin.storage.activities.message import Message
    from wendelin.storage.activities.process import ActiveProcess, ActiveResult
    from wendelin.storage.activities.progress import progress
    from wendelin.storage.activities.queue import ActivityQueue, Lease
    from wendelin.storage.activities.run import activity_key
    from wendelin.storage.arrays.array import ZBigArray
    from wendelin.storage.arrays.extents import Extents
    from wendelin.storage.arrays.index import ExtentChunk, ExtentIndex
    from wendelin.storage.arrays.older import ExtentPatches
    from wendelin.storage.arrays.pages import Chunks, Pages, Parts
    from wendelin.storage.arrays.reference import ArrayRef
    from wendelin.storage.database.connect import connect
    from wendelin.storage.errors import WendelinError
    from wendelin.storage.folder import Folder
    from wendelin.storage.history.tags import Tag, Tags
    from wendelin.storage.history.transactions import history, undo
    from wendelin.storage.streams.stream import ByteStream
    from wendelin.storage.ubm.catalogue.catalogue import Catalogue
    from wendelin.storage.ubm.catalogue.recent import CatalogueRecent
    from wendelin.storage.ubm.catalogue.trees import CataloguePiece, CatalogueTrees
    from wendelin.storage.ubm.entities import Entities, entities
    from wendelin.storage.ubm.entity import Entity
    from wendelin.storage.ubm.events import Document, Event, Ticket
    from wendelin.storage.ubm.files import File
    from wendelin.storage.ubm.items import (
        Asset,
        DataArray,
        DataItem,
        DataLicence,
        DataSet,
        DataStream,
        Device,
        DeviceConfiguration,
        Item,
        Plant,
        Sensor,
        Turbine,
        Vehicle,
    )
    from wendelin.storage.ubm.movements import DataAnalysis, DataIngestion, DataOrder, MaintenanceOrder, Movement
    from wendelin.storage.ubm.names import NameTable
    from wendelin.storage.ubm.nodes import Node, Organisation, Person, Project
    from wendelin.storage.ubm.paths import Assignment, DataTransformation, Path, Supply, Tariff
    from wendelin.storage.ubm.quantity import Money, Quantity
    from wendelin.storage.ubm.resources import Component, DataOperation, DataProduct, Resource, Service
    from wendelin.storage.ubm.simulation import MORE_TO_DO
    from wendelin.storage.ubm.trail import Trail, TrailPage

_HOMES = {
    "connect": "wendelin.storage.database.connect",
    "ZBigArray": "wendelin.storage.arrays.array",
    "Extents": "wendelin.storage.arrays.extents",
    "ExtentIndex": "wendelin.storage.arrays.index",
    "ExtentChunk": "wendelin.storage.arrays.index",
    "ExtentPatches": "wendelin.storage.arrays.older",
    "Pages": "wendelin.storage.arrays.pages",
    "Chunks": "wendelin.storage.arrays.pages",
    "Parts": "wendelin.storage.arrays.pages",
    "ArrayRef": "wendelin.storage.arrays.reference",
    "activate": "wendelin.storage.activities.create",
    "operation": "wendelin.storage.activities.create",
    "activity_key": "wendelin.storage.activities.run",
    "progress": "wendelin.storage.activities.progress",
    "ActiveProcess": "wendelin.storage.activities.process",
    "ActiveResult": "wendelin.storage.activities.process",
    "ActivityQueue": "wendelin.storage.activities.queue",
    "Lease": "wendelin.storage.activities.queue",
    "LogPage": "wendelin.storage.activities.merging",
    "MergingLog": "wendelin.storage.activities.merging",
    "Message": "wendelin.storage.activities.message",
    "Folder": "wendelin.storage.folder",
    "ByteStream": "wendelin.storage.streams.stream",
    "Tag": "wendelin.storage.history.tags",
    "Tags": "wendelin.storage.history.tags",
    "history": "wendelin.storage.history.transactions",
    "undo": "wendelin.storage.history.transactions",
    "Catalogue": "wendelin.storage.ubm.catalogue.catalogue",
    "CataloguePiece": "wendelin.storage.ubm.catalogue.trees",
    "CatalogueRecent": "wendelin.storage.ubm.catalogue.recent",
    "CatalogueTrees": "wendelin.storage.ubm.catalogue.trees",
    "Entities": "wendelin.storage.ubm.entities",
    "entities": "wendelin.storage.ubm.entities",
    "Entity": "wendelin.storage.ubm.entity",
    "Node": "wendelin.storage.ubm.nodes",
    "Organisation": "wendelin.storage.ubm.nodes",
    "Person": "wendelin.storage.ubm.nodes",
    "Project": "wendelin.storage.ubm.nodes",
    "Resource": "wendelin.storage.ubm.resources",
    "DataProduct": "wendelin.storage.ubm.resources",
    "DataOperation": "wendelin.storage.ubm.resources",
    "Service": "wendelin.storage.ubm.resources",
    "Component": "wendelin.storage.ubm.resources",
    "Item": "wendelin.storage.ubm.items",
    "Asset": "wendelin.storage.ubm.items",
    "Turbine": "wendelin.storage.ubm.items",
    "Vehicle": "wendelin.storage.ubm.items",
    "Plant": "wendelin.storage.ubm.items",
    "Device": "wendelin.storage.ubm.items",
    "Sensor": "wendelin.storage.ubm.items",
    "DataItem": "wendelin.storage.ubm.items",
    "DataStream": "wendelin.storage.ubm.items",
    "DataArray": "wendelin.storage.ubm.items",
    "DataSet": "wendelin.storage.ubm.items",
    "DataLicence": "wendelin.storage.ubm.items",
    "DeviceConfiguration": "wendelin.storage.ubm.items",
    "Path": "wendelin.storage.ubm.paths",
    "Supply": "wendelin.storage.ubm.paths",
    "DataTransformation": "wendelin.storage.ubm.paths",
    "Assignment": "wendelin.storage.ubm.paths",
    "MORE_TO_DO": "wendelin.storage.ubm.simulation",
    "Tariff": "wendelin.storage.ubm.paths",
    "Movement": "wendelin.storage.ubm.movements",
    "DataIngestion": "wendelin.storage.ubm.movements",
    "DataAnalysis": "wendelin.storage.ubm.movements",
    "DataOrder": "wendelin.storage.ubm.movements",
    "MaintenanceOrder": "wendelin.storage.ubm.movements",
    "Event": "wendelin.storage.ubm.events",
    "Ticket": "wendelin.storage.ubm.events",
    "Document": "wendelin.storage.ubm.events",
    "File": "wendelin.storage.ubm.files",
    "NameTable": "wendelin.storage.ubm.names",
    "Money": "wendelin.storage.ubm.quantity",
    "Quantity": "wendelin.storage.ubm.quantity",
    "Trail": "wendelin.storage.ubm.trail",
    "TrailPage": "wendelin.storage.ubm.trail",
    "WendelinError": "wendelin.storage.errors",
    "load_ipython_extension": "wendelin.kernel.extension",
    "unload_ipython_extension": "wendelin.kernel.extension",
}

__all__ = [
    "MORE_TO_DO",
    "ActiveProcess",
    "ArrayRef",
    "ByteStream",
    "Entity",
    "Folder",
    "Money",
    "Quantity",
    "WendelinError",
    "ZBigArray",
    "activate",
    "activity_key",
    "connect",
    "entities",
    "history",
    "load_ipython_extension",
    "operation",
    "progress",
    "undo",
    "unload_ipython_extension",
]


def _joblib_backend(**options: Any) -> Any:
    return importlib.import_module("wendelin.kernel.parallel").make_backend(**options)


def _offer_joblib_backend() -> None:
    """Register the backend "wendelin" if joblib is there: it asks nobody for backends, and must not be imported."""
    joblib = sys.modules.get("joblib.parallel")
    if joblib is not None and hasattr(joblib, "register_parallel_backend"):
        joblib.BACKENDS.setdefault("wendelin", _joblib_backend)


class _WhenJoblibComes(importlib.abc.MetaPathFinder):
    """Offers the backend as soon as joblib is imported, whichever is imported first. It is there for that once."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "joblib.parallel":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                _offer_joblib_backend()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "joblib.parallel" in sys.modules:
    _offer_joblib_backend()
else:
    sys.meta_path.insert(0, _WhenJoblibComes())


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wendelin' has no attribute {name!r}; it offers {', '.join(__all__)}")
    try:
        value = getattr(importlib.import_module(home), name)
    except ImportError as error:
        if home.startswith("wendelin.storage.ubm"):
            # A ZEO server that merges records looks up the classes they refer to, and takes a missing one for unknown;
            # any other error than this one would make it refuse the merge.
            raise AttributeError(f"wendelin.{name} needs a package that is not installed: {error}") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
