"""How two transactions that changed one array become one: the conflict resolution of `Extents`.

States are plain values, but for references, which are of whatever kind the storage gives: only their `oid` is looked
at. What two transactions did is read from the *log* of entries, each written by one transaction:

* Writers of different blocks merge; of the same block, or of a block that the other freed, the later one conflicts.
* Appends merge always: the pieces of the later one go behind those of the earlier.
* *Sealing* (appended bytes become runs) and *folding* (old entries move into the base) change where bytes are found,
  not what they are. When both did it, of the later one's is kept what the earlier one has not done.
* Who wrote in the page in which the array ended conflicts with who appended to it and sealed that page.
* *Moving* (bytes are stored elsewhere, the same ones) gives way to whatever the other transaction did there.
* Changes of the shape other than appends merge with writes, and conflict with appends and with each other. Pages that
  were written behind what has become the end are holes, so that later appends find nothing there to remove.
* A state that was taken back by `undo` is no history that can be merged with: it conflicts.

A ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NoReturn

from ZODB.POSException import ConflictError

from wendelin.storage.arrays import tail
from wendelin.storage.arrays.log import (
    MOVE,
    SEAL,
    WRITE,
    Entry,
    Passed,
    State,
    Summary,
    packed,
    unpacked_summary,
    upgraded,
)
from wendelin.storage.arrays.runs import (
    END,
    HIDDEN,
    HOLE,
    PAGE,
    Interval,
    Run,
    clip,
    gaps,
    hidden,
    intersects,
    meets,
    paint,
    replaced,
    touched_blocks,
    union,
)

#: Intervals of blocks up to which it is known of each which entry was the last to touch it.
EXACT_INTERVALS = 256

#: Intervals that one summary of many older entries keeps; beyond, the nearest ones are joined.
MOST_INTERVALS = 32

#: Behind every page.
_LAST = 1 << 62


def resolve(old: State, committed: State, new: State) -> State:
    """Merge what `new` did since `old` into `committed`; ConflictError where that has no meaning."""
    old, committed, new = upgraded(old), upgraded(committed), upgraded(new)
    _refuse_other_histories(old, committed, new)
    _refuse_two_shapes(old, committed, new)
    size, ours = new["pages_per_block"], _entries_since(old, new)
    written, ends = _touched_since(old, committed, size)
    if _meets(written, ours, WRITE, size):
        _conflict("both transactions wrote the same block")
    ours = [entry for entry in ours if not _meets([*written, *ends], [entry], MOVE, size)]
    if committed["shaped"] != old["shaped"]:
        ours = [(n, token, kind, _with_end(runs, committed)) for n, token, kind, runs in ours]
    ours, sealed = _with_own_sealing(old, committed, new, ours, written)
    if not sealed:
        _refuse_hiding_the_end(old, committed, new, ours, ends)
    folded = _oid(committed["base"]) == _oid(old["base"]) != _oid(new["base"])
    result = {**committed, **({name: new[name] for name in ("base", "passed")} if folded else {})}
    merged = _unfolded(unpacked_summary(result["passed"]), committed["entries"])
    for number, (_, token, kind, runs) in enumerate(ours, committed["number"] + 1):
        merged.append((number, token, kind, runs))
    result["number"] = committed["number"] + len(ours)
    if new["shaped"] != old["shaped"] and any(hi > _first_page_behind(new) for _, hi in written):
        result["number"] += 1
        merged = _cut_off(merged, result["number"], new)
    result["entries"] = merged
    _merge_tails(result, old, committed, new, sealed)
    result["segments"] = named(merged, result["tail"], {**committed["segments"], **new["segments"]})
    return packed(result)


def _merge_tails(result: State, old: State, committed: State, new: State, sealed: bool) -> None:
    if new["shaped"] != old["shaped"]:
        result.update({name: new[name] for name in ("tail", "sealed", "rows", "shaped")})
        return
    appended = new["tail"]
    if old["sealed"] is not None:
        appended = tail.trimmed(appended, _end(old) - new["sealed"])
    pieces = committed["tail"]
    if sealed:
        pieces = tail.trimmed(pieces, new["sealed"] - committed["sealed"])
        result["sealed"] = new["sealed"]
    elif committed["sealed"] is None:
        result["sealed"] = new["sealed"]
    result["tail"] = [*pieces, *appended]
    result["rows"] = _rows(old["rows"], committed["rows"], new["rows"])


def _rows(old: int | None, committed: int | None, new: int | None) -> int | None:
    if old is None and committed is not None and new is not None:
        _conflict("both transactions were the first to append to an array of an earlier version")
    if committed is None or new is None:
        return new if committed is None else committed
    return committed + new - (old or 0)


def _end(state: State) -> int:
    return int(state["sealed"] or 0) + tail.length(state["tail"])


def named(entries: list[Entry], pieces: list[tail.Piece], segments: dict[int, Any]) -> dict[int, Any]:
    """Of `segments` those that entries or pieces name."""
    numbers = {run[2] for _, _, _, runs in entries for run in runs} | {piece[0] for piece in pieces}
    return {number: segments[number] for number in numbers if number not in (HOLE, HIDDEN)}


def summary(passed: Summary, entries: list[Entry], pages_per_block: int) -> list[Passed]:
    """`passed` with the entries that are folded now: of each block which of them was the last to touch it.

    So a transaction's own earlier changes, and all others from before it began, never count as made meanwhile. Only
    of blocks that were touched long ago this is known for several together, so that the summary stays short.
    """
    seen: tuple[list[Interval], list[Interval]] = ([], [])
    latest: list[Passed] = []
    for number, _, kind, runs in reversed(entries):
        blocks = touched_blocks(runs, pages_per_block)
        fresh = _beyond(blocks if kind == WRITE else [], seen[0]), _beyond(blocks if kind == SEAL else [], seen[1])
        seen = union([*seen[0], *fresh[0]]), union([*seen[1], *fresh[1]])
        latest.append((number, *fresh))
    latest += [
        (number, _beyond(a, seen[0]), _beyond(b, seen[1])) for number, a, b in reversed(unpacked_summary(passed))
    ]
    latest = latest[:1] + [some for some in latest[1:] if some[1] or some[2]]  # the first says where the log begins
    exact, left = 0, EXACT_INTERVALS
    while exact < len(latest) and len(latest[exact][1]) + len(latest[exact][2]) <= left:
        left -= len(latest[exact][1]) + len(latest[exact][2])
        exact += 1
    return [*_coarser(latest[exact:], left), *latest[:exact][::-1]]


def _beyond(intervals: list[Interval], seen: list[Interval]) -> list[Interval]:
    return [gap for lo, hi in intervals for gap in gaps(seen, lo, hi)]


def _coarser(latest: list[Passed], left: int) -> list[Passed]:
    """The same, the latest last: the older, the more of them together."""
    coarser: list[Passed] = []
    most, size = max(left, MOST_INTERVALS), 1
    while latest:
        some, latest = latest[:size], latest[size:]
        coarser.append((some[0][0], _few((a for _, a, _ in some), most), _few((b for _, _, b in some), most)))
        most, size = MOST_INTERVALS, 2 * size
    return coarser[::-1]


def _few(lists: Iterable[list[Interval]], most: int) -> list[Interval]:
    joined = union(itertools.chain.from_iterable(lists))
    if len(joined) <= most:
        return joined
    widths = sorted((b[0] - a[1] for a, b in itertools.pairwise(joined)), reverse=True)
    kept = widths[most - 2]
    out = [joined[0]]
    for interval in joined[1:]:
        if interval[0] - out[-1][1] > kept:
            out.append(interval)
        else:
            out[-1] = (out[-1][0], interval[1])
    return out


def _refuse_other_histories(old: State, committed: State, new: State) -> None:
    for state, whose in ((committed, "the other"), (new, "this")):
        if state["number"] < old["number"]:
            _conflict(f"{whose} transaction undid an earlier one")
        known = {number: token for number, token, _, _ in state["entries"]}
        for number, token, _, _ in old["entries"][-1:]:
            if known.get(number, token) != token:
                _conflict("an earlier transaction was undone meanwhile")
        if state["shaped"] == old["shaped"] and not _sealed(old, state) and _lacks(state["tail"], old["tail"]):
            _conflict("an append was undone meanwhile")


def _lacks(pieces: list[tail.Piece], first: list[tail.Piece]) -> bool:
    return pieces[: len(first)] != first


def _refuse_two_shapes(old: State, committed: State, new: State) -> None:
    we, they = new["shaped"] != old["shaped"], committed["shaped"] != old["shaped"]
    if we and they:
        _conflict("both transactions changed the shape")
    if we and (_grown(old, committed) or _sealed(old, committed)):
        _conflict("rows were appended while this transaction changed the shape")
    if they and (_grown(old, new) or _sealed(old, new)):
        _conflict("the shape was changed while this transaction appended rows")


def _grown(old: State, state: State) -> bool:
    return bool(state["rows"] != old["rows"]) or (old["sealed"] is not None and _end(state) != _end(old))


def _refuse_hiding_the_end(old: State, committed: State, new: State, ours: list[Entry], ends: list[Interval]) -> None:
    """Refuse our pages that would hide bytes which others appended and sealed, or be hidden by bytes not yet sealed.

    The last page that was there when we began is whole in neither transaction.
    """
    why = "the other transaction appended to a page that this one wrote"
    if new["shaped"] != old["shaped"]:
        return  # and nobody appended
    if old["sealed"] is None or committed["shaped"] != old["shaped"]:  # where the end was is not known
        if _meets(ends, ours, WRITE, new["pages_per_block"]):
            _conflict(why)
        return
    end, sealed = _end(old), committed["sealed"]
    whole = min(end, sealed) // PAGE
    if sealed != end and any(runs and sum(runs[-1][:2]) > whole for _, _, kind, runs in ours if kind == WRITE):
        _conflict(why)


def _with_end(runs: list[Run], reshaped: State) -> list[Run]:
    """Runs of one who did not know of another's change of the shape: behind the end are holes."""
    first = _first_page_behind(reshaped)
    return [*clip(runs, 0, first), *((start, size, HOLE, 0) for start, size, _, _ in clip(runs, first, END))]


