"""The memory of one open array: which of its pages are mapped from where, and which were written.

Pages are mapped when a slice first asks for them, whole blocks at a time, so a terabyte opens at once. Views stand on
one ctypes buffer, the *lease*: the memory knows it weakly and the lease knows the memory, so as long as any view
lives its addresses stay mapped, whatever becomes of the array object or the connection.

Three layers show through each other: what is *stored* (runs of segments), what was *spilled* (written by this
transaction and moved to its own file, the draft), and what was *written* since, which only the kernel knows.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays import known, mapping
from wendelin.storage.arrays import runs as R
from wendelin.storage.arrays.addresses import Reservation, data_allowed
from wendelin.storage.arrays.extents import PAGE, Extents, Mark, Run
from wendelin.storage.arrays.interrupts import uninterrupted
from wendelin.storage.arrays.kept import KeptPages
from wendelin.storage.arrays.local import LocalFiles, scratch_folder
from wendelin.storage.arrays.mapping import Laid
from wendelin.storage.arrays.pages import Pages
from wendelin.storage.arrays.reader import contents, used
from wendelin.storage.arrays.runs import HOLE, Interval, clip, covered, gaps, paint, subtract, union
from wendelin.storage.arrays.segments import Draft
from wendelin.storage.arrays.views import Views
from wendelin.storage.arrays.written import Written, detector
from wendelin.storage.errors import AddressSpaceError

#: Pages mapped at once at least; and where it takes few mappings and what is stored lies on this node.
_LEAST, _WIDE, _FEW_RUNS = 512, 1 << 16, 32


class ArrayMemory:
    """Addresses of one array, for one connection (or none yet, for an array that was never stored).

    `serial` is the transaction of the extent map that is mapped: None means "compare before use". `drafts` is the
    folder where pages are spilled to, `files` what is mapped from.
    """

    def __init__(
        self,
        nbytes: int,
        pages_per_block: int,
        *,
        writable: bool = True,
        files: LocalFiles | None = None,
        drafts: str | None = None,
    ) -> None:
        self.writable = writable
        self.serial: bytes | None = None
        self.pages_per_block = pages_per_block
        self.written = Written()
        self.keeps_drafts = False  # a savepoint may want back what was spilled
        self.files = files or LocalFiles()
        self.drafts = drafts
        self.draft: Draft | None = None
        self.origin: tuple[weakref.ref[Any], bytes] | None = None  # the connection and the oid, once it is stored
        self._addresses = Reservation(nbytes, writable=writable)
        self._views = Views()
        self._mapped: list[Interval] = []
        self._runs = []
        self.sources: dict[int, Any] = {}
        self._spilled: list[Run] = []
        self.mappings = 0  # about: two for each run that was laid, until somebody counts
        self._mark: Mark | None = None
        self._scattered = False  # what is stored lies in too many runs to map it far and wide
        known.add(self)

    # -- views

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...]) -> npt.NDArray[Any]:
        """The whole array, standing on the addresses. Only what `ensure` mapped may be touched."""
        return self._views.whole(self, self._addresses, shape, dtype, strides)

    def inner(self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...]) -> npt.NDArray[Any]:
        """As `view`, for one access: it may be written to, and keeps nothing mapped."""
        return self._views.inner(self._addresses, shape, dtype, strides)

    @property
    def start(self) -> int:
        """Address of the first byte."""
        return self._addresses.start

    @property
    def reserved(self) -> int:
        """Bytes of addresses."""
        return self._addresses.size

    @property
    def has_views(self) -> bool:
        """Whether any ndarray still stands on this memory."""
        return self._views.alive

    # -- mapping

    def ensure(self, lo: int, hi: int, extents: Extents) -> None:
        """Map bytes [lo, hi) as `extents` has them stored, whole blocks."""
        if any(a * PAGE <= lo and hi <= b * PAGE for a, b in self._mapped[:1]):  # as most often
            return
        missing = gaps(self._mapped, *self._window(lo, hi, max(self.pages_per_block, _LEAST)))
        if not missing:
            return
        if self.files.near and not self._scattered and (more := self._more(missing, lo, hi, extents)):
            missing = more
        self._addresses.refuse_beyond_limit(PAGE * sum(b - a for a, b in missing))
        for a, b in missing:
            self._addresses.map_zeros(a * PAGE, (b - a) * PAGE)
            runs, named = extents.layout(a, b)
            self._map(runs, named, runs)
            self._runs = paint(self._runs, runs)
            self.sources.update(named)
        self._mapped = union([*self._mapped, *missing])

    def _window(self, lo: int, hi: int, step: int) -> Interval:
        """Whole steps of pages around bytes [lo, hi), as far as there are addresses."""
        return lo // PAGE // step * step, min(-(-hi // (PAGE * step)) * step, self._addresses.size // PAGE)

    def _more(self, missing: list[Interval], lo: int, hi: int, extents: Extents) -> list[Interval]:
        """A wider range to map, so that the next slices find it; nothing where it would take many mappings."""
        wide = gaps(self._mapped, *self._window(lo, hi, max(self.pages_per_block, _WIDE)))
        self._scattered = any(  # first the little that must be looked at anyway
            sum(len(extents.layout(a, b)[0]) for a, b in some) > _FEW_RUNS for some in (missing, wide)
        )
        narrow = self._scattered or 4 * PAGE * sum(b - a for a, b in wide) > data_allowed()
        return [] if narrow else wide

    def follow(self, extents: Extents) -> None:
        """Show what `extents` has now: only pages that moved are mapped anew, at the same addresses.

        In the middle of a transaction, what it has spilled stays on top.
        """
        if not self._spilled and (own := self.written.kept.own(extents)):
            for run, data in own.items():
                self._own_runs[run[0]] = run
                self.sources[run[2]] = Pages(data)
            self._note(extents)
            return
        self._show(extents, self._spilled)
        if not extents._p_changed:
            self._settle()

    def _show(self, extents: Extents, spilled: list[Run]) -> None:
        """Map what lies elsewhere now. What changes often is a few pages of many: only these are looked at."""
        touched = extents.touched_since(self._mark)
        if touched is None or spilled or self._spilled:
            self._show_all(extents, spilled)
        else:
            self._show_parts(extents, [part for lo, hi in self._mapped for part in R.within(touched, lo, hi)])
        if not spilled and not self.keeps_drafts:
            self.draft = None
        self._note(extents)

    def _show_parts(self, extents: Extents, parts: list[Interval]) -> None:
        runs, named = extents.layout_all(parts)
        shown = R.laid(self._runs, parts, runs)
        self.sources.update(named)
        self._change([run for lo, hi in parts for run in clip(self._runs, lo, hi)], runs, self.sources, shown)
        self._runs = shown

    def _note(self, extents: Extents) -> None:
        changed, before = extents._p_changed, self._mark
        self.serial, self._mark = (None, None) if changed else (extents._p_serial, extents.mark())
        if before and self._mark and before[0] != self._mark[0]:  # folded: much that was named is not any more
            self.sources = used(self._runs, self.sources)
            self.written.kept.prune(self._runs)

    def _show_all(self, extents: Extents, spilled: list[Run]) -> None:
        runs: list[Run] = []
        named: dict[int, Any] = {}
        for lo, hi in self._mapped:
            some, segments_there = extents.layout(lo, hi)
            runs += some
            named.update(segments_there)
        self._change(paint(self._runs, self._spilled), after := paint(runs, spilled), named, after)
        self._runs, self._spilled, self.sources = runs, spilled, named
        self.written.kept.prune(runs)

    def _change(self, before: list[Run], after: list[Run], named: dict[int, Any], shown: list[Run]) -> None:
        changes = R.difference(before, after)
        for start, length, _, _ in (run for run in changes if run[2] == HOLE):
            self._addresses.map_zeros(start * PAGE, length * PAGE)
        there = [run for run in changes if run[2] != HOLE and not self.written.kept.is_fresh(run)]
        self._map(there, named if self.draft is None else {**named, **self._own()}, shown)

    @property
    def _runs(self) -> list[Run]:
        """What is stored and mapped."""
        if self._own_runs:
            self._runs = paint(self._laid, sorted(self._own_runs.values()))
        return self._laid

    @_runs.setter
    def _runs(self, runs: list[Run]) -> None:
        self._laid, self._own_runs = runs, dict[int, Run]()  # commits of this memory laid those over these

    def _own(self) -> dict[int, Any]:
        return {} if self.draft is None else {self.draft.number: self.draft}

    def _settle(self) -> None:
        """Drop private copies of what was committed, also where another commit has already undone it."""
        self._drop(union(self.written.kept.settle(self._runs)))  # what is kept shows again

    def _map(self, runs: list[Run], named: dict[int, Any], shown: list[Run], laid: Laid = None) -> None:
        """Lay files over the addresses, noting in `laid` where. `shown` is all that is stored thereabouts."""
        if mapping.too_many(runs, known.mappings):
            if self.draft is not None:
                self.draft.is_gathered = True
            runs = mapping.lay_together(self._addresses, self.files, runs, named, shown, self.dirty(), laid)
        mapping.lay(self._addresses, self.files, runs, named, laid)
        self.mappings += 2 * len(runs) + 1

    def reserve(self, nbytes: int) -> None:
        """Make sure that `nbytes` fit: in place, else by moving, which living views forbid."""
        if nbytes <= self._addresses.size or self._addresses.extend(nbytes):
            return
        if self.has_views:
            raise AddressSpaceError(
                0,
                f"no addresses are free behind this array to grow it to {nbytes:,} bytes while views of it live: "
                "delete the views (`del view`), then resize",
            )
        self._move(Reservation(nbytes, writable=self.writable))

    def _move(self, target: Reservation) -> None:
        target.refuse_beyond_limit(PAGE * sum(hi - lo for lo, hi in self._mapped))
        source, written = self._addresses, self.dirty()
        shown = paint(self._runs, self._spilled)
        with uninterrupted():
            self._addresses = target
            try:
                for lo, hi in self._mapped:
                    target.map_zeros(lo * PAGE, (hi - lo) * PAGE)
                self._map(shown, {**self.sources, **self._own()}, shown)
            except BaseException:
                self._addresses = source  # where all that was written still is
                raise
            for lo, hi in written:
                target.copy_from(source, lo * PAGE, (hi - lo) * PAGE)

    # -- what was written

    def dirty(self) -> list[Interval]:
        """Pages the program wrote since the last boundary or spill, sorted."""
        if self.written.is_known:
            return self.written.pages()
        found = detector().dirty(self._addresses.start, self._mapped, self._shown, self._holes)
        kept = self.written.kept
        return kept.changed(found, self._addresses, self._committed) if kept else found

    @property
    def _committed(self) -> list[Run]:
        """What is stored and shows, not hidden by what was spilled."""
        return subtract(self._runs, covered(self._spilled)) if self._spilled else self._runs

    def changed(self) -> list[Interval]:
        """Pages the program wrote since the last boundary, spilled or not."""
        return union([*self.dirty(), *covered(self._spilled)])

    def spill(self, dirty: list[Interval] | None = None) -> None:
        """Move written pages to the transaction's own file and show them from there: they take no memory any more.

        Raises `StorageFullError` when that file finds no room; the pages are still in memory then.
        """
        dirty = self.dirty() if dirty is None else dirty
        if not dirty:
            return
        self.written.lose()
        if self.draft is None:
            self.draft = Draft(self.drafts or scratch_folder(), apart=self.files.near)
        again = (
            []
            if self.keeps_drafts or self.draft.is_stored or self.draft.is_gathered
            else [run for lo, hi in dirty for run in clip(self._spilled, lo, hi)]
        )
        known = covered(again)
        fresh = [gap for lo, hi in dirty for gap in gaps(known, lo, hi)]
        self.draft.rewrite(self._addresses, again)
        self._show_spilled(self.draft.add(self._addresses, fresh))
        self._drop(known)

    def _show_spilled(self, placed: list[Run]) -> None:
        """Show pages from the draft. What is shown and what is known to be stay one, whatever interrupts or fails."""
        with uninterrupted():
            before, self._spilled = self._spilled, paint(self._spilled, placed)
            laid: list[Interval] = []
            try:
                self._map(placed, {**self.sources, **self._own()}, paint(self._runs, self._spilled), laid)
            except BaseException:  # the rest is in memory still
                self._spilled = paint(before, [run for lo, hi in union(laid) for run in clip(placed, lo, hi)])
                raise

    def snapshot(self) -> list[Run]:
        """Spill everything; what `restore` takes back later."""
        self.spill()
        self.keeps_drafts = True
        return list(self._spilled)

    def restore(self, snapshot: list[Run], extents: Extents | None) -> None:
        """Show what was there at a `snapshot` of this transaction; `extents` as it was then."""
        self._drop(self.dirty())
        if extents is not None:
            self._show(extents, snapshot)

    def committed(self) -> None:
        """What was spilled is stored now: its file must not be written to any more."""
        if self.draft is not None:
            self._runs = paint(self._runs, self._spilled)
            self.sources[self.draft.number] = self.draft  # until `follow` brings the segment itself
            self._spilled, self.draft = [], None
            self._mark = None  # an undo may bring back the state of before, whose pages lie elsewhere
        self.serial, self.keeps_drafts = None, False
        self.written.settled()

    def revert(self) -> None:
        """Throw away what was written: stored bytes show again."""
        self.written.kept.forget_fresh()
        self._drop(self._mapped if detector().name == "compare" and not self.written.is_known else self.dirty())
        self.written.settled()
        spilled, self._spilled, self.draft, self.keeps_drafts = self._spilled, [], None, False
        for start, length, _, _ in spilled:
            for lo, hi in self._holes(start, start + length):
                self._addresses.map_zeros(lo * PAGE, (hi - lo) * PAGE)
            self._map(clip(self._runs, start, start + length), self.sources, self._runs)

    def _drop(self, pages: list[Interval]) -> None:
        for lo, hi in pages:
            self._addresses.discard(lo * PAGE, (hi - lo) * PAGE)
        if self.written.kept:
            self.written.kept.put_back(pages, self._addresses, self._committed)

    def trim(self, written: list[Interval], nbytes: int) -> list[Interval]:
        """Drop what views wrote behind the end of an array that was cut; returns the rest of `written`."""
        end = -(-nbytes // PAGE)
        for lo, hi in written:
            if hi > end:
                first = max(lo, end)
                for start, length, _, _ in clip(self._spilled, first, hi):
                    self._addresses.map_zeros(start * PAGE, length * PAGE)
                self._spilled = subtract(self._spilled, [(first, hi)])
                self._addresses.discard(first * PAGE, (hi - first) * PAGE)
            if nbytes % PAGE and lo < end <= hi:
                self._addresses.clear(nbytes, end * PAGE - nbytes)
        return [(lo, min(hi, end)) for lo, hi in written if lo < end]

    def stored(self, pages: list[Interval]) -> list[Run]:
        """Write pages to the draft, changed or not; returns where all of them lie in it."""
        self.spill()
        known = covered(self._spilled)
        rest = [gap for lo, hi in pages for gap in gaps(known, lo, hi)]
        if self.draft is None:
            self.draft = Draft(self.drafts or scratch_folder(), apart=self.files.near)
        self._show_spilled(self.draft.add(self._addresses, rest))
        return [run for lo, hi in pages for run in clip(self._spilled, lo, hi)]

    def peek(self, lo: int, hi: int) -> bytes:
        """Mapped bytes as the program sees them now."""
        return ctypes.string_at(self.start + lo, hi - lo) if lo < hi else b""

    def become_unstored(self) -> None:
        """Its array was not stored after all: all that was written is kept, in memory or in a file of its own."""
        self.serial, self.origin, self.keeps_drafts = None, None, False
        self.written.kept = KeptPages()
        if self.draft is not None:
            self.draft = self.draft.copied(scratch_folder())

    def truncate(self, nbytes: int) -> None:
        """Let everything from byte `nbytes` on read as zeros, at once and for the transaction."""
        page = -(-nbytes // PAGE)
        self.serial = self._mark = None  # an abort must lay the files back
        for lo, hi in gaps(gaps(self._mapped, 0, 1 << 62), page, 1 << 62):
            self._addresses.map_zeros(lo * PAGE, (hi - lo) * PAGE)
            self._runs = subtract(self._runs, [(lo, hi)])
            self._spilled = subtract(self._spilled, [(lo, hi)])
        if nbytes % PAGE and gaps(self._mapped, page - 1, page) == []:
            self._addresses.clear(nbytes, page * PAGE - nbytes)

    def _holes(self, lo: int, hi: int) -> list[Interval]:
        shown = paint(self._runs, self._spilled)
        return gaps(covered(clip(shown, lo, hi)), lo, hi)

    def beneath(self, page: int) -> bytes:
        """What is stored of a mapped page, without what this transaction changed."""
        return contents(self._runs, self.sources, page, 1).tobytes()

    def _shown(self, first: int, count: int) -> npt.NDArray[np.uint8]:
        """What lies beneath some mapped pages, stored or spilled, as a copy."""
        return contents(paint(self._runs, self._spilled), {**self.sources, **self._own()}, first, count)

    def __repr__(self) -> str:
        mapped = sum(hi - lo for lo, hi in self._mapped) * PAGE
        return f"<ArrayMemory {mapped:,} bytes mapped in {len(self._runs)} runs at {self.start:#x}>"
