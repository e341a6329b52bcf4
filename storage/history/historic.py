"""What an array can tell of its own past: a base class of `ZBigArray`, light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.history.changes import Diff
    from wendelin.storage.history.versions import Versions


class Historic:
    """`history` and `diff` of a persistent array."""

    def history(self, limit: int = 20) -> Versions:
        """The last `limit` transactions that changed the array, newest first; a cell shows a table.

        Each has `tid`, `time` (UTC), `user`, `note`, `shape`, `rows` and `changed`, the bytes that it stored. As the
        connection sees it, and as far as packing left it. Reads no array data. `NotStoredError` if it is in none.
        """
        from wendelin.storage.history.versions import versions

        return versions(self, limit)  # type: ignore[arg-type]  # it is the array that this is a base class of

    def diff(self, t0: Any, t1: Any = None, *, exact: bool = True) -> Diff:
        """Which rows differ between the states at `t0` and at `t1`: a sequence of intervals along the major axis.

        Both as `at=` of `wendelin.connect`: a time, a transaction, an item of `history()`, a tag; without `t1`, what
        the connection sees as committed. Only what was written between is read and compared, byte by byte; with
        `exact=False` nothing is, and rows may be named that were stored anew with the same bytes.
        """
        from wendelin.storage.history.changes import diff

        return diff(self, t0, t1, exact=exact)  # type: ignore[arg-type]  # as above
