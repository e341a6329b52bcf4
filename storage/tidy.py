"""Defragment a database: what many small changes have scattered lies together again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import transaction

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.compaction import defragment, fragments
from wendelin.storage.database.connect import connect


@dataclass(frozen=True)
class Tidied:
    """One array: in how many runs its bytes lay before and lie after, and how many bytes were moved."""

    name: str
    before: int
    after: int
    moved: int


def tidy(
    url: str | None,
    names: tuple[str, ...] = (),
    *,
    pack: bool = False,
    progress: Callable[[str, int, int], object] = lambda name, nbytes, total: None,
) -> list[Tidied]:
    """Defragment the arrays at `names` (all when none is given) of the database `url`; then, if asked, pack it.

    Others go on working: a writer's changes always win over a move. What was moved stays as history until the
    database is packed, which `pack` does: earlier states can then no longer be read. `progress` is called with the
    array's name, the bytes that were looked at since the last call, and the bytes it has. Stopped in the middle,
    nothing is lost: the rest is done by the next call. KeyError names what is not there.
    """
    connection = connect(url, transaction_manager=transaction.TransactionManager())
    try:
        root = connection.root()
        chosen = [(name, root[name]) for name in names] if names else list(root.walk())
        done = [_one(name, array, progress) for name, array in chosen if isinstance(array, ZBigArray)]
        if pack:
            connection.db().pack()
    finally:
        connection.transaction_manager.abort()
        connection.close()
    return done


def _one(name: str, array: ZBigArray, progress: Callable[[str, int, int], object]) -> Tidied:
    before = fragments(array)
    progress(name, 0, array.nbytes)
    moved = defragment(array, lambda nbytes: progress(name, nbytes, array.nbytes))
    return Tidied(name, before, fragments(array), moved)
