"""Conflict resolution on plain values, as a ZEO server does it: what two transactions did must both be there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.POSException import ConflictError

from wendelin.storage.arrays.extents import Extents, resolve
from wendelin.storage.arrays.log import (
    MOVE,
    SEAL,
    WRITE,
    Passed,
    longer_summary,
    packed,
    packed_summary,
    unpacked_summary,
    upgraded,
)
from wendelin.storage.arrays.merge import EXACT_INTERVALS, MOST_INTERVALS, summary
from wendelin.storage.arrays.runs import PAGE, Run, paint
from wendelin.storage.arrays.tail import Assembled

PER_BLOCK = 4


@pytest.fixture(autouse=True)
def detector() -> None:
    """Nothing here touches memory: once is enough."""


class Reference:
    """A persistent reference as a resolver sees it: it has an oid and cannot be compared."""

    def __init__(self, oid: str) -> None:
        self.oid = oid

    def __eq__(self, other: object) -> bool:
        raise ValueError("references cannot be compared")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self.oid


ASSEMBLED: dict[int, Assembled] = {}


def first_byte(number: int | None) -> int | None:
    """The segment of a page's first byte: a page that was written and then sealed with what follows has two."""
    return ASSEMBLED[number].parts[0].segment if number in ASSEMBLED else number


class Map:
    """An extent map beside what it must say: of each byte, which segment has it where (None: zero)."""

    numbers = iter(range(1, 1 << 60))

    def __init__(self) -> None:
        self.extents = Extents(PER_BLOCK, 0)
        self.extents.settle(0)
        self.appended: list[tuple[int, int]] = []  # (segment, bytes), in their order
        self.written: dict[int, int] = {}  # page → segment

    def branch(self) -> Map:
        other = Map()
        other.extents.__setstate__(copied(self.extents))
        other.appended, other.written = list(self.appended), dict(self.written)
        return other

    def append(self, nbytes: int) -> None:
        number = next(self.numbers)
        before = self.extents.stored
        assert before is not None
        self.extents.grow(nbytes, before)
        self.extents.append([(number, 7, nbytes)], {number: Reference(f"s{number}")})
        self.appended.append((number, nbytes))

    def write(self, page: int) -> None:
        """Change a page below the tail, or in it: then the tail gets its place, as a commit has it."""
        stored, sealed = self.extents.stored, self.extents.sealed
        assert stored is not None
        assert sealed is not None
        if page >= -(-stored // PAGE):
            return
        if self.extents.tail and page >= sealed // PAGE:
            self.seal(touching=page)
        number = next(self.numbers)
        self.extents.write([(page, 1, number, 0)], {number: Reference(f"s{number}")})
        self.written[page] = number

    def seal(self, touching: int | None = None) -> None:
        extents = self.extents
        assert extents.sealed is not None
        if not extents.tail:
            return
        lo, hi = extents.sealed // PAGE, -(-(extents.stored or 0) // PAGE)
        runs, sources = extents.layout(lo, hi)
        ASSEMBLED.update({number: some for number, some in sources.items() if isinstance(some, Assembled)})
        extents.seal(runs, sources, (extents.stored or 0) - extents.sealed)

    def fold(self, name: str) -> None:
        extents = self.extents
        extents.passed = summary(extents.passed, extents.entries, PER_BLOCK)
        base: Any = Base(name, paint(runs_of(extents.base), extents.log))
        extents.base = base
        extents.entries = []
        extents._name({})

    def says(self) -> tuple[int | None, list[tuple[int, int]], dict[int, int]]:
        """Rows, appended segments in order, and the segment of each page that was written."""
        return self.extents.rows, self.appended, self.written


class Base(Reference):
    """The base of an extent map, which a resolver cannot look into."""

    def __init__(self, oid: str, runs: list[Run]) -> None:
        super().__init__(oid)
        self.runs = runs
        self.segments = {run[2]: Reference(f"s{run[2]}") for run in runs}
        self._p_oid = oid.encode()

    def chunks_within(self, lo: int, hi: int) -> list[Base]:
        return [self]

    def __deepcopy__(self, memo: Any) -> Base:
        return self


def runs_of(base: Any) -> list[Run]:
    return [] if base is None else base.runs


def copied(extents: Extents) -> dict[str, Any]:
    """As it is stored: bytes and references."""
    state = packed({name: value for name, value in extents.__dict__.items() if not name.startswith("_")})
    *plain, references, base = state["packed"]
    return {"packed": (*plain, list(references), base)}


def bytes_of(state: dict[str, Any]) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """What a merged state says: segments of the appended bytes in order, and the segment that each page shows."""
    state = upgraded(state)
    runs = runs_of(state["base"])
    for _, _, _, more in state["entries"]:
        runs = paint(runs, more)
    shown = {page: run[2] for run in runs for page in range(run[0], run[0] + run[1])}
    return [(piece[0], piece[2]) for piece in state["tail"]], shown


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3 * PAGE)),
        st.tuples(st.just("write"), st.integers(0, 30)),
        st.tuples(st.just("seal"), st.just(0)),
        st.tuples(st.just("fold"), st.just(0)),
    ),
    max_size=12,
)


