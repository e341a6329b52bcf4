"""Until the catalogue is there: the same calls on one dict. To be removed with it."""

from __future__ import annotations

from typing import Any

from persistent import Persistent


class Catalogue(Persistent):
    """Rows by uid."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def index(self, uid: str, row: dict[str, Any]) -> None:
        """Remember a row."""
        self._rows = {**self._rows, uid: row}

    def unindex(self, uid: str) -> None:
        """Forget a row."""
        self._rows = {name: row for name, row in self._rows.items() if name != uid}

    def rows(self, relation: Any = None, text: str = "", limit: int = 10**9, **equal: Any) -> list[dict[str, Any]]:
        """Rows that fit."""
        return [
            row
            for row in self._rows.values()
            if all(row.get(name) == value for name, value in equal.items())
            and all(
                getattr(uid, "uid", uid) in row["relations"].get(name, ()) for name, uid in (relation or {}).items()
            )
            and text.lower() in row["words"].lower()
        ][:limit]

    search = rows

    def _p_resolveConflict(self, old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        from wendelin.storage.ubm.names import merged_entries

        return {"_rows": merged_entries(old["_rows"], committed["_rows"], new["_rows"])}
