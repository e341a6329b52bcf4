"""The memory of arrays that no database has yet: it spills like that of a connection when it outgrows the budget."""

from __future__ import annotations

import threading
import weakref

from wendelin.storage.arrays.budget import Spiller
from wendelin.storage.arrays.memory import ArrayMemory


class _Thread(threading.local):
    def __init__(self) -> None:
        self.memories: weakref.WeakSet[ArrayMemory] = weakref.WeakSet()
        self.spiller = Spiller(lambda: [memory for memory in self.memories if memory.origin is None])


_thread = _Thread()


def memory(nbytes: int, pages_per_block: int) -> ArrayMemory:
    """Addresses for a new array."""
    made = ArrayMemory(nbytes, pages_per_block)
    _thread.memories.add(made)
    return made


def handed_out(nbytes: int) -> None:
    """A writable slice of `nbytes` is about to be given, or written to."""
    _thread.spiller.handed_out(nbytes)