few_operations = st.lists(st.tuples(st.sampled_from(["append", "write"]), st.integers(1, 30)), max_size=6)


def do(target: Map, what: list[tuple[str, int]], name: str) -> None:
    for step, (operation, value) in enumerate(what):
        if operation == "fold":
            target.fold(f"{name}{step}-{next(Map.numbers)}")
        elif operation == "seal":
            target.seal()
        else:
            getattr(target, operation)(value)


@settings(max_examples=300)
@given(
    operations, operations, st.lists(st.tuples(st.sampled_from(["append", "write"]), st.integers(1, 30)), max_size=6)
)
def test_what_both_transactions_did_is_there_or_it_conflicts(before, theirs, ours):
    """`theirs` may be many transactions with folding and sealing, `ours` is one."""
    start = Map()
    do(start, [("append", 5 * PAGE + 100), *before], "a")
    old = copied(start.extents)
    other, mine = start.branch(), start.branch()
    do(other, theirs, "b")
    written = [page for operation, page in ours if operation == "write" and page * PAGE < (mine.extents.stored or 0)]
    appended = [n for operation, n in ours if operation == "append"]
    if appended and not written:
        mine.seal()  # an appender may tidy up
    for page in written:
        mine.write(page)
    for n in appended:
        mine.append(n)
    try:
        merged = upgraded(resolve(old, copied(other.extents), copied(mine.extents)))
    except ConflictError:
        assert written, "who only appends never conflicts"
        return
    fresh = [item for item in mine.appended if item not in start.appended]
    assert merged["rows"] == sum(n for _, n in other.appended) + sum(n for _, n in fresh)
    assert (merged["sealed"] or 0) + sum(n for _, _, n in merged["tail"]) == merged["rows"]
    tail = [(number, n) for number, _, n in merged["tail"]]
    everything = [*other.appended, *fresh]
    last = everything[len(everything) - len(tail) :]
    assert [number for number, _ in tail] == [number for number, _ in last]
    assert tail[1:] == last[1:], "only the first piece may be cut by what was sealed"
    _, shown = bytes_of(merged)
    for page, number in {**other.written, **{p: mine.written[p] for p in written if p in mine.written}}.items():
        found = shown.get(page)
        while found in ASSEMBLED:
            found = first_byte(found)
        assert found == number, f"page {page}"


def state(entries: list[Any], **more: Any) -> dict[str, Any]:
    segments = {run[2]: Reference(f"s{run[2]}") for _, _, _, runs in entries for run in runs if run[2] > 0}
    plain = {"passed": [], "tail": [], "sealed": 10 * PAGE, "rows": 10, "shaped": 0, "reshaped": False, "base": None}
    number = max((entry[0] for entry in entries), default=0)
    return {"pages_per_block": PER_BLOCK, "number": number, "entries": entries, "segments": segments, **plain, **more}


