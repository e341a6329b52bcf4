"""Arrays of a ZODB database, of ours and of wendelin.core's: what both do alike. Python 3.10 runs it too."""

from __future__ import annotations

from typing import Any

import numpy as np
import transaction

from tests.benchmarks.peers.contract import Peer


class Transactional(Peer):
    """A store whose `array` is a ZBigArray in a database with the root that `root` gives."""

    array: Any

    def root(self) -> Any:
        """The root of the open database."""
        raise NotImplementedError

    def scan(self) -> float:
        return float(self.array[:].sum())

    def read(self, place: int) -> float:
        return float(self.array[place])

    def view(self) -> Any:
        return self.array[:]

    def head(self, count: int) -> float:
        return float(self.array[:count].sum())

    def append(self, values: np.ndarray) -> None:
        self.array.append(values)
        transaction.commit()

    def commit_plain(self) -> bool:
        root = self.root()
        root["plain"] = root.get("plain", 0) + 1
        transaction.commit()
        return True
