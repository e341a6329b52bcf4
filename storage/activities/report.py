"""What a dispatcher tells of itself: asked over a socket of its own, so that nothing is stored for those who watch.

The lease names the address and a secret of the one that dispatches: who can read the database may ask. Both sides prove
that they know the secret, and say nothing else before. What is asked and told is JSON.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

#: Seconds that the other side may take to connect, and to answer.
PATIENCE_SECONDS = 2.0

#: What can go wrong with a line: the other side is gone, silent, or does not know the secret.
LINE_ERRORS = (OSError, EOFError, AuthenticationError, ValueError)

Address = tuple[str, int]


def dial(address: Address, key: bytes, hello: dict[str, Any]) -> Connection:
    """A line to a dispatcher, which has heard `hello`. Raises one of `LINE_ERRORS`."""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as opened:
        line = line_of(opened)
    try:
        answer_challenge(line, key)
        deliver_challenge(line, key)
        line.send_bytes(json.dumps(hello).encode())
    except BaseException:
        line.close()
        raise
    return line


def line_of(opened: socket.socket) -> Connection:
    """A line of messages over a socket, which may be closed then. Each step takes `PATIENCE_SECONDS` at most."""
    opened.settimeout(None)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = struct.pack("ll", int(PATIENCE_SECONDS), 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        opened.setsockopt(socket.SOL_SOCKET, option, seconds)
    return Connection(opened.detach())


class Reporter:
    """Asks whoever dispatches the activities of a database how it goes. Safe in threads; `close` gives the line back.

    It looks up the dispatcher through `connection`-less calls: the caller gives address and secret, as the lease has
    them, each time, so that a successor is found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: tuple[Address, str] | None = None
        self._line: Connection | None = None

    def ask(self, address: Address | None, key: str) -> dict[str, Any] | None:
        """What it tells; None when nobody is there who answers."""
        with self._lock:
            if address is None or (address, key) != self._at:
                self._hang_up()
            for fresh in (False, True) if self._line is not None else (True,):
                try:
                    return None if address is None else self._ask(address, key, fresh=fresh)
                except LINE_ERRORS:
                    self._hang_up()
        return None

    def close(self) -> None:
        """Again: nothing."""
        with self._lock:
            self._hang_up()

    def _ask(self, address: Address, key: str, *, fresh: bool) -> dict[str, Any]:
        if fresh or self._line is None:
            self._line, self._at = dial(address, bytes.fromhex(key), {"role": "watch"}), (address, key)
        self._line.send_bytes(b"?")
        found: dict[str, Any] = json.loads(self._line.recv_bytes())
        return found

    def _hang_up(self) -> None:
        line, self._line, self._at = self._line, None, None
        if line is not None:
            with contextlib.suppress(OSError):
                line.close()
