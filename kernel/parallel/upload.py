"""Large arrays for workers that are elsewhere: scattered once to every worker process of a Dask cluster.

They lie in Dask's own memory there and are released with the call. A worker that came later says that it has not got
one, and is given it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from wendelin.storage.errors import UnavailableError

if TYPE_CHECKING:
    from wendelin.kernel.activity.engine import Engine
    from wendelin.kernel.parallel.files import NodeFile

#: Seconds that one array may take.
_PATIENCE = 600.0


class Uploads:
    """A Dask client of one call, which holds what it has scattered. Raises `UnavailableError` for other engines."""

    def __init__(self, engine: Engine) -> None:
        address = getattr(engine, "address", None)
        if address is None:
            raise UnavailableError(
                f"workers of {engine!r} run on another machine, and it has no way to bring large arrays there: store "
                "them in the database as ZBigArray, or give max_nbytes=None to send them by value"
            )
        from distributed import Client

        self._lock = threading.Lock()
        security = getattr(getattr(engine, "_link", None), "_security", None)
        self._client: Any = Client(address, security=security, set_as_default=False, name="wendelin-arrays")  # type: ignore[no-untyped-call]

    def key(self, file: NodeFile, array: npt.NDArray[Any]) -> str:
        """What workers find the array by; scatters it at the first time, and again when a scheduler has lost it."""
        with self._lock:
            if file.upload is None or file.upload.status != "finished":
                file.upload = self._client.scatter(array, broadcast=True, hash=False, timeout=_PATIENCE)
            return str(file.upload.key)

    def spread(self, files: list[NodeFile]) -> None:
        """Give what was scattered to workers that have come since."""
        with self._lock:
            known = [file.upload for file in files if file.upload is not None and file.upload.status == "finished"]
            if known:
                self._client.replicate(known)

    def close(self) -> None:
        self._client.close()


def fetch(key: str) -> npt.NDArray[Any]:
    """In a Dask worker: an array that was scattered, read-only. Raises `NotHereError` when it is not here."""
    from distributed import get_worker

    from wendelin.kernel.parallel.files import NotHereError

    found: Any = get_worker().data.get(key)
    if found is None:
        raise NotHereError
    view: npt.NDArray[Any] = found.view()
    view.flags.writeable = False
    return view
