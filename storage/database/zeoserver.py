"""ZEO's storage server, with a transaction timeout that frees the commit lock.

ZEO 6.2 ends a client that voted and then did not finish in time by closing its connection, but a connection closed
from the server's side skips `notify_disconnected`, which is what aborts the transaction and frees the lock.
"""

from __future__ import annotations

from typing import Any

from ZEO.StorageServer import StorageServer, ZEOStorage


class Server(StorageServer):
    """A ZEO server whose frozen clients lose their lock."""

    def create_client_handler(self) -> ZEOStorage:
        return _Client(self, self.read_only)


class _Client(ZEOStorage):
    def notify_connected(self, conn: Any) -> None:
        super().notify_connected(conn)
        close = conn.close

        def close_and_unlock() -> None:
            if not conn.closed and self.connected:
                self.notify_disconnected()
            close()

        conn.close = close_and_unlock
