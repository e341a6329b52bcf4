"""The contract between arrays and a ZODB storage, as a test-suite that anybody runs on a storage of theirs.

Public as `wendelin.testing`; docs/how-to/test-a-storage.md shows how.
"""

from __future__ import annotations

from wendelin.storage.testing.base import Opener, open_url, small_limits
from wendelin.storage.testing.contents import Contents
from wendelin.storage.testing.history import History
from wendelin.storage.testing.sharing import Sharing
from wendelin.storage.testing.times import Times


class StorageContract(Contents, Sharing, History, Times):
    """What `wendelin.ZBigArray` needs of a storage, and what it promises on it.

    Subclass it in a test module; pytest collects the tests, and so does unittest when the subclass is a
    `unittest.TestCase` too. Override `make_url`, or `make_opener` for a storage that has no URL. Say with
    `several_processes`, `blobs` and `keeps_history` what the storage can do. Servers that `make_url` starts are
    entered with `self.enter_context(...)`; they end after the databases are closed.
    """


__all__ = ["Opener", "StorageContract", "open_url", "small_limits"]
