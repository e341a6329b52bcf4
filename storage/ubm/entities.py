"""`Entities`: all entities of a database, at `root()["entities"]`. Nothing here commits by itself."""

from __future__ import annotations

import logging
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from persistent import Persistent
from ZODB.broken import Broken

from wendelin.storage.activities.active import Active
from wendelin.storage.errors import FieldError, MissingPackageError, NoEntityError
from wendelin.storage.ubm import deleting, touching
from wendelin.storage.ubm.catalogue.catalogue import Catalogue
from wendelin.storage.ubm.catalogue.trees import fetch
from wendelin.storage.ubm.names import NameTable
from wendelin.storage.ubm.registry import type_named
from wendelin.storage.ubm.show import counts_as_html, found_as_html

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

log = logging.getLogger(__name__)

#: The name in the database's root folder.
NAME = "entities"

#: Entities that are asked for together where all are wanted.
FETCHED = 500

#: Letters of references that are made: none that is read as another one.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_REFERENCE = re.compile(r"[^\s/\\?#%\"'<>&]{1,100}\Z")
_UID = re.compile(r"[0-9a-f]{32}\Z")


def entities(connection: Any) -> Entities:
    """The entities of a connection's database; made in the running transaction where there are none.

    Two that make them at the same time conflict: retry. Raises `NoEntityError` when there are none and the connection
    may not write.
    """
    found = connection.root().get(NAME)
    if found is None:
        if connection.isReadOnly():
            raise NoEntityError("this database has no entities yet, and is open for reading only: open it for writing")
        found = Entities()
        connection.add(found)
        connection.root()[NAME] = found
    if not isinstance(found, Entities):
        raise FieldError(
            f"root()['{NAME}'] is {type(found).__name__}, give it another name, then call entities() again"
        )
    return found


class Found(list["Entity"]):
    """Entities in order, how many fit in all, and what to give as `after` to find the next ones (None: no more)."""

    total = 0
    next: str | None = None

    def _repr_html_(self) -> str:
        return found_as_html(self, self.total)


