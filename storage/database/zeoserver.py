"""ZEO's storage server, which goes on without clients that froze or whose machine is gone.

- ZEO 6.2 ends a client that voted and then did not finish in time by closing its connection, but a connection closed
  from the server's side skips `notify_disconnected`, which is what aborts the transaction and frees the commit lock.
- A machine that vanishes from the network says nothing. The kernel asks it (keepalive) and gives up on what it does
  not confirm, so that its connection, and what is queued for it, end too.
"""

from __future__ import annotations

import socket
from typing import Any

from ZEO.StorageServer import StorageServer, ZEOStorage

SILENCE = 30
"""Seconds of silence of a client's machine, by TCP, after which the kernel begins to ask whether it is there."""


class Server(StorageServer):
    """A ZEO server whose frozen clients lose their lock."""

    def create_client_handler(self) -> ZEOStorage:
        return _Client(self, self.read_only)


class _Client(ZEOStorage):
    def notify_connected(self, conn: Any) -> None:
        super().notify_connected(conn)
        watch_peer(conn.sm_protocol.transport.get_extra_info("socket"))
        close = conn.close

        def close_and_unlock() -> None:
            if not conn.closed and self.connected:
                self.notify_disconnected()
            close()

        conn.close = close_and_unlock


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
