"""The contract between arrays and a ZODB storage, to run on a storage of yours: docs/how-to/test-a-storage.md."""

from __future__ import annotations

from wendelin.storage.testing import Opener, StorageContract, open_url, small_limits

__all__ = ["Opener", "StorageContract", "open_url", "small_limits"]
