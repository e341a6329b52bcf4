"""Our ZEO client: what `ZEO.ClientStorage` does, with errors that say what to do.

- A call while the server is gone first brings it back, when it is a server that starts on demand, then waits for
  the connection (`wait_timeout` seconds), then raises `ServerGone`. The client itself reconnects in its own thread;
  the transaction that was cut is lost, the next one works.
- `server_sync`: a transaction begins with a round trip. Without it, a reader that begins right after another
  client's commit was stale in 6 % of the cases.
- A forked child has no thread that serves the connection: its calls would hang for ever, so they raise.
- ZEO's client takes itself for read-only while it is disconnected; ours keeps what was asked for.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ZEO.asyncio.client import ClientThread
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected, ServerException
from ZODB.POSException import ReadOnlyError

from wendelin.storage.database.blobcache import remove_unfinished
from wendelin.storage.database.durable import BlobFolder
from wendelin.storage.database.objectcache import ObjectCache
from wendelin.storage.database.refusals import translated
from wendelin.storage.database.urls import ZeoURL
from wendelin.storage.errors import ForkedConnectionError, ServerGoneError, StorageFullError

# ZEO adds up to one random second to this; its own full second is long for a server that starts in half a second.
RECONNECT_SECONDS = 0.2

# A call may be sent before the client has noticed that its server died; then it is time to look after the server.
FIRST_WAIT_SECONDS = 1.0
_REPEATABLE = {"history", "lastTransaction", "loadBefore", "loadSerial", "new_oids", "ping", "server_status", "undoLog"}


class ServerGone(ServerGoneError, ClientDisconnected):
    """`ServerGoneError` for those who know ZEO: it is a `ClientDisconnected` and a transient error too."""


class ZeoStorage(ClientStorage):
    """The storage of a ZEO server.

    `shown`: the database's URL, for messages. `advice`: what to do when no server answers. `revive`: called when
    the server is gone; it starts one and returns its address, or raises.
    """

    def __init__(
        self,
        url: ZeoURL,
        blob_dir: Path,
        *,
        read_only: bool = False,
        shown: str,
        advice: Callable[[], str],
        revive: Callable[[], str] | None = None,
    ) -> None:
        self._asked_read_only = read_only
        self._shown = shown
        self._advice = advice
        self._revive = revive
        self._wait_timeout = url.wait_timeout
        super().__init__(
            url.address,
            storage=url.storage,
            cache=ObjectCache(url.cache_size),
            name=shown,
            wait_timeout=url.wait_timeout,
            read_only=read_only,
            blob_dir=str(blob_dir),
            shared_blob_dir=url.shared,
            blob_cache_size=url.blob_cache_size or None,
            server_sync=True,
            _client_factory=partial(_Thread, owner=self),
        )
        self.fshelper: Any = BlobFolder(self.fshelper.base_dir, self.fshelper.layout_name)

    def notify_disconnected(self) -> None:
        super().notify_disconnected()
        # A server that died has forgotten which numbers it gave away: the next one gives them to others too.
        del self._oids[:]
        self._is_read_only = self._asked_read_only

    def new_oid(self) -> bytes:
        """A number for a new object, of those that the server which is there now has given to this client.

        They may come from one that dies before the caller goes on with its answer: `notify_disconnected` empties the
        list in another thread, maybe before they are in it.
        """
        while not self._is_read_only:
            try:
                return bytes(self._oids.pop())
            except IndexError:
                generation = self._connection_generation
                self._oids[:0] = reversed(self._call("new_oids"))
                if generation != self._connection_generation:
                    del self._oids[:]
        raise ReadOnlyError

    def is_read_only(self) -> bool:
        return self._asked_read_only

    isReadOnly = is_read_only

    def sortKey(self) -> str:
        with self.explained("sortKey"):
            return str(super().sortKey())

    def tpc_begin(self, *arguments: Any, **named: Any) -> Any:
        if not self.is_connected():
            self.ping()  # a commit can wait for a server that comes back; its objects' serials are checked there
        return super().tpc_begin(*arguments, **named)

    def prefetch(self, *arguments: Any) -> None:
        with self.explained("prefetch"):
            super().prefetch(*arguments)

    def storeBlob(self, *arguments: Any) -> Any:
        with translated(Path(self.fshelper.base_dir)):
            return super().storeBlob(*arguments)

    def receiveBlobStart(self, oid: bytes, serial: bytes) -> None:
        """A download begins. ZEO would append it to what a killed process left of one."""
        remove_unfinished(self.fshelper.getBlobFilename(oid, serial))
        super().receiveBlobStart(oid, serial)

    def _check_trans(self, trans: Any, meth: str) -> Any:
        with self.explained(meth):
            return super()._check_trans(trans, meth)

    @contextmanager
    def explained(self, method: str) -> Iterator[None]:
        """Raise the storage's errors as ours."""
        try:
            yield
        except ServerGone:
            raise
        except ClientDisconnected as error:
            raise self.gone(method, error) from error
        except ServerException as error:
            full = _full(error)
            if full is None:
                raise
            raise full from error

    def gone(self, method: str, error: Exception) -> ServerGone:
        if method == "tpc_finish":
            lost = "it went away during a commit, which may have succeeded or not: look before you repeat it"
        elif "disconnected transaction" in str(error):
            lost = "it went away during this transaction: abort it and run it again"
        else:
            lost = f"waited {self._wait_timeout:g} s ({_reason(self._addr)})"
        return ServerGone(f"the server of {self._shown} does not answer: {lost}. {self._advice()}")

    def forked(self, parent: int) -> ForkedConnectionError:
        return ForkedConnectionError(
            f"this connection belongs to process {parent}, not to its forked child {os.getpid()}; "
            f"open one of your own here: wendelin.connect({self._shown!r})"
        )

    def bring_back(self) -> None:
        if self._revive is None:
            return
        address = self._revive()
        if [address] != self._addr:
            self.new_addr([address])

    def new_addr(self, addr: list[Any]) -> None:
        self._addr = addr
        self._server.new_addrs(addr)


