"""The name `ubm` of notebooks: the entities of the open database, looked up, and made, when they are used.

Looking makes nothing: a database without entities gets them by the first call that stores one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection
    from wendelin.storage.ubm.entities import Entities


def names_of(connection: Connection) -> dict[str, Any]:
    """The names that a connection has in a notebook."""
    return {"db": connection, "root": connection.root(), "ubm": LazyEntities(connection)}


class LazyEntities:
    """The entities of a database: create(type, …), search(…), or one by its reference, ubm["PLANT-4"].

    Everything is that of `wendelin.entities(db)`, which this becomes wherever it is stored or sent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _found(self) -> Entities | None:
        from wendelin.storage.ubm.entities import Entities

        found = self._connection.root().get("entities")
        return found if isinstance(found, Entities) else None

    def _made(self) -> Entities:
        from wendelin.storage.ubm.entities import entities

        return entities(self._connection)

    def _read(self) -> Any:
        """What there is; where there is nothing, empty ones that belong to no database."""
        from wendelin.storage.ubm.entities import Entities

        return self._found() or Entities()

    @property
    def _p_jar(self) -> Connection:
        return self._connection

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what displays and copies look for
            raise AttributeError(name)
        found = self._found()
        value = getattr(self._read(), name)
        if found is not None or name in _LOOKING or not callable(value):
            return value

        @functools.wraps(value)
        def first(*args: Any, **values: Any) -> Any:
            return getattr(self._made(), name)(*args, **values)

        return first

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __bool__(self) -> bool:
        return True

    def __dir__(self) -> list[str]:
        from wendelin.storage.ubm.entities import Entities

        return dir(Entities)

    def _ipython_key_completions_(self) -> list[str]:
        found = self._found()
        return [] if found is None else found._ipython_key_completions_()

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._made(),)

    def __repr__(self) -> str:
        return (
            "<Entities: none yet, ubm.create('plant', title='…') makes one>"
            if self._found() is None
            else repr(self._found())
        )


#: What only looks.
_LOOKING = ("get", "search", "rows", "counts")


def _itself(value: Any) -> Any:
    return value
