"""`File`: an attached file. Large ones are arrays of bytes, which every storage keeps."""

from __future__ import annotations

import hashlib
import mimetypes
from typing import Any

from persistent import Persistent

#: Bytes that lie in the file's own record.
INLINE = 64 << 10


class File(Persistent):
    """Bytes with a name and a media type. Immutable."""

    def __init__(self, name: str, data: bytes, media_type: str = "") -> None:
        self.name = name
        self.media_type = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.content: Any = bytes(data) if len(data) <= INLINE else _array(data)

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.content if isinstance(self.content, bytes) else self.content[:].tobytes()

    def to_json(self) -> dict[str, Any]:
        """What it is, without its bytes."""
        return {"name": self.name, "media_type": self.media_type, "size": self.size, "sha256": self.sha256}

    def __repr__(self) -> str:
        return f"<File {self.name!r} {self.media_type} {self.size:,} bytes>"


def _array(data: bytes) -> Any:
    import numpy as np

    from wendelin.storage.arrays.array import ZBigArray

    array = ZBigArray((len(data),), "u1")
    array[:] = np.frombuffer(data, "u1")
    return array


File.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