def test_different_blocks_merge():
    old = state([(1, 11, WRITE, [(0, 8, 1, 0)])])
    theirs = state([(1, 11, WRITE, [(0, 8, 1, 0)]), (2, 12, WRITE, [(0, 1, 2, 0)])])
    ours = state([(1, 11, WRITE, [(0, 8, 1, 0)]), (2, 13, WRITE, [(7, 1, 3, 0)])])
    merged = upgraded(resolve(old, theirs, ours))
    assert [(entry[0], entry[1]) for entry in merged["entries"]] == [(1, 11), (2, 12), (3, 13)]
    assert {number: reference.oid for number, reference in merged["segments"].items()} == {1: "s1", 2: "s2", 3: "s3"}


@pytest.mark.parametrize("theirs", [[(3, 1, 2, 0)], [(0, 8, 0, 0)]])
def test_the_same_block_conflicts(theirs):
    with pytest.raises(ConflictError, match="same block"):
        resolve(state([]), state([(1, 1, WRITE, theirs)]), state([(1, 2, WRITE, [(0, 1, 3, 0)])]))


def test_what_was_moved_gives_way_to_what_was_written():
    old = state([(1, 1, WRITE, [(0, 8, 1, 0)])])
    theirs = state([*old["entries"], (2, 2, WRITE, [(3, 1, 2, 0)])])
    ours = state([*old["entries"], (2, 3, MOVE, [(0, 8, 3, 0)])])
    merged = upgraded(resolve(old, theirs, ours))
    assert [entry[1] for entry in merged["entries"]] == [1, 2]
    merged = upgraded(resolve(old, ours, theirs))
    assert [entry[1] for entry in merged["entries"]] == [1, 3, 2]


def test_both_folded_the_log_and_both_results_are_there():
    entries = [(1, 1, WRITE, [(0, 1, 1, 0)])]
    old = state(entries)
    passed: list[Passed] = [(1, [(0, 1)], [])]
    theirs = state([(2, 2, WRITE, [(4, 1, 2, 0)])], base=Reference("theirs"), passed=passed)
    ours = state([(2, 3, WRITE, [(8, 1, 3, 0)])], base=Reference("ours"), passed=passed)
    merged = upgraded(resolve(old, theirs, ours))
    assert merged["base"].oid == "theirs"
    assert [entry[:2] for entry in merged["entries"]] == [(2, 2), (3, 3)]
    with pytest.raises(ConflictError, match="same block"):
        resolve(old, theirs, state([(2, 3, WRITE, [(5, 1, 3, 0)])], base=Reference("ours"), passed=passed))


def test_what_was_folded_long_ago_still_conflicts():
    many = EXACT_INTERVALS + 200
    passed: list[Passed] = []
    for k in range(1, many, 64):
        passed = summary(passed, [(n, n, WRITE, [(8 * n, 1, n, 0)]) for n in range(k, k + 64)], PER_BLOCK)
        assert len(passed) < EXACT_INTERVALS + 12
        assert sum(len(blocks) for _, blocks, _ in passed) < EXACT_INTERVALS + 12 * MOST_INTERVALS
    last = passed[-1][0]
    old = state([], number=0)
    theirs = state([], number=last, passed=passed, base=Reference("b"))
    for k in (1, 10, 150, last):
        with pytest.raises(ConflictError, match="same block"):
            resolve(old, theirs, state([(1, 5, WRITE, [(8 * k, 1, 900, 0)])]))
    for block in (1, 2 * last - 1, 2 * last + 1):
        merged = upgraded(resolve(old, theirs, state([(1, 5, WRITE, [(4 * block, 1, 900, 0)])])))
        assert merged["number"] == last + 1


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 90), st.integers(1, 3)), max_size=3))),
        max_size=6,
    )
)
def test_a_summary_that_grows_is_stored_and_read_as_it_is(additions):
    said: list[Passed] = []
    stored: Any = []
    number = 0
    for addition in additions:
        more: list[Passed] = []
        for step, blocks in addition:
            number += step
            more.append((number, [(lo, lo + length) for lo, length in blocks], [(number, number + 1)]))
        stored, said = longer_summary(stored, more), said + more
        assert unpacked_summary(stored) == said
        assert unpacked_summary(packed_summary(said)) == said


