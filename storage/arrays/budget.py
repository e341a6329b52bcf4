"""How much memory changed pages may take before they are spilled to a file.

Written pages are anonymous memory of this process. At storage calls (a slice, an assignment, an append) the pages
that a connection's arrays have gathered are counted, and written to the transaction's own files when they are too
many. Counting asks the kernel, so it is done only when the process has really grown.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import UsageError

if TYPE_CHECKING:
    from wendelin.storage.arrays.memory import ArrayMemory

#: Of what the machine, or the cgroup of this process, has.
SHARE = 4

#: Bytes that a transaction may gather in any case.
LEAST = 16 << 20

#: Bytes that one operation may work on in any case.
LEAST_STEP = 64 * PAGE

#: Bytes that are not worth asking how many there may be.
_FEW = 1 << 16

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


_found: dict[str | None, int] = {}


def memory_budget() -> int:
    """Bytes of anonymous memory for changed pages: `$WENDELIN_MEMORY_BUDGET` ("512MB"), else a quarter of what
    the machine, or the cgroup of this process, has.
    """
    named = os.environ.get("WENDELIN_MEMORY_BUDGET")
    if named not in _found:
        _found[named] = _bytes(named) if named else max(available() // SHARE, LEAST)
    return _found[named]


def step() -> int:
    """Bytes that one operation on a whole array works on at a time."""
    return max(memory_budget() // 8 // PAGE * PAGE, LEAST_STEP)


def available() -> int:
    """Bytes of memory that this process may have at most."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_cgroup_limits()])


def _cgroup_limits() -> Iterable[int]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    roots: tuple[str, ...]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots, name = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), "memory.max"
        elif "memory" in controllers.split(","):
            roots, name = ("/sys/fs/cgroup/memory",), "memory.limit_in_bytes"
        else:
            continue
        folder = Path(path)
        for part in (folder, *folder.parents):  # a parent may allow less
            for root in roots:
                try:
                    yield int(Path(f"{root}{part}", name).read_text())
                except (OSError, ValueError):  # not there, or "max"
                    continue


def _bytes(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, flags=re.IGNORECASE)
    if not found or not float(found[1]):
        raise UsageError(f"WENDELIN_MEMORY_BUDGET={text!r} is no number of bytes: write it as 512MB or 4GB")
    return max(int(float(found[1]) * _UNITS[found[2].lower()]), 1 << 20)


def anonymous() -> int:
    """Bytes of anonymous memory this process has now, roughly."""
    resident, shared = Path("/proc/self/statm").read_bytes().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


_spillers: weakref.WeakSet[Spiller] = weakref.WeakSet()


class Spiller:
    """Looks after the changed pages of some arrays that belong to one thread at a time.

    `memories` gives them. Together with the others of this process it keeps within `memory_budget()`, as far as
    storage calls let it.
    """

    def __init__(self, memories: Callable[[], Iterable[ArrayMemory]]) -> None:
        self._memories = memories
        self._handed = 0
        self._seen = 0
        self.busy = False
        _spillers.add(self)

    def handed_out(self, nbytes: int) -> None:
        """A writable slice was given. Spills first what earlier ones have gathered, when that is much."""
        self._handed += nbytes
        if self._handed < _FEW:
            return
        share = self._share()
        if self._handed < share // 4:
            return
        self._handed = 0
        self.busy = True
        now = anonymous()
        if now - self._seen < share // 4:
            self._seen = min(self._seen, now)
            return
        self._spill(share // 4)
        self._seen = anonymous()

    def settled(self) -> None:
        """The transaction ended: nothing is gathered any more."""
        self._handed, self.busy = 0, False
        self._seen = 0

    def _share(self) -> int:
        return memory_budget() // max(sum(spiller.busy for spiller in list(_spillers)), 1)

    def _spill(self, limit: int) -> None:
        dirty = [(memory, memory.dirty()) for memory in self._memories() if memory.written.handed_out]
        if sum(hi - lo for _, pages in dirty for lo, hi in pages) * PAGE > limit:
            for memory, pages in dirty:
                memory.spill(pages)
