"""Recent rows move into the trees after a commit, in transactions of their own.

So the trees are written by folds alone, and creators never conflict: neither with each other, whose recent rows merge,
nor with a fold, whose taking away merges with what they add. Folds tell each other by a lease in the catalogue's
record; one that meets another all the same gives up, and the rows wait for the next one.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import transaction
from ZODB.POSException import ConflictError, POSKeyError

if TYPE_CHECKING:
    from wendelin.storage.ubm.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Rows of one transaction of a fold.
PIECE_ROWS = 10_000

#: Seconds for which a fold that does not end keeps others from folding: after a crash.
LEASE = 60.0

_KEY = "catalogue"


def after_commit(catalogue: Catalogue) -> None:
    """Fold after this transaction, if it is committed. Called at each change while many rows are recent."""
    jar = catalogue._p_jar
    running = jar.transaction_manager.get()
    with contextlib.suppress(KeyError):
        running.data((_KEY, catalogue._p_oid))
        return
    running.set_data((_KEY, catalogue._p_oid), True)
    running.addAfterCommitHook(_folded, (jar.db(), catalogue._p_oid))


def _folded(committed: bool, db: Any, oid: bytes) -> None:
    if not committed:
        return
    try:
        fold(db, oid)
    except (ConflictError, POSKeyError):  # another one folds, or made the catalogue anew
        log.debug("recent rows of the catalogue wait for the next fold")
    except Exception:  # the user's transaction is committed: nothing that happens here is its failure
        log.warning("the catalogue keeps its recent rows for now: searches get slower", exc_info=True)


def fold(db: Any, oid: bytes, *, all_rows: bool = False) -> int:
    """Move recent rows into the trees, unless there are few or another process does; how many. Commits by itself."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        return _fold(manager, connection, oid, all_rows)
    finally:
        manager.abort()
        connection.close()


def _fold(manager: Any, connection: Any, oid: bytes, all_rows: bool) -> int:
    manager.begin()
    catalogue = connection.get(oid)
    if not catalogue.is_full(all_rows) or catalogue.lease > time.time():
        return 0
    catalogue.lease = time.time() + LEASE
    manager.commit()
    count = 0
    while True:
        manager.begin()
        count += int(catalogue.fold_here(PIECE_ROWS))
        more = catalogue.is_full(all_rows)
        catalogue.lease = time.time() + LEASE if more else 0.0
        manager.commit()
        if not more:
            return count
