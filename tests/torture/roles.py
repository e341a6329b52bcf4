"""What the processes of a torture do until they are killed: write blocks, append rows, read, pack."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, POSKeyError, StorageError

import wendelin
from tests.torture import invariants, refusals
from tests.torture.invariants import Promises
from tests.torture.recorded import instrument
from wendelin.storage.database.connection import Connection
from wendelin.storage.errors import DamagedSegmentError, UnavailableError

HISTORY = 5.0
"""Seconds of history that packers leave; whoever reads a snapshot that is older may miss something."""


def transient(url: str) -> tuple[type[BaseException], ...]:
    """What a client of `url` may meet while servers are killed; it aborts and goes on."""
    if not url.startswith("postgresql:"):
        return UnavailableError, TransientError
    import psycopg2

    # A load whose connection broke raises the driver's own error.
    return UnavailableError, TransientError, psycopg2.Error, StorageError


class Role:
    """One process. `step` is a transaction; it runs in a forked child, for ever."""

    def __init__(self, place: Path, url: str, name: str, slot: int, sabotage: str, seed: int) -> None:
        self.place, self.url, self.name, self.slot = place, url, name, slot
        self.number = int(name.partition("-")[2])
        self.random = random.Random(seed)
        self.sabotage = sabotage
        self.promises = Promises(place, name)
        self.acknowledged = self.promises.last("ok")
        self.unsure = True  # whether all that was tried is stored, or still on its way
        self._patient = transient(url)

    def run(self) -> None:
        """Never returns: killed, or ended by a violation that it reports."""
        logging.disable(logging.CRITICAL)  # killed servers are what this is about
        try:
            owner = instrument(self.place, self.slot, self.sabotage).owner(self.slot)
            for phase, name in (
                ("flush", "beforeCompletion"),
                ("store", "commit"),
                ("vote", "tpc_vote"),
                ("finish", "tpc_finish"),
                ("remap", "afterCompletion"),
            ):
                owner.during(phase, Connection, name)
            connection = self._patiently(lambda: wendelin.connect(self.url))
            while True:
                self._patiently(lambda: self.step(connection))
        except BaseException:  # noqa: BLE001 (the torture reads it)
            with (self.place / "violations").open("a") as report:
                report.write(f"{self.name}: {traceback.format_exc()}\n")
            os._exit(3)

    def _patiently(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except self._patient as error:
                if isinstance(error, ConflictError):
                    self.promises.note("conflict", refusals.told(error, after_a_kill=self.unsure))
                else:
                    self.unsure = True
                with contextlib.suppress(*self._patient):
                    transaction.abort()
                time.sleep(0.005)

    def step(self, connection: Any) -> None:
        raise NotImplementedError

    def next(self, root: Any) -> int:
        """The number of the next transaction: one above the last one that is stored, acknowledged or not."""
        stored = root.get(self.name, 0)
        assert stored >= self.acknowledged, f"transaction {self.acknowledged} was acknowledged, {stored} is the last"
        self.promises.note("try", stored + 1)
        return int(stored) + 1

    def committed(self, number: int) -> None:
        self.promises.note("ok", number)
        self.acknowledged = number
        self.unsure = False


class Writer(Role):
    """Changes its own block, one value and a name in one transaction, whose number is one above the last."""

    def step(self, connection: Any) -> None:
        transaction.begin()
        number = self.next(connection.root())
        invariants.change(connection.root(), self.number, number)
        transaction.commit()
        self.committed(number)


class Appender(Role):
    """Appends a few rows, sometimes many."""

    def step(self, connection: Any) -> None:
        transaction.begin()
        number = self.next(connection.root())
        count = self.random.choice((1, 2, 3, 5, 7, 700))
        invariants.append(connection.root(), self.number, number, count)
        transaction.commit()
        self.committed(number)


class Reader(Role):
    """Looks whether what it sees is one snapshot, and whether it ever goes backwards."""

    seen = 0

    def step(self, connection: Any) -> None:
        began = time.monotonic()
        try:
            transaction.begin()
            rows = connection.root()["rows"]
            length = len(rows[...])
            assert length >= self.seen, f"{self.seen} rows were there, now {length}"
            self.seen = length
            invariants.check_rows(rows[max(0, length - 3000) :], whole=length <= 3000)
            for writer in range(connection.root()["blocks"].shape[0] // invariants.BLOCK):
                invariants.last_written(connection.root(), writer)
        except (POSKeyError, DamagedSegmentError):
            if time.monotonic() - began < HISTORY - 1:
                raise
        transaction.abort()


class Packer(Role):
    """Throws history away."""

    def step(self, connection: Any) -> None:
        transaction.begin()
        try:
            connection.db().pack(time.time() - HISTORY)
        except Exception as error:
            # The one before was killed, its server still packs.
            if "packing" not in str(error) and "pack or undo" not in str(error):
                raise
        time.sleep(self.random.random() / 2)


ROLES: dict[str, type[Role]] = {"writer": Writer, "appender": Appender, "reader": Reader, "packer": Packer}