def test_who_set_patches_aside_merges_with_who_did_not():
    entries = [(n, n, WRITE, [(8 * n, 1, n, 0)]) for n in range(1, 4)]
    patches = dict.fromkeys(range(1, 6), b"patch")
    old = state(entries, segments={n: patches[n] for n in range(1, 4)})
    aside = longer_summary([], [(n, [(2 * n, 2 * n + 1)], []) for n in range(1, 4)])
    ours = state([(4, 4, WRITE, [(80, 1, 4, 0)])], segments={4: patches[4]}, base=Reference("aside"), passed=aside)
    theirs = state([*entries, (4, 5, WRITE, [(90, 1, 5, 0)])], segments={n: patches[n] for n in (1, 2, 3, 5)})
    for committed, new in ((ours, theirs), (theirs, ours)):
        merged = upgraded(resolve(old, committed, new))
        assert merged["base"].oid == "aside"
        assert {entry[1] for entry in merged["entries"]} == {4, 5}
        assert merged["segments"] == {4: b"patch", 5: b"patch"}
        with pytest.raises(ConflictError, match="same block"):
            resolve(state([], number=2), merged, state([(3, 9, WRITE, [(25, 1, 9, 0)])], number=3))


def test_writers_of_two_blocks_merge_whenever_they_began_and_however_often_the_log_was_folded():
    """What was folded together was once taken for done since any of its transactions."""
    passed: list[Passed] = []
    for k in range(1, 2000, 64):
        numbers = range(k, k + 64)
        passed = summary(passed, [(n, n, WRITE, [(8 * (n % 2), 1, n, 0)]) for n in numbers], PER_BLOCK)
        last = numbers[-1]
        theirs = state([], number=last + 50, passed=passed, base=Reference("b"))
        theirs["entries"] = [(n, n, WRITE, [(0, 1, n, 0)]) for n in range(last + 1, last + 51)]
        theirs["segments"] = {n: Reference(f"s{n}") for n in range(last + 1, last + 51)}
        for began in range(last - 1, last + 49):
            old = state([], number=began)
            ours = state([(began + 1, 5, WRITE, [(8, 1, 9000, 0)])], number=began + 1)
            assert upgraded(resolve(old, theirs, ours))["number"] == last + 51
        with pytest.raises(ConflictError, match="same block"):
            resolve(state([], number=last - 2), theirs, state([(last - 1, 5, WRITE, [(8, 1, 9, 0)])], number=last - 1))


@given(st.lists(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([WRITE, SEAL])), max_size=8), max_size=8))
def test_a_summary_says_of_each_block_who_touched_it_last(folds):
    passed: list[Passed] = []
    touched: list[tuple[int, int, int]] = []
    number = 0
    for blocks in folds:
        entries = []
        for block, kind in blocks:
            number += 1
            entries.append((number, number, kind, [(block * PER_BLOCK + block % PER_BLOCK, 1, number, 0)]))
            touched.append((number, kind, block))
        passed = summary(passed, entries, PER_BLOCK)
        assert not entries or passed[-1][0] == number
    for began in range(number + 1):
        for kind in (WRITE, SEAL):
            since = {block for n, k, block in touched if k == kind and n > began}
            mentioned = [wrote if kind == WRITE else sealed for last, wrote, sealed in passed if last > began]
            said = {block for intervals in mentioned for lo, hi in intervals for block in range(lo, hi)}
            assert said == since


@pytest.mark.parametrize(
    ("committed", "new"),
    [
        ({"number": 0, "entries": []}, {}),
        ({"entries": [(1, 99, WRITE, [])]}, {}),
        ({"tail": []}, {}),
        ({}, {"number": 0, "entries": []}),
    ],
)
def test_a_state_that_was_undone_is_nothing_to_merge_with(committed, new):
    old = state([(1, 11, WRITE, [(0, 1, 1, 0)])], tail=[(7, 0, 10)])
    old["segments"][7] = Reference("s7")
    with pytest.raises(ConflictError, match=r"undone|undid"):
        resolve(old, {**old, **committed}, {**old, **new})


