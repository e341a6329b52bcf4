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
    from wendelin.storage.activities.queue import ActivityQueue, Lease
    from wendelin.storage.activities.run import activity_key
    from wendelin.storage.arrays.array import ZBigArray
    from wendelin.storage.arrays.extents import ExtentChunk, ExtentIndex, Extents
    from wendelin.storage.arrays.pages import Chunks, Pages, Parts
    from wendelin.storage.arrays.reference import ArrayRef
    from wendelin.storage.database.connect import connect
    from wendelin.storage.errors import WendelinError
    from wendelin.storage.folder import Folder

_HOMES = {
    "connect": "wendelin.storage.database.connect",
    "ZBigArray": "wendelin.storage.arrays.array",
    "Extents": "wendelin.storage.arrays.extents",
    "ExtentIndex": "wendelin.storage.arrays.extents",
    "ExtentChunk": "wendelin.storage.arrays.extents",
    "Pages": "wendelin.storage.arrays.pages",
    "Chunks": "wendelin.storage.arrays.pages",
    "Parts": "wendelin.storage.arrays.pages",
    "ArrayRef": "wendelin.storage.arrays.reference",
    "activate": "wendelin.storage.activities.create",
    "operation": "wendelin.storage.activities.create",
    "activity_key": "wendelin.storage.activities.run",
    "ActiveProcess": "wendelin.storage.activities.process",
    "ActiveResult": "wendelin.storage.activities.process",
    "ActivityQueue": "wendelin.storage.activities.queue",
    "Lease": "wendelin.storage.activities.queue",
    "LogPage": "wendelin.storage.activities.merging",
    "MergingLog": "wendelin.storage.activities.merging",
    "Message": "wendelin.storage.activities.message",
    "Folder": "wendelin.storage.folder",
    "WendelinError": "wendelin.storage.errors",
    "load_ipython_extension": "wendelin.kernel.extension",
    "unload_ipython_extension": "wendelin.kernel.extension",
}

__all__ = [
    "ActiveProcess",
    "ArrayRef",
    "Folder",
    "WendelinError",
    "ZBigArray",
    "activate",
    "activity_key",
    "connect",
    "load_ipython_extension",
    "operation",
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
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
