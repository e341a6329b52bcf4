"""Forms: what the kind of a storage means for the segments that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ZODB.POSException import Unsupported

from wendelin.storage.arrays.filesystems import is_remote


@dataclass(frozen=True)
class Form:
    """How a storage keeps what is large: as blobs or in objects; over the wire or not; on this node's disks or not."""

    blobs: bool
    wire: bool
    near: bool


def form_of(storage: Any) -> Form:
    """The form of a storage's segments."""
    folder = blob_folder(storage)
    shared = bool(getattr(getattr(storage, "blobhelper", storage), "shared_blob_dir", True))
    near = shared and folder is not None and not is_remote(folder)
    return Form(blobs=folder is not None, wire=folder is not None and not shared, near=near)


def blob_folder(storage: Any) -> str | None:
    """Where uncommitted blobs of a storage lie, so that a commit renames them; None when it keeps no blobs."""
    try:
        return str(storage.temporaryDirectory())
    except (AttributeError, TypeError, Unsupported):
        return None
