"""What people write about an entity and attach to it, beside what happened to it: its trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wendelin.storage.errors import FieldError
from wendelin.storage.ubm.explain import written
from wendelin.storage.ubm.trail import FILE, NOTE, Entry, Trail

if TYPE_CHECKING:
    from wendelin.storage.ubm.files import File

#: Letters of a file's name at most.
FILE_NAME = 255


class Annotated:
    """Of entities the notes, files and trail. They are in a record of their own: those of several people merge."""

    _trail: Trail
    _refuse_deleted: Callable[[], None]
    label: Callable[[str], str]

    @property
    def trail(self) -> list[Entry]:
        """What happened: creation, transitions, changes, notes and files, oldest first. Changes come at the commit."""
        return list(self._trail)

    def last_entries(self, count: int) -> list[Entry]:
        """The newest entries of the trail, oldest first."""
        return self._trail.last(count)

    def note(self, text: str) -> None:
        """Write something down about it."""
        self._refuse_deleted()
        self._trail.add(NOTE, written(self, "note", text))

    def attach(self, name: str, data: bytes, why: str = "", media_type: str = "") -> None:
        """Attach a file; one of the same name takes its place, the trail keeps both."""
        from wendelin.storage.ubm.files import File

        self._refuse_deleted()
        if not name.isprintable() or not name.strip() or "/" in name or len(name) > FILE_NAME:
            raise FieldError(f"{self.label('attach')}({name[:80]!r}): give a name without slashes, as 'manual.pdf'")
        why = written(self, "why", why, needed=False)
        self._trail.add(FILE, why, name=name, file=File(name, data, media_type))

    def detach(self, name: str, why: str = "") -> None:
        """Take a file away; KeyError when there is none of that name."""
        self._refuse_deleted()
        self._trail.files()[name]
        self._trail.add(FILE, written(self, "why", why, needed=False) or "removed", name=name)

    @property
    def files(self) -> dict[str, File]:
        """Attached files by name."""
        return self._trail.files()

    @property
    def pointers(self) -> int:
        """How many relations of others point to it."""
        return int(self._trail.pointers)
