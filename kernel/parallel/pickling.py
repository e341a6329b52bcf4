"""What travels to workers and back: persistent arrays by reference, large ones as files, the rest by value.

Functions and classes of a notebook go by value (cloudpickle).
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle
import numpy as np

from wendelin.kernel.parallel.files import Files, NodeFile
from wendelin.storage import pickling as references
from wendelin.storage.arrays.array import ZBigArray

loads = pickle.loads


class _Pickler(cloudpickle.Pickler):
    def __init__(self, stream: io.BytesIO, files: Files | None = None) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._files = files
        self.used: list[NodeFile] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray | ZBigArray):
            found = references.reduce(obj)
            if found is NotImplemented and self._files is not None:
                found = self._files.reduce(obj, self.used)
            if found is not NotImplemented:
                return found
            if isinstance(obj, np.memmap):  # what comes back is no file's
                return np.asarray(obj).__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(obj)


def dumps(value: Any, files: Files | None = None) -> tuple[bytes, list[NodeFile]]:
    """The pickle, and the files that have to live as long as it.

    Raises what pickling raises, and the errors of `wendelin.ArrayRef` for arrays whose changes are not committed.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, files)
    pickler.dump(value)
    return stream.getvalue(), pickler.used
