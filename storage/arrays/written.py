"""What the program wrote to the memory of one array, as far as storage calls know, and the way to ask the kernel.

An assignment `A[i] = x` names its bytes, and nobody keeps a view; so as long as an array is written to like this
only, a commit knows all. Once a writable view was given, only the kernel knows.
"""

from __future__ import annotations

from collections.abc import Callable

from wendelin.storage.arrays import patches
from wendelin.storage.arrays.dirty import Detector, choose
from wendelin.storage.arrays.kept import KeptPages
from wendelin.storage.arrays.runs import PAGE, Interval, union

#: Bytes from first to last up to which an assignment is noted by its place.
ASSIGNED = 128 << 10

#: Assignments of one transaction that are noted one by one.
MOST = 256

_detector: list[Detector] = []


def detector() -> Detector:
    """The way of finding written pages that this process uses; chosen at first use."""
    if not _detector:
        _detector.append(choose())
    return _detector[0]


class Written:
    """Notes of what is written between two boundaries of transactions."""

    def __init__(self) -> None:
        detector()  # chosen before addresses are taken, which may leave none where they are limited
        self.handed_out = False  # it may have been written to since the last boundary at which no view lived
        self.kept = KeptPages()
        self._assigned: list[Interval] | None = []  # bytes; None when there is more than is noted here

    def expose(self) -> None:
        """A writable view is given: from now on only the kernel knows what was written."""
        self.handed_out, self._assigned = True, None

    def assign(self, lo: int, hi: int) -> None:
        """Bytes [lo, hi) are about to be written, through a view that nobody keeps."""
        self.handed_out = True
        if self._assigned is not None and lo < hi:
            self._assigned.append((lo, hi))
            if len(self._assigned) > MOST or hi - lo > ASSIGNED:
                self._assigned = None

    def settled(self) -> None:
        """What was written so far is stored or thrown away."""
        self._assigned = None if self._assigned is None else []

    def rest(self) -> None:
        """A boundary at which no view lived: nobody can write without asking first."""
        self.handed_out, self._assigned = False, []

    @property
    def is_known(self) -> bool:
        """Whether `pages` tells all."""
        return self._assigned is not None

    def lose(self) -> None:
        """Written pages move to where they look like stored ones: the notes do not fit any more."""
        self._assigned = None

    def pages(self) -> list[Interval]:
        """The pages that were written, where that is known."""
        pages = [(lo // PAGE, -(-hi // PAGE)) for lo, hi in self._assigned or ()]
        return union(pages) if len(pages) > 1 else pages

    def patch(self, page: int, current: bytes, beneath: Callable[[], bytes]) -> bytes | None:
        """What was changed in a page that holds `current` and is stored as `beneath()`; None when it is much."""
        if self._assigned is None:
            return patches.made(current, patches.stretches(beneath(), current))
        at = page * PAGE
        near = [(max(lo - at, 0), min(hi - at, PAGE)) for lo, hi in self._assigned]
        return patches.made(current, [(lo, hi) for lo, hi in near if lo < hi])
