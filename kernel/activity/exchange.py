"""Where a dispatcher is reached by those who watch, and by nodes that offer their workers.

It listens on the address of this machine from which it reaches the database, so on loopback when that is here. Whoever
knows the secret in the lease, which only the database tells, is let in; see `wendelin.storage.activities.report`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from wendelin.storage.activities.report import LINE_ERRORS, Address, line_of
from wendelin.storage.database.urls import PostgresqlURL, ZeoURL, parse

log = logging.getLogger(__name__)

#: The most that a hello may have of bytes.
_HELLO = 4096


class Exchange:
    """Listens from now on until `close`. `report()` and `join(line, hello)` are called in threads of its own."""

    def __init__(
        self, host: str, report: Callable[[], dict[str, Any]], join: Callable[[Connection, dict[str, Any]], None]
    ) -> None:
        self._report, self._join = report, join
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.address: Address = self._listener.getsockname()[:2]
        self.key = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._listen, name="wendelin exchange", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up on all, and wait until they have noticed."""
        with self._lock:
            self._is_closed = True
            sockets, threads = list(self._sockets), list(self._threads)
        for each in (self._listener, *sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *threads):
            if thread is not threading.current_thread():
                thread.join()
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError as error:
                if not self._is_closed:
                    log.warning("nobody can watch this dispatcher any more: %s", error)
                return
            thread = threading.Thread(target=self._serve, args=(caller,), name="wendelin exchange", daemon=True)
            with self._lock:
                if self._is_closed:
                    caller.close()
                    return
                self._sockets.add(caller)
                self._threads.add(thread)
                thread.start()

    def _serve(self, caller: socket.socket) -> None:
        try:
            with line_of(caller.dup()) as line:
                key = bytes.fromhex(self.key)
                deliver_challenge(line, key)
                answer_challenge(line, key)
                hello = json.loads(line.recv_bytes(_HELLO))
                if hello.get("role") == "work":
                    self._join(line, hello)
                else:
                    self._tell(line)
        except LINE_ERRORS as error:
            log.debug("somebody hung up: %r", error)
        finally:
            caller.close()
            with self._lock:
                self._sockets.discard(caller)
                self._threads.discard(threading.current_thread())

    def _tell(self, line: Connection) -> None:
        while line.poll(None):
            line.recv_bytes(_HELLO)
            line.send_bytes(json.dumps(self._report()).encode())


def host_towards(url: str) -> str:
    """The address of this machine from which it reaches a database's server; loopback where that is here."""
    place = parse(url)
    if isinstance(place, ZeoURL) and not isinstance(place.address, str):
        target = place.address
    elif isinstance(place, PostgresqlURL) and place.host and not place.host.startswith("/"):
        target = (place.host, place.port or 5432)
    else:
        return "127.0.0.1"
    try:
        found = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
        with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
            probe.connect(found[4])  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
