"""The log of an extent map: plain values in memory, bytes as they are stored.

A pickler that looks for persistent references asks at every single number, so a record holds its numbers as bytes. A
ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import itertools
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from wendelin.storage.arrays.runs import Interval, Run

#: Kinds of entries: what a program changed; bytes of the tail that got their fixed place; bytes that were moved.
WRITE, SEAL, MOVE = 0, 1, 2

#: (number, token, kind, runs): one transaction's changes. Numbers count, tokens are random.
Entry = tuple[int, int, int, list[Run]]

#: (number, blocks written, blocks sealed): of the entries that were folded, that one was the last to touch them.
Passed = tuple[int, list[Interval], list[Interval]]

#: What was folded: as a list, or as it is stored.
Summary = list[Passed] | bytes | tuple[bytes]

State = dict[str, Any]

#: Number and bytes of a patch (see `wendelin.storage.arrays.patches`).
_PATCH = struct.Struct("<qI")


def packed(state: State, log: bytes | None = None) -> State:
    """A state as it is stored: the log, the tail and the numbers of segments as bytes. `log`: if it is known."""
    numbers = [number for number, segment in state["segments"].items() if not isinstance(segment, bytes)]
    return {
        **state,
        "entries": packed_entries(state["entries"]) if log is None else log,
        "passed": packed_summary(state["passed"]),
        "tail": _bytes_of(itertools.chain.from_iterable(state["tail"])),
        "segments": (_bytes_of(numbers), [state["segments"][number] for number in numbers]),
        "patches": b"".join(
            _PATCH.pack(number, len(patch)) + patch
            for number, patch in state["segments"].items()
            if isinstance(patch, bytes)
        ),
    }


def upgraded(state: State) -> State:
    """A stored state of any version as one of today, unpacked. Issue 2 kept one list of runs, no log and no tail."""
    if "entries" in state:
        return _unpacked(state) if isinstance(state["entries"], bytes) else state
    recent = state["recent"]
    return {
        "pages_per_block": state["pages_per_block"],
        "number": 1 if recent else 0,
        "entries": [(1, 0, WRITE, recent)] if recent else [],
        "passed": [],
        "segments": state["segments"],
        "base": state["base"],
        "tail": [],
        "sealed": None,
        "rows": None,
        "shaped": 0,
        "reshaped": False,
    }


def _unpacked(state: State) -> State:
    log = _ints_of(state["entries"])
    entries: list[Entry] = []
    at = 0
    while at < len(log):
        number, token, kind, size = log[at : at + 4]
        entries.append((number, token, kind, _tuples(log[at + 4 : at + 4 + 4 * size], 4)))
        at += 4 + 4 * size
    numbers, references = state["segments"]
    rest = {name: value for name, value in state.items() if name != "patches"}
    return {
        **rest,
        "entries": entries,
        "tail": _tuples(_ints_of(state["tail"]), 3),
        "segments": {
            **dict(zip(_ints_of(numbers), references, strict=True)),
            **dict(pieces(_PATCH, state.get("patches", b""))),
        },
    }


def packed_entries(entries: Iterable[Entry]) -> bytes:
    """Entries as bytes; those of two lists, one behind the other, are those of the joined list."""
    log: list[int] = []
    for number, token, kind, runs in entries:
        log += [number, token, kind, len(runs), *itertools.chain.from_iterable(runs)]
    return _bytes_of(log)


def packed_summary(passed: Summary) -> Summary:
    """What was folded, as it is stored: a tuple of compressed bytes. It changes rarely, and is looked at rarely."""
    return (zlib.compress(_bytes_of(_flat(passed)), 1),) if passed and isinstance(passed, list) else passed


def unpacked_summary(passed: Summary) -> list[Passed]:
    """What was folded, of any version."""
    if isinstance(passed, list):
        return passed
    return _passed(_ints_of(passed if isinstance(passed, bytes) else zlib.decompress(passed[0])))


def _flat(passed: list[Passed]) -> Iterator[int]:
    for number, written, sealed in passed:
        yield from (number, len(written), len(sealed))
        yield from itertools.chain.from_iterable([*written, *sealed])


def pieces(head: struct.Struct, raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Pieces that stand one behind the other, each behind a head of its number and its length."""
    at = 0
    while at < len(raw):
        number, length = head.unpack_from(raw, at)
        at += head.size
        yield number, raw[at : at + length]
        at += length


def _passed(numbers: list[int]) -> list[Passed]:
    out: list[Passed] = []
    at = 0
    while at < len(numbers):
        number, written, sealed = numbers[at : at + 3]
        intervals = _tuples(numbers[at + 3 : at + 3 + 2 * (written + sealed)], 2)
        out.append((number, intervals[:written], intervals[written:]))
        at += 3 + 2 * (written + sealed)
    return out


def _bytes_of(numbers: Iterable[int]) -> bytes:
    values = array("q", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _ints_of(raw: bytes) -> list[int]:
    values = array("q", raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def _tuples(numbers: list[int], size: int) -> list[Any]:
    return list(zip(*(numbers[i::size] for i in range(size)), strict=True))