class _Thread(ClientThread):
    """ZEO's network thread; every call to the server passes here."""

    def __init__(self, *positional: Any, owner: ZeoStorage, **named: Any) -> None:
        self._owner = owner
        self._pid = os.getpid()
        super().__init__(*positional, disconnect_poll=RECONNECT_SECONDS, **named)

    def call(self, method: str, *args: Any, **kw: Any) -> Any:
        once = super().call
        return self._asked(method, lambda timeout: once(method, *args, **{"timeout": timeout, **kw}))

    def load_before(self, oid: bytes, tid: bytes) -> Any:
        def once(timeout: float | None) -> Any:
            return self.io_call(self.load_before_co(oid, tid, timeout or self.timeout))

        return self._asked("loadBefore", once)

    def _asked(self, method: str, once: Callable[[float | None], Any]) -> Any:
        """The answer to a question; those without side effects are asked again when the connection broke."""
        if os.getpid() != self._pid:
            raise self._owner.forked(self._pid)
        if not self.is_connected():
            self._owner.bring_back()
        with self._owner.explained(method):
            if method not in _REPEATABLE:
                # A transaction that was cut is gone; there is nothing on a new server to abort.
                return once(FIRST_WAIT_SECONDS if method == "tpc_abort" else None)
            try:
                return once(FIRST_WAIT_SECONDS)
            except ClientDisconnected:
                return self._revived(once, None)

    def _revived(self, once: Callable[[float | None], Any], timeout: float | None) -> Any:
        """The answer of a server that was brought back; looked after again and again, as long as a call may wait.

        A killed server's socket accepts for a moment more: whoever looks then takes it for one that runs.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while (left := deadline - time.monotonic()) > FIRST_WAIT_SECONDS:
            self._owner.bring_back()
            try:
                return once(FIRST_WAIT_SECONDS)
            except ClientDisconnected:
                continue
        self._owner.bring_back()
        return once(max(left, 0.1))

    def wait(self, timeout: float | None = None) -> Any:
        once = super().wait
        with self._owner.explained("connect"):
            try:
                return once(min(FIRST_WAIT_SECONDS, self.timeout))
            except ClientDisconnected:
                return self._revived(once, timeout)

    def async_(self, method: str, *args: Any) -> Any:
        with self._owner.explained(method):
            return super().async_(method, *args)

    def async_iter(self, it: Any) -> Any:
        with self._owner.explained("storeBlob"):
            return super().async_iter(it)

    def tpc_finish(self, tid: Any, updates: Any, f: Any, **kw: Any) -> Any:
        with self._owner.explained("tpc_finish"):
            return super().tpc_finish(tid, updates, f, **kw)


def _reason(addresses: list[Any]) -> str:
    """Why the server cannot be reached, found by trying."""
    address = addresses[0]
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_UNSPEC
    try:
        if family == socket.AF_UNIX:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(1)
                probe.connect(address)
        else:
            socket.create_connection(address, timeout=1).close()
    except OSError as error:
        return f"{address}: {error.strerror or error}"
    return f"{address} accepts connections but not as this storage"


def _full(error: ServerException) -> StorageFullError | None:
    """The server's full disk, which ZEO passes on as a class name with arguments."""
    name, details = (*error.args, None, None)[:2]
    arguments = details if isinstance(details, (list, tuple)) else ()
    if not isinstance(name, str) or not arguments:
        return None
    if name.endswith(".StorageFullError"):
        return StorageFullError(*arguments)
    if name.startswith("builtins.") and arguments[0] in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFullError(
            arguments[0], f"{arguments[-1]}: no room on the server's disk; free some, then run the transaction again"
        )
    return None
