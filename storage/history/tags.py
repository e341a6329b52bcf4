"""Tags: names for states that packing keeps.

A tag on the whole database is a name for the state that the tag's own transaction left: packing goes no further than
to the oldest of them. A tag on an array or a folder holds *frozen* copies of the objects' records, which share the
stored bytes with the originals: so it keeps exactly these, however much is packed, and takes some records of room.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from persistent import Persistent
from ZODB.utils import z64

from wendelin.storage.errors import TagError, UncommittedChangesError
from wendelin.storage.folder import Folder
from wendelin.storage.history.moments import is_name, time_of

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection

#: Where the tags of a database lie in its root.
NAME = "tags"

#: Names among which the path of a tagged object is looked for.
_SEARCHED = 100_000


class Tag(Persistent):
    """A name for a state. `path` is what was tagged, "" for the whole database; `content` the frozen objects.

    `copies`: the frozen array of each array that was tagged, by the oid of that.
    """

    def __init__(self, name: str, note: str, path: str = "", content: Folder | None = None, copies: Any = None) -> None:
        self.name = name
        self.note = note
        self.path = path
        self.content = content
        self.copies: dict[bytes, Persistent] = copies or {}

    @property
    def tid(self) -> bytes | None:
        """The transaction that stored the tag, whose state it names; None until it is committed."""
        self._p_activate()
        return None if self._p_serial == z64 else bytes(self._p_serial)

    @property
    def time(self) -> datetime | None:
        """When that was, in UTC."""
        return None if self.tid is None else time_of(self.tid)

    def __repr__(self) -> str:
        when = "not committed yet" if self.time is None else f"{self.time:%Y-%m-%d %H:%M:%S} UTC"
        what = f"{self.path!r}" if self.content is not None else "the whole database"
        return f"<tag {self.name!r} on {what}, {when}{f': {self.note}' if self.note else ''}>"


class Tags(Persistent):
    """The tags of a database, by name. Those that several transactions make under different names merge."""

    def __init__(self) -> None:
        self._by_name = Folder()

    def names(self) -> Iterator[str]:
        """All names, sorted."""
        return self._by_name.names()

    def get(self, name: str) -> Any:
        """The tag of a name, or None."""
        return self._by_name.get(name) if "/" not in name else None

    def all(self) -> list[Tag]:
        """All tags, by name."""
        return [self._by_name[name] for name in self.names()]

    def add(self, tag: Tag) -> None:
        """Add it; the name must be free."""
        self._by_name[tag.name] = tag

    def remove(self, name: str) -> None:
        """Remove one that is there."""
        del self._by_name[name]


for _class in (Tag, Tags):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py


def tags_of(connection: Connection) -> Tags | None:
    """The tags of a connection's database, None where nothing was ever tagged."""
    root = connection.get(z64)
    found = root.get(NAME) if hasattr(root, "get") else None  # the root of another program's database may be anything
    return found if isinstance(found, Tags) else None


def tags(connection: Connection) -> list[Tag]:
    """All tags, by name."""
    found = tags_of(connection)
    return [] if found is None else found.all()


def tag(connection: Connection, name: Any, obj: Any = None, note: str = "") -> Tag:
    """Make a tag in the running transaction: of the state that its commit leaves, or of committed objects.

    `obj`: an array, a folder, or the path of one; nothing for the whole database. Raises `TagError` for a name that
    is taken or that a time could have, `UncommittedChangesError` for objects that changed in this transaction. Two
    transactions that make the first tags of a database conflict: retry.
    """
    if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", "..") or name != name.strip():
        raise TagError(f"{name!r} is no name for a tag: use words without slashes, as 'before the storm'")
    if not is_name(name):
        raise TagError(f"{name!r} would be taken for a time or a transaction: choose another name for the tag")
    root = connection.get(z64)
    found = root.get(NAME)
    if found is not None and not isinstance(found, Tags):
        raise TagError(f"root()[{NAME!r}] is {type(found).__name__}: give it another name, then tag again")
    if found is not None and found.get(name) is not None:
        raise TagError(f"there is a tag {name!r} already: choose another name, or conn.untag({name!r}) first")
    made = Tag(name, note) if obj is None else _frozen(connection, name, obj, note)
    if found is None:
        found = root[NAME] = Tags()
    found.add(made)
    return made


def untag(connection: Connection, name: str) -> None:
    """Remove a tag in the running transaction; what only it held goes at the next pack. Raises `TagError`."""
    found = tags_of(connection)
    if found is None or found.get(name) is None:
        known = ", ".join(repr(each) for each in (found.names() if found is not None else ())) or "none"
        raise TagError(f"there is no tag {name!r} (tags: {known}): conn.tags() lists them")
    found.remove(name)


def _frozen(connection: Connection, name: str, obj: Any, note: str) -> Tag:
    from wendelin.storage.history.freezing import frozen

    root = connection.get(z64)
    if isinstance(obj, str):
        path, obj = obj.strip("/"), root[obj.strip("/")]
    else:
        path = _path_of(root, obj) or "tagged"
    if getattr(obj, "_p_jar", None) is not connection or obj._p_oid is None:
        raise UncommittedChangesError(
            f"{obj!r} is not stored in this database yet: transaction.commit() first, then tag it"
        )
    if any(each is obj for each in connection.arrays.uncommitted()):
        raise UncommittedChangesError(
            f"{obj!r} has changes that are not committed, which a tag could not hold: transaction.commit() first"
        )
    copy, copies = frozen(obj)
    content = Folder()
    content[path] = copy
    return Tag(name, note, path, content, copies)


def _path_of(root: Any, obj: Any) -> str:
    """Where an object lies below a folder; "" when it is not found."""
    todo: list[tuple[str, Any]] = [("", root)]
    looked = 0
    while todo:
        prefix, folder = todo.pop(0)
        for key in folder:
            value = folder[key]
            if value is obj:
                return f"{prefix}{key}"
            if isinstance(value, Folder):
                todo.append((f"{prefix}{key}/", value))
            looked += 1
            if looked > _SEARCHED:
                return ""
    return ""
