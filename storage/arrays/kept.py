"""Pages that a commit stored, and whose private copies in memory stay where they are.

After a tiny commit the memory holds what was stored, so mapping a file with the same bytes would only cost time. The
kernel goes on to list such pages as written; they are when they differ from what is remembered here. Whatever is
mapped over a page, or stored for it by somebody else, makes this memory of it void: an entry counts only while the
page is still shown from the segment that the entry names.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.extents import Extents
from wendelin.storage.arrays.log import Entry
from wendelin.storage.arrays.runs import PAGE, Interval, Run, clip, gaps, union

#: Pages of one array that are kept at most. A folded log maps them all anew.
MOST = 256


class KeptPages:
    """What private pages of one array hold, as it was stored."""

    def __init__(self) -> None:
        self._stored: dict[int, tuple[int, bytes]] = {}  # page → segment, content
        self._fresh: dict[int, list[tuple[Interval, bytes]]] = {}  # segment → pages that a running commit stores in it
        self._unsettled: list[Interval] = []  # stored by a commit, and not mapped from its segment yet
        self._own: tuple[list[Entry], dict[Run, bytes]] | None = None  # all that a running commit changes

    def __bool__(self) -> bool:
        return bool(self._stored)

    def leave(self, pages: list[Interval], number: int = 0, data: bytes = b"") -> None:
        """A commit stores pages elsewhere than in the draft: their private copies go after it.

        They stay if they are few, and all are stored in segment `number`, as `data`.
        """
        if not number or len(self._stored) + sum(hi - lo for lo, hi in pages) > MOST:
            self._unsettled = union([*self._unsettled, *pages])
            return
        at, some = 0, []
        for lo, hi in pages:
            some.append(((lo, hi), data[at : at + (hi - lo) * PAGE]))
            at += (hi - lo) * PAGE
        self._fresh[number] = some

    def leave_patched(self, contents: dict[Run, bytes]) -> None:
        """A commit stores pages as patches; what each run shows is in memory."""
        for run, data in contents.items():
            self.leave([(run[0], run[0] + run[1])], run[2], data)

    def expect(self, extents: Extents, contents: dict[Run, bytes]) -> None:
        """A commit has changed `extents`, as they were shown, by these runs and nothing else; all are kept."""
        self._own = (extents.entries, contents)

    def own(self, extents: Extents) -> dict[Run, bytes]:
        """What shows already: all that is new in `extents`, if they are what that commit has made of them.

        Nothing where they may be anything else: any other state comes from the database and has a log of its own.
        """
        known, self._own = self._own, None
        if known is None or known[0] is not extents.entries or extents._p_changed:
            return {}
        fresh, contents = {run[2] for run in known[1]}, known[1]
        if self._fresh.keys() != fresh or self._unsettled:
            return {}
        self._stored.update((run[0], (run[2], data)) for run, data in contents.items())
        self._fresh = {}
        return contents

    def is_fresh(self, run: Run) -> bool:
        """Whether the memory holds what `run` would show."""
        return bool(self._fresh) and run[2] in self._fresh

    def settle(self, shown: list[Run]) -> list[Interval]:
        """The commit has ended; `shown` is stored now. Returns the pages that do not stay, or show from elsewhere."""
        lost, self._unsettled = self._unsettled, []
        for number, some in self._fresh.items():
            for (lo, hi), data in some:
                for page in range(lo, hi):
                    if _number_at(shown, page) == number:
                        self._stored[page] = number, data[(page - lo) * PAGE : (page - lo + 1) * PAGE]
                    else:
                        lost.append((page, page + 1))
        self._fresh = {}
        return lost

    def forget_fresh(self) -> None:
        """The commit did not come about."""
        self._fresh, self._own, self._unsettled = {}, None, []

    def prune(self, shown: list[Run]) -> None:
        """Forget pages that are shown from elsewhere."""
        self._stored = {page: it for page, it in self._stored.items() if _number_at(shown, page) == it[0]}

    def changed(self, written: list[Interval], memory: Reservation, shown: list[Run]) -> list[Interval]:
        """Of the pages that the kernel lists as written, those that hold something else than what is stored."""
        same = [
            (page, page + 1)
            for page, data in self._valid(written, shown)
            if memory.memory(page * PAGE, PAGE) == data
        ]  # fmt: skip
        known = union(same)
        return [gap for lo, hi in written for gap in gaps(known, lo, hi)] if known else written

    def put_back(self, dropped: list[Interval], memory: Reservation, shown: list[Run]) -> None:
        """Private pages were thrown away: those that are stored so far in memory only must show again."""
        for page, data in self._valid(dropped, shown):
            memory.memory(page * PAGE, PAGE)[:] = data

    def _valid(self, pages: Sequence[Interval], shown: list[Run]) -> Iterator[tuple[int, bytes]]:
        for page, (number, data) in self._stored.items():
            position = bisect.bisect_right(pages, (page, 1 << 62)) - 1
            if position >= 0 and pages[position][1] > page and _number_at(shown, page) == number:
                yield page, data


def _number_at(runs: list[Run], page: int) -> int | None:
    found = clip(runs, page, page + 1)
    return found[0][2] if found else None
