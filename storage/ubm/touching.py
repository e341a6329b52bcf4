"""Which entities a transaction changed, so that the catalogue hears of each once, and before it is asked.

Before a commit all that were touched are indexed; before a search, those that were since the last one. What a rollback
took back is indexed again as it is then, hence nothing is forgotten before the transaction ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity


class _Touched:
    def __init__(self) -> None:
        self.all: dict[str, Entity] = {}
        self.waiting: dict[str, Entity] = {}


def touched(store: Entities, entity: Entity) -> None:
    """Note that an entity is new or was changed."""
    if store._p_jar is None:  # in no database yet: there is no transaction whose end could be waited for
        if store.get(entity.uid) is entity:
            store.catalogue.index(entity.uid, entity.catalogue_row())
        return
    running = store._p_jar.transaction_manager.get()
    found = _of(running, store)
    if found is None:
        found = _Touched()
        running.set_data(store, found)
        running.addBeforeCommitHook(_before_commit, (store, found))
    found.all[entity.uid] = found.waiting[entity.uid] = entity


def flush(store: Entities) -> None:
    """Let the catalogue know what this transaction changed so far."""
    if store._p_jar is None:
        return
    found = _of(store._p_jar.transaction_manager.get(), store)
    if found is not None:
        waiting, found.waiting = found.waiting, {}
        _index(store, waiting)


def _before_commit(store: Entities, found: _Touched) -> None:
    _index(store, found.all)


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
