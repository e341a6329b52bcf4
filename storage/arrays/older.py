"""Patches that have left the record of an extent map: older entries of its log, in an object of their own.

The record is rewritten at each commit, so it should stay short. What lies here is a part of the log still: it is laid
over the base, and whoever knows the log up to an entry of it knows what has moved since. For merging it counts as
folded (`Extents.passed`), since a resolver loads nothing.

A ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistent import Persistent

from wendelin.storage.arrays.log import Entry, Packer, State, unpacked_log
from wendelin.storage.arrays.patches import Layers
from wendelin.storage.arrays.runs import Run

if TYPE_CHECKING:
    from wendelin.storage.arrays.index import ExtentIndex


class ExtentPatches(Persistent):
    """Entries that name patches only, the patches by their numbers, and the base beneath. Immutable once stored."""

    _v_log: list[Run]
    _v_layers: Layers
    _v_packer: Packer

    def __init__(self, entries: list[Entry], patches: dict[int, bytes], base: ExtentIndex | None) -> None:
        self.entries = entries
        self.patches = patches
        self.base = base

    @property
    def log(self) -> list[Run]:
        """The pages that have patches here, each by the number of its last one."""
        found = self.__dict__.get("_v_log")
        if found is None:
            last = {run[0]: run for _, _, _, runs in self.entries for run in runs}  # a patch is of one page
            found = self._v_log = sorted(last.values())
        return found

    @property
    def layers(self) -> Layers:
        """The patches of each page."""
        found = self.__dict__.get("_v_layers")
        if found is None:
            found = self._v_layers = Layers(self.entries, self.patches)
        return found

    def followed_by(self, entries: list[Entry], patches: dict[int, Any]) -> ExtentPatches:
        """Another such object, with more entries."""
        found = ExtentPatches([*self.entries, *entries], {**self.patches, **patches}, self.base)
        packer = self.__dict__.get("_v_packer")
        if packer is not None:
            found._v_packer = packer.copy()
        return found

    def __getstate__(self) -> State:
        packer = self.__dict__.get("_v_packer")
        if packer is None:
            packer = self._v_packer = Packer()
        entries, patches = packer.packed_log(self.entries, self.patches)
        return {"entries": entries, "patches": patches, "base": self.base}

    def __setstate__(self, state: State) -> None:
        entries, patches = unpacked_log(state["entries"], state["patches"])
        super().__setstate__({"entries": entries, "patches": patches, "base": state["base"]})


ExtentPatches.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
