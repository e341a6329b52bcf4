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
from wendelin.storage.arrays.runs import PAGE, Interval, Run, clip, gaps, union

#: Pages of one array that are kept at most. A folded log maps them all anew, after 64 commits at the latest.
MOST = 128


class KeptPages:
    """What private pages of one array hold, as it was stored."""

    def __init__(self) -> None:
        self._stored: dict[int, tuple[int, bytes]] = {}  # page → segment, content
        self._fresh: dict[int, list[tuple[Interval, bytes]]] = {}  # segment → pages that a running commit stores in it

    def __bool__(self) -> bool:
        return bool(self._stored)

    def storing(self, number: int, pages: list[Interval], data: bytes) -> bool:
        """A commit stores `pages`, whose contents are `data`, in segment `number`. False when these are too many."""
        if len(self._stored) + sum(hi - lo for lo, hi in pages) > MOST:
            return False
        at, some = 0, []
        for lo, hi in pages:
            some.append(((lo, hi), data[at : at + (hi - lo) * PAGE]))
            at += (hi - lo) * PAGE
        self._fresh[number] = some
        return True

    def is_fresh(self, run: Run) -> bool:
        """Whether the memory holds what `run` would show."""
        return bool(self._fresh) and run[2] in self._fresh

    def settle(self, shown: list[Run]) -> list[Interval]:
        """The commit has ended; `shown` is stored now. Returns the pages that it shows from elsewhere after all."""
        lost: list[Interval] = []
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
        self._fresh = {}

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
