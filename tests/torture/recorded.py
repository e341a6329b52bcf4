"""The on-demand server as clients of a torture start it: its syncs are noted, it dies where it is told to.

`python -m tests.torture.recorded --folder …`, with the torture's folder in `$WENDELIN_TORTURE` and what is to be taken
out of its commits in `$WENDELIN_SABOTAGE`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ZODB.FileStorage  # its fsync is replaced by name

from tests.torture import refusals
from tests.torture.marks import Marks
from tests.torture.powerloss import SKIPS, Recorder
from wendelin.storage.database import server
from wendelin.storage.database.files import FolderStorage

SLOT = 0
"""The server's, in the memory that all share."""


def instrument(place: Path, slot: int, sabotage: str) -> Marks:
    """Let this process note its syncs in the torture's journal, and die where the torture plans."""
    assert ZODB.FileStorage
    Recorder(place / "journal", SKIPS.get(sabotage, lambda path: False)).install()
    refusals.install(place)
    marks = Marks(place / "marks")
    marks.owner(slot).install()
    return marks


def main() -> int:
    place, sabotage = Path(os.environ["WENDELIN_TORTURE"]), os.environ.get("WENDELIN_SABOTAGE", "")
    owner = instrument(place, SLOT, sabotage).owner(SLOT)
    if sabotage == "vote":
        FolderStorage.tpc_vote = lambda self, transaction: None  # type: ignore[method-assign]
    for phase, name in (("store", "store"), ("store", "storeBlob"), ("vote", "tpc_vote"), ("finish", "tpc_finish")):
        owner.during(phase, FolderStorage, name)
    owner.during("pack", FolderStorage, "pack")
    return server.main()


if __name__ == "__main__":
    sys.exit(main())