class Entities(Active, Persistent):
    """Create, find, search and delete entities.

    *Concurrency*: any number of processes create entities, annotate them and let them point to each other without
    conflicts; the same reference given twice, an entity changed twice, or deleted while another one begins to point to
    it, raises `ZODB.POSException.ConflictError`: retry.
    """

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self._uids = NameTable()
        self._made = NameTable()  # references that were made, which cannot be the same by chance
        self._given = NameTable(strict=True)

    # -- making

    def create(self, /, type: str, reference: str | None = None, **values: Any) -> Entity:  # noqa: A002 (the user's word)
        """A new entity of that type, with fields, relations and arrays; in the type's first state.

        Raises `NoEntityError` for an unknown type, `FieldError` for a value that does not fit or a reference that is
        taken; then nothing was made.
        """
        cls = type_named(type)
        name = self._new_reference(cls.prefix) if reference is None else self._free(reference)
        entity = cls(self, name)
        entity._v_new = True
        entity.set(**values)
        del entity._v_new
        if self._p_jar is not None:
            self._p_jar.add(entity)  # so that activities can name it before the commit
        (self._made if reference is None else self._given).add(name, entity)
        self._uids.add(entity.uid, entity)
        self.touched(entity)
        return entity

    def _new_reference(self, prefix: str) -> str:
        while True:
            name = f"{prefix}-{''.join(secrets.choice(_LETTERS) for _ in range(6))}"
            if name not in self._made and name not in self._given:
                return name

    def _free(self, reference: str) -> str:
        text = str(reference)  # files may give numbers
        fits = _REFERENCE.match(text) and text.isprintable() and any(each.isalnum() for each in text)
        if text != reference or not fits or _UID.match(text):
            raise FieldError(f"reference = {reference!r}: give letters and digits, 100 at most, as 'PLANT-4'")
        if self.get(text) is not None:
            raise FieldError(f"reference = {reference!r}: {self.get(text)!r} has it; give another one, or none")
        return _composed(text)

    # -- finding

    def get(self, name: Any, default: Any = None) -> Any:
        """The entity of that uid or reference, else `default`.

        Raises `MissingPackageError` when its class comes from a package that is not installed.
        """
        if not isinstance(name, str):
            return default
        name = _composed(name)
        for table in (self._uids,) if _UID.match(name) else (self._given, self._made):
            found = table.get(name)
            if isinstance(found, Broken):
                raise MissingPackageError(_missing(found, name))
            if found is not None:
                return found
        return default

    def __getitem__(self, name: str) -> Entity:
        """The entity of that reference or uid; NoEntityError when there is none."""
        found: Entity | None = self.get(name)
        if found is None:
            raise NoEntityError(f"no entity is named {name!r}; look for it with search(text='…') or search(type='…')")
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[Entity]:
        """All entities, in no order, but those whose package is missing. Loads some hundred at a time."""
        everything = self._uids.values()
        while some := list(islice(everything, FETCHED)):
            fetch(self, some)
            for found in some:
                if isinstance(found, Broken):
                    log.warning("left out: %s", _missing(found, getattr(found, "_uid", "?")))
                else:
                    yield found

    def _loaded(self, uids: Iterable[str]) -> Iterator[Entity]:
        for uid in uids:
            try:
                yield self[uid]
            except MissingPackageError as error:
                log.warning("left out: %s", error)

    def __len__(self) -> int:
        """How many there are; counts them."""
        return len(self._uids)

    def search(self, **query: Any) -> Found:
        """Entities by type, role, state, reference, relation, time and text; a list with `total` and `next`.

        Query and order are those of `Catalogue.search`; relations may name entities and references too. 50 at most,
        unless `limit` says otherwise. Raises `QueryError` for what cannot be asked.
        """
        touching.flush(self)
        page = self.catalogue.search(**self._plain(query))
        found = Found(self._loaded(row["uid"] for row in page))
        found.total, found.next = page.total, page.next
        return found

    def rows(self, **query: Any) -> Iterator[dict[str, Any]]:
        """All rows of the catalogue that fit, without loading entities."""
        touching.flush(self)
        return iter(self.catalogue.rows(**self._plain(query)))

    def _plain(self, query: dict[str, Any]) -> dict[str, Any]:
        """A query whose relations may name entities or references."""
        if "relation" not in query:
            return query
        relation = query["relation"] or {}
        return {**query, "relation": {name: self._uids_of(target) for name, target in relation.items()}}

    def _uids_of(self, targets: Any) -> list[str]:
        several = targets if isinstance(targets, (list, tuple, set, frozenset)) else (targets,)
        names = (each if isinstance(each, str) else each.uid for each in several)
        return [name if _UID.match(name) else self[name].uid for name in names]

    # -- deleting

    def delete(self, entity: Entity | str) -> list[Entity]:
        """Delete an entity, with those that cascade; what was deleted.

        Raises `RelatedError`, and does nothing, when others point to it whose rule is to refuse. An array that it
        carries stays where else it is.
        """
        touching.flush(self)
        found = self[entity] if isinstance(entity, str) else entity
        if found.is_deleted:
            raise NoEntityError(f"{found.type} {found.reference} was deleted already")
        return deleting.delete(self, found)

    def forget(self, entity: Entity) -> None:
        """Take an entity out of the tables. For `deleting`."""
        self._uids.remove(entity.uid)
        (self._made if entity.reference in self._made else self._given).remove(entity.reference)
        self.catalogue.unindex(entity.uid)

    # -- the catalogue

    def touched(self, entity: Entity) -> None:
        """An entity is new or was changed: the catalogue hears of it before the next search or the commit."""
        touching.touched(self, entity)

    def changing(self, entity: Entity) -> None:
        """An entity is about to be changed: its trail hears of what differs at the commit."""
        touching.changing(self, entity)

    def reindex(self, tick: Callable[[], object] = lambda: None) -> int:
        """Make the catalogue anew from all entities; how many. `tick` is called for each.

        Others may change entities meanwhile; should they make so many changes that recent rows move into the trees,
        it conflicts. To keep that from happening, call `catalogue.hold()` and commit before.
        """
        return self.catalogue.rebuild((entity.catalogue_row() for entity in self), tick)

    # -- how it shows

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name, _ in zip(self._given, range(1000), strict=False)]

    def _repr_html_(self) -> str:
        touching.flush(self)
        return counts_as_html(self.catalogue.counts("type"))

    def __repr__(self) -> str:
        return "<Entities: create(type, …), search(…), or by reference ['…']>"


def _missing(broken: Any, name: str) -> str:
    cls = type(broken)
    return f"the entity {name!r} is a {cls.__module__}.{cls.__name__}: install the package that has this class"


def _composed(name: str) -> str:
    """Accents as one letter each: what looks the same is the same."""
    return unicodedata.normalize("NFC", name)


Entities.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
