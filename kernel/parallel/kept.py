"""Finished batches in the database, for `durable=True`: `root()["joblib"][key]` maps the hash of a task to its batch.

A batch is stored in one transaction of its own, by the process that called `Parallel`, before joblib hears of it. So a
killed run loses the batches that were under way, and nothing else. Results that are views of persistent arrays are
kept as references: they open until the database is packed to a later time and the array has changed.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.POSException import ConflictError

from wendelin.kernel.parallel.keys import Keys
from wendelin.kernel.parallel.pickling import dumps, loads
from wendelin.storage.database.connect import connect

if TYPE_CHECKING:
    from wendelin.kernel.parallel.calls import Job

ROOT = "joblib"

#: Bytes of a result from which on it is a file of its own.
LARGE = 1 << 20

_ATTEMPTS = 10


class Kept:
    """The kept results of one key. Safe in threads; it has a connection and transactions of its own."""

    def __init__(self, key: str, url: str | None = None) -> None:
        self._key = key
        self._keys = Keys()
        self._lock = threading.Lock()
        self._manager = transaction.TransactionManager(explicit=False)
        self._connection = connect(url, transaction_manager=self._manager)

    def find(self, job: Job) -> list[int]:
        """Give a job what is kept of it; the numbers of those tasks that are to be run."""
        with self._lock:
            job.keys = [self._keys.of(*item) for item in job.items]
            kept = self._tree()
            batches = {key: kept.get(key) for key in job.keys} if kept is not None else {}
            found = {number: loads(_read(batches[key][key])) for number, key in enumerate(job.keys) if batches.get(key)}
        for number, result in found.items():
            job.results[number] = result
        job.missing -= len(found)
        return [number for number in range(len(job.keys)) if number not in found]

    def store(self, keys: list[str], results: list[Any]) -> None:
        """Keep results, durably when this returns. Raises what a commit raises, conflicts only after many attempts."""
        data = [dumps(result)[0] for result in results]
        with self._lock:
            for attempt in range(_ATTEMPTS):
                try:
                    self._put(keys, data)
                    self._manager.commit()
                    return
                except ConflictError:
                    self._manager.abort()
                    if attempt + 1 == _ATTEMPTS:
                        raise
                except BaseException:
                    self._manager.abort()
                    raise

    def close(self) -> None:
        with self._lock:
            self._manager.abort()
            with suppress(KeyError):
                self._connection.close()

    def _tree(self) -> Any:
        self._manager.begin()
        trees = self._connection.root().get(ROOT)
        return None if trees is None else trees.get(self._key)

    def _put(self, keys: list[str], data: list[bytes]) -> None:
        kept = self._tree()
        root = self._connection.root()
        if kept is None:
            if ROOT not in root:
                root[ROOT] = OOBTree()
            kept = root[ROOT][self._key] = OOBTree()
        batch = PersistentMapping({key: _written(some) for key, some in zip(keys, data, strict=True)})
        for key in keys:
            kept[key] = batch


def _written(data: bytes) -> Any:
    if len(data) < LARGE:
        return data
    blob = Blob()
    with blob.open("w") as file:
        file.write(data)
    return blob


def _read(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    with value.open("r") as file:
        return bytes(file.read())


def forget(key: str, url: str | None = None) -> int:
    """Drop what is kept under a key, durably when this returns; how many results that were."""
    manager = transaction.TransactionManager()
    connection = connect(url, transaction_manager=manager)
    try:
        trees = connection.root().get(ROOT)
        kept = None if trees is None else trees.pop(key, None)
        count = 0 if kept is None else len(kept)
        manager.commit()
        return count
    finally:
        manager.abort()
        connection.close()
