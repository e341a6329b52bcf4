"""Which entities a transaction changed, so that the catalogue hears of each once, and before it is asked.

At the commit their trails hear of it as well: of what differs between the begin and the end.

What waits is indexed before a search, and before the commit. A rollback to a savepoint may take back what was indexed
since, so then everything that the transaction changed waits again; for that the transaction knows us as a resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ZODB.utils import z64

if TYPE_CHECKING:
    from wendelin.storage.ubm.changes import Before
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity


class _Touched:
    """A resource of the transaction that stores nothing."""

    def __init__(self) -> None:
        self.all: dict[str, Entity] = {}
        self.waiting: dict[str, Entity] = {}
        self.before: dict[str, Before] = {}
        self.joined = False

    def join(self, running: Any) -> None:
        if not self.joined:
            running.join(self)
            self.joined = True

    def add(self, entity: Entity) -> None:
        self.all[entity.uid] = self.waiting[entity.uid] = entity

    def savepoint(self) -> _Touched:
        return self

    def rollback(self) -> None:
        self.waiting = dict(self.all)

    def abort(self, transaction: Any) -> None:
        """All is taken back, also by a rollback to before the first change; the transaction forgets us then."""
        self.all, self.waiting, self.before, self.joined = {}, {}, {}, False

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
    _joined(store).add(entity)


def changing(store: Entities, entity: Entity) -> None:
    """Note what an entity has, before it is changed. New ones have no past."""
    entity._p_activate()  # a ghost has no serial
    if store._p_jar is not None and entity._p_jar is not None and entity._p_serial != z64:
        _joined(store).before.setdefault(entity.uid, entity.contents)


def _joined(store: Entities) -> _Touched:
    running = store._p_jar.transaction_manager.get()
    found = _of(running, store)
    if found is None:
        found = _Touched()
        running.set_data(store, found)
        running.addBeforeCommitHook(_finish, (store,))
    found.join(running)
    return found


def _finish(store: Entities) -> None:
    """Before the commit."""
    found = _of(store._p_jar.transaction_manager.get(), store)
    for uid, before in {} if found is None else found.before.items():
        entity = store.get(uid)
        if entity is not None:
            entity.tell_changes(before)
    flush(store)


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
