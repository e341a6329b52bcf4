"""Which entities a transaction changed, so that the catalogue hears of each once, and before it is asked.

What waits is indexed before a search, and before the commit. A rollback to a savepoint may take back what was indexed
since, so then everything that the transaction changed waits again; for that the transaction knows us as a resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity


class _Touched:
    """A resource of the transaction that stores nothing."""

    def __init__(self) -> None:
        self.all: dict[str, Entity] = {}
        self.waiting: dict[str, Entity] = {}
        self.joined = False

    def add(self, running: Any, entity: Entity) -> None:
        if not self.joined:
            running.join(self)
            self.joined = True
        self.all[entity.uid] = self.waiting[entity.uid] = entity

    def savepoint(self) -> _Touched:
        return self

    def rollback(self) -> None:
        self.waiting = dict(self.all)

    def abort(self, transaction: Any) -> None:
        """All is taken back, also by a rollback to before the first change; the transaction forgets us then."""
        self.all, self.waiting, self.joined = {}, {}, False

    def sortKey(self) -> str:
        return f"entities {id(self)}"

    def tpc_begin(self, transaction: Any) -> None: ...
    def commit(self, transaction: Any) -> None: ...
    def tpc_vote(self, transaction: Any) -> None: ...
    def tpc_finish(self, transaction: Any) -> None: ...
    def tpc_abort(self, transaction: Any) -> None: ...


def touched(store: Entities, entity: Entity) -> None:
    """Note that an entity is new or was changed."""
    if store._p_jar is None:  # in no database yet: there is no transaction whose end could be waited for
        _index(store, {entity.uid: entity})
        return
    running = store._p_jar.transaction_manager.get()
    found = _of(running, store)
    if found is None:
        found = _Touched()
        running.set_data(store, found)
        running.addBeforeCommitHook(flush, (store,))
    found.add(running, entity)


def flush(store: Entities) -> None:
    """Let the catalogue know what this transaction changed so far."""
    if store._p_jar is None:
        return
    found = _of(store._p_jar.transaction_manager.get(), store)
    if found is not None:
        waiting, found.waiting = found.waiting, {}
        _index(store, waiting)


def _index(store: Entities, entities: dict[str, Entity]) -> None:
    for uid, entity in entities.items():
        if store.get(uid) is entity:  # not deleted meanwhile, nor taken back by a rollback
            store.catalogue.index(uid, entity.catalogue_row())


def _of(running: Any, store: Entities) -> _Touched | None:
    try:
        found: _Touched = running.data(store)
    except KeyError:
        return None
    return found
