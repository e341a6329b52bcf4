"""The memories of all open arrays of this process."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from wendelin.storage.arrays.addresses import count_mappings, mappings_allowed

if TYPE_CHECKING:
    from wendelin.storage.arrays.memory import ArrayMemory

_memories: weakref.WeakSet[ArrayMemory] = weakref.WeakSet()


def add(memory: ArrayMemory) -> None:
    """Count a memory among those of this process, as long as it lives."""
    _memories.add(memory)


def memory_at(address: int) -> ArrayMemory | None:
    """The memory that an address belongs to, None for addresses of other things."""
    for memory in list(_memories):
        if memory.start <= address < memory.start + memory.reserved:
            return memory
    return None


def mappings() -> int:
    """How many mappings the arrays of this process take: about, and exactly when that would be too many."""
    known = list(_memories)
    total = sum(memory.mappings for memory in known)
    if total > mappings_allowed():
        counted = count_mappings([(memory.start, memory.start + memory.reserved) for memory in known])
        for memory, number in zip(known, counted, strict=True):
            memory.mappings = number
        total = sum(counted)
    return total
