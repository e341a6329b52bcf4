"""ZEO's storage server, which goes on without clients that froze or whose machine is gone.

- ZEO 6.2 ends a client that voted and then did not finish in time by closing its connection, but a connection closed
  from the server's side skips `notify_disconnected`, which is what aborts the transaction and frees the commit lock.
- Data that a client sends without waiting for an answer may find no room here. ZEO then closes the connection, or,
  where only a part of a piece was taken, commits the rest without it. Here the vote says so.
- A machine that vanishes from the network says nothing. The kernel asks it (keepalive) and gives up on what it does
  not confirm, so that its connection, and what is queued for it, end too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ZEO.StorageServer import StorageServer, ZEOStorage

from wendelin.storage.database.refusals import resource_error

SILENCE = 30
"""Seconds of silence of a client's machine, by TCP, after which the kernel begins to ask whether it is there."""


class Server(StorageServer):
    """A ZEO server whose frozen clients lose their lock."""

    def create_client_handler(self) -> ZEOStorage:
        return _Client(self, self.read_only)


class _Client(ZEOStorage):
    _refused: OSError | None = None
    blob_tempfile: tuple[int, str] | None

    def notify_connected(self, conn: Any) -> None:
        super().notify_connected(conn)
        watch_peer(conn.sm_protocol.transport.get_extra_info("socket"))
        close = conn.close

        def close_and_unlock() -> None:
            if not conn.closed and self.connected:
                self.notify_disconnected()
            close()

        conn.close = close_and_unlock

    def notify_disconnected(self) -> None:
        self._drop_blob()
        super().notify_disconnected()

    def storea(self, *arguments: Any) -> None:
        with self._refusing():
            super().storea(*arguments)

    def storeBlobStart(self) -> None:
        with self._refusing():
            super().storeBlobStart()

    def storeBlobChunk(self, chunk: bytes) -> None:
        if self._refused is not None or self.blob_tempfile is None:
            return
        with self._refusing():
            left = memoryview(chunk)
            while left:
                left = left[os.write(self.blob_tempfile[0], left) :]

    def storeBlobEnd(self, *arguments: Any) -> None:
        if self._refused is None:
            super().storeBlobEnd(*arguments)
        else:
            self._drop_blob()

    def vote(self, tid: Any) -> Any:
        if self._refused is not None:
            raise resource_error(Path(self.storage.getName()).parent, self._refused)
        return super().vote(tid)

    def _store(self, oid: bytes, serial: bytes, data: bytes, blobfile: str | None = None) -> None:
        try:
            super()._store(oid, serial, data, blobfile)
        except BaseException:
            if blobfile is not None:
                Path(blobfile).unlink(missing_ok=True)
            raise

    def _clear_transaction(self) -> None:
        self._refused = None
        super()._clear_transaction()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Keep an error of the machine for the vote; nobody waits for an answer before that."""
        try:
            yield
        except OSError as error:
            self._refused = self._refused or error

    def _drop_blob(self) -> None:
        """Remove what was received of a blob that is not whole."""
        if self.blob_tempfile is not None:
            number, name = self.blob_tempfile
            self.blob_tempfile = None
            os.close(number)
            Path(name).unlink(missing_ok=True)


def watch_peer(connection: Any) -> None:
    """Let the kernel end a TCP connection whose other machine is silent for about twice `SILENCE`."""
    if connection is None or connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENCE),
        ("TCP_KEEPINTVL", SILENCE // 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE * 2 * 1000),
    ):
        if hasattr(socket, name):  # macOS has not all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