def _cut_off(entries: list[Entry], number: int, reshaped: State) -> list[Entry]:
    """Entries with one more: behind the end that a transaction gave the array are holes, whoever wrote there."""
    first = _first_page_behind(reshaped)
    kept = [(n, token, kind, hidden(runs, [(first, END)])) for n, token, kind, runs in entries]
    return [*kept, (number, reshaped["shaped"], WRITE, [(first, END - first, HOLE, 0)])]


def _first_page_behind(reshaped: State) -> int:
    """The first page without stored runs: whoever changes the shape stores all that it has in runs."""
    return END if reshaped["sealed"] is None else -(-int(reshaped["sealed"]) // PAGE)


def _meets(pages: list[Interval], entries: list[Entry], kind: int, size: int) -> bool:
    """Whether entries of a kind touch a part, of `size` pages, of which `pages` touch something."""
    parts = union((lo // size, -(-hi // size)) for lo, hi in pages)
    return any(intersects(parts, touched_blocks(runs, size)) for _, _, k, runs in entries if k == kind)


def _touched_since(old: State, state: State, size: int) -> tuple[list[Interval], list[Interval]]:
    """Pages that `state` has written, and those it has sealed, since `old`. Rather too many than too few."""
    written: list[Interval] = []
    sealed: list[Interval] = []
    for number, blocks, ends in unpacked_summary(state["passed"]):
        if number > old["number"]:
            written += [(lo * size, hi * size) for lo, hi in blocks]
            sealed += [(lo * size, hi * size) for lo, hi in ends]
    for _, _, kind, runs in _entries_since(old, state):
        if kind != MOVE:
            (written if kind == WRITE else sealed).extend((run[0], run[0] + run[1]) for run in runs)
    return union(written), union(sealed)


def _entries_since(old: State, state: State) -> list[Entry]:
    return [entry for entry in state["entries"] if entry[0] > old["number"]]


def _sealed(old: State, state: State) -> bool:
    """Whether `state` gave bytes of the old tail, or of a later one, their fixed place."""
    return old["sealed"] is not None and state["sealed"] != old["sealed"]


def _with_own_sealing(
    old: State, committed: State, new: State, ours: list[Entry], written: list[Interval]
) -> tuple[list[Entry], bool]:
    """Our entries, and whether we seal: what goes further than others did is kept.

    Behind the byte up to which they sealed they wrote nothing, but may have written in the page where that byte lies.
    """
    if not _sealed(old, new) or new["shaped"] != old["shaped"]:
        return ours, False
    done = committed["sealed"]
    page = done // PAGE
    if new["sealed"] > done and not (done % PAGE and meets(written, page, page + 1)):
        return [(n, t, k, clip(runs, page, _LAST) if k == SEAL else runs) for n, t, k, runs in ours], True
    return [entry for entry in ours if entry[2] != SEAL], False


def _unfolded(passed: list[Passed], entries: list[Entry]) -> list[Entry]:
    last = passed[-1][0] if passed else -1
    return [entry for entry in entries if entry[0] > last]


def _conflict(why: str) -> NoReturn:
    raise ConflictError(f"{why}: retry the transaction")


def _oid(reference: Any) -> Any:
    """What identifies a persistent reference: of an object its `_p_oid`, of a resolver's reference its `oid`."""
    return None if reference is None else getattr(reference, "oid", None) or reference._p_oid


def painted(entries: list[Entry]) -> list[Run]:
    """What the log says, the later entries over the earlier ones."""
    runs: list[Run] = []
    for _, _, _, more in entries:
        runs = over(runs, more) if runs else more
    return runs


def over(below: list[Run], above: list[Run]) -> list[Run]:
    """`paint` for a few runs over many."""
    if len(above) > MOST_INTERVALS:
        return paint(below, above)
    for run in above:
        below = replaced(below, run[0], run[0] + run[1], [run])
    return below
