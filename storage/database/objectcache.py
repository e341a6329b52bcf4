"""The client's cache of database records, that never fails a transaction.

In a long run of kills a ZEO cache evicted a record that its index did not have, and raised KeyError out of a
commit that the server had acknowledged. What a cache lost can be asked for again: it is emptied, and work goes on.
"""

from __future__ import annotations

import logging
import struct
from typing import Any

from ZEO.cache import ClientCache

log = logging.getLogger(__name__)


class ObjectCache(ClientCache):
    """As ZEO's cache, in a file without a name, of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(None, size)

    def store(self, *record: Any) -> None:
        """Keep a record, if it can be kept."""
        self._safely(super().store, *record)

    def invalidate(self, *what: Any) -> None:
        """Forget a record's current state."""
        self._safely(super().invalidate, *what)

    def load(self, *what: Any) -> Any:
        """A record as it is now; None when it must be asked for."""
        return self._safely(super().load, *what)

    def loadBefore(self, *what: Any) -> Any:
        """A record as it was; None when it must be asked for."""
        return self._safely(super().loadBefore, *what)

    def _safely(self, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except (AssertionError, KeyError, ValueError, struct.error):
            log.warning("the cache of records is inconsistent; it begins anew", exc_info=True)
            self.clear()
            return None
