"""The client's cache of database records, that never fails a transaction.

In ten minutes of kills a ZEO cache once evicted a record that its index did not have, and raised KeyError out of a
commit that the server had acknowledged. What a cache lost can be asked for again: it is emptied, and work goes on.
"""

from __future__ import annotations

import logging
from typing import Any

from ZEO.cache import ClientCache

log = logging.getLogger(__name__)


class ObjectCache(ClientCache):
    """As ZEO's cache, in a file without a name, of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(None, size)

    def store(self, *record: Any) -> None:
        """Keep a record, if it can be kept."""
        try:
            super().store(*record)
        except (AssertionError, KeyError, ValueError):
            log.warning("the cache of records is inconsistent; it begins anew", exc_info=True)
            self.clear()

    def invalidate(self, *what: Any) -> None:
        """Forget a record's current state."""
        try:
            super().invalidate(*what)
        except (AssertionError, KeyError, ValueError):
            log.warning("the cache of records is inconsistent; it begins anew", exc_info=True)
            self.clear()
