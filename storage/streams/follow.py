"""What others append to a stream, as they commit it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from transaction import TransactionManager

from wendelin.storage.database.watch import watch
from wendelin.storage.errors import NotStoredError

if TYPE_CHECKING:
    from wendelin.storage.streams.stream import ByteStream

#: Bytes that one step gives at most.
PIECE = 1 << 20


def follow(stream: ByteStream, at: int, timeout: float | None) -> Iterator[bytes]:
    """Bytes from offset `at` on; see `ByteStream.follow`."""
    jar, oid = stream._p_jar, stream._p_oid
    if jar is None or oid is None:
        raise NotStoredError("this stream is in no database yet: store it and commit first, then follow it")
    return _followed(jar.db(), oid, at, timeout)


def _followed(db: object, oid: bytes, at: int, timeout: float | None) -> Iterator[bytes]:
    manager = TransactionManager()
    connection = db.open(manager)  # type: ignore[attr-defined]
    news = threading.Event()
    stop = watch(db, news.set)
    try:
        stream = connection.get(oid)
        while True:
            news.clear()
            manager.begin()
            at = max(at, stream.start)
            while at < stream.stop:
                data = stream.read(at, PIECE)
                at += len(data)
                yield data
            if not news.wait(timeout):
                return
    finally:
        stop()
        manager.abort()
        connection.close()