def test_two_changes_of_the_shape_conflict_and_so_does_an_append():
    old = state([])
    grown = {**old, "rows": 12, "tail": [(7, 0, 10)], "segments": {7: Reference("s7")}}
    shaped = {**old, "rows": 5, "shaped": 5, "sealed": 5 * PAGE}
    with pytest.raises(ConflictError, match="appended while"):
        resolve(old, grown, shaped)
    with pytest.raises(ConflictError, match="shape was changed"):
        resolve(old, shaped, grown)
    with pytest.raises(ConflictError, match="both"):
        resolve(old, shaped, {**shaped, "shaped": 6})


def test_a_sealed_tail_conflicts_only_with_who_wrote_there():
    old = state([], tail=[(7, 0, 2 * PAGE)], segments={7: Reference("s7")}, rows=12)
    seal = (1, 5, SEAL, [(10, 2, 7, 0)])
    theirs = state([seal], sealed=12 * PAGE, rows=12)
    ours = {
        **old,
        "tail": [*old["tail"], (8, 0, 100)],
        "rows": 13,
        "segments": {7: Reference("s7"), 8: Reference("s8")},
    }
    assert upgraded(resolve(old, theirs, ours))["tail"] == [(8, 0, 100)]
    both = {**ours, "entries": [seal], "number": 1, "sealed": 12 * PAGE, "tail": [(8, 0, 100)]}
    merged = upgraded(resolve(old, theirs, both))
    assert (merged["tail"], len(merged["entries"])) == ([(8, 0, 100)], 1)
    wrote = {**both, "entries": [seal, (2, 6, WRITE, [(10, 1, 9, 0)])], "number": 2}
    wrote["segments"] = {**both["segments"], 9: Reference("s9")}
    merged = upgraded(resolve(old, theirs, wrote))
    assert [entry[2] for entry in merged["entries"]] == [SEAL, WRITE]


def test_sealing_goes_on_where_the_other_transaction_ended():
    """It began before an append that this one has seen; both wrote, each in a block of its own."""
    old = state([], tail=[(7, 0, 6 * PAGE), (8, 0, 6 * PAGE + 10)], segments={7: Reference("s7"), 8: Reference("s8")})
    seal = (1, 5, SEAL, [(10, 6, 7, 0)])
    theirs = state([seal, (2, 5, WRITE, [(10, 1, 9, 0)])], sealed=16 * PAGE, tail=[(8, 0, 6 * PAGE + 10)])
    theirs["segments"][8] = Reference("s8")
    whole = (1, 6, SEAL, [(10, 6, 7, 0), (16, 7, 8, 0)])
    ours = state([whole, (2, 7, WRITE, [(22, 1, 6, 0)])], sealed=22 * PAGE + 10)
    merged = upgraded(resolve(old, theirs, ours))
    assert [entry[2:] for entry in merged["entries"]] == [
        (SEAL, [(10, 6, 7, 0)]), (WRITE, [(10, 1, 9, 0)]), (SEAL, [(16, 7, 8, 0)]), (WRITE, [(22, 1, 6, 0)]),
    ]  # fmt: skip
    assert (merged["sealed"], merged["tail"]) == (22 * PAGE + 10, [])


def test_the_page_in_which_the_array_ended_conflicts_only_when_more_was_sealed_there():
    old = state([], sealed=10 * PAGE + 100)
    wrote = state([(1, 6, WRITE, [(10, 1, 9, 0)])], sealed=10 * PAGE + 100)
    other = state([(1, 7, WRITE, [(9, 1, 9, 0)])], sealed=10 * PAGE + 100)
    appended = {**old, "tail": [(7, 0, 50)], "segments": {7: Reference("s7")}}
    sealed = state([(1, 5, SEAL, [(10, 1, 8, 0)])], sealed=10 * PAGE + 150)
    assert upgraded(resolve(old, appended, wrote))["tail"] == [(7, 0, 50)]
    assert len(upgraded(resolve(old, sealed, other))["entries"]) == 2
    with pytest.raises(ConflictError, match="appended to a page"):
        resolve(old, sealed, wrote)
