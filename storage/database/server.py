"""The server process: ``python -m wendelin.storage.database.server --folder DATABASE``.

It serves the folder's FileStorage by ZEO on a UNIX socket. Started by `ondemand`, never imported by other modules.

- Conflicts are resolved *here*, so this process must be able to import `wendelin`; nothing else of it is loaded.
- SIGTERM and SIGINT end it after the index is saved. kill -9 loses nothing that was committed.
- It ends by itself when its socket or its folder is gone (a cleaner of temporary files, a removed home): the next
  `connect` starts a reachable one.
- A client that voted and then stopped (a debugger, Ctrl-Z, a machine that is gone) holds the commit lock. After
  `--timeout` seconds the server takes its transaction back and others go on; see `zeoserver`.
- `--listen HOST:PORT` serves clients of other machines by TCP too. ZEO knows no passwords: who can connect can run
  code as this user, so the address has to be one of a network that only trusted machines reach.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wendelin.storage.database import ondemand, paths
from wendelin.storage.database.refusals import resource_error
from wendelin.storage.errors import DatabaseLockedError, ResourceError, WendelinError

if TYPE_CHECKING:
    from ZODB.FileStorage import FileStorage

log = logging.getLogger("wendelin.server")

LOCK_SECONDS = 5.0
"""A server that is just ending may still hold the files."""
WATCH_SECONDS = 1.0
TRANSACTION_TIMEOUT = 30.0
"""Seconds between a client's vote and its finish before others go on without it. `$WENDELIN_TRANSACTION_TIMEOUT` of
whoever starts the server says otherwise.

Data are written before the vote, so that a client that runs needs milliseconds, even when it commits to several
databases at once; half a minute is what a busy machine may pause for, and no longer than people wait.
"""
INVALIDATIONS = 10_000
"""Transactions that a client may miss and still keep its cache when it comes back."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; the exit status is 0, or 1 when it could not start."""
    options = _options(arguments)
    if options.detach and os.fork():
        # The starter waits for this process only, so that no kernel ever is the server's parent.
        os._exit(0)
    os.umask(0o077)
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    # Clients come, ask whether somebody listens, and go.
    logging.getLogger("ZEO.asyncio.server").addFilter(lambda record: not str(record.msg).startswith("Disconnected"))
    try:
        report = partial(_report, options.report_fd)
        serve(options.folder, report=report, timeout=options.timeout, listen=options.listen)
    except (WendelinError, OSError) as error:
        known = error if isinstance(error, WendelinError) else resource_error(options.folder, error)
        log.error("cannot serve %s: %s", options.folder, known)
        text = known.strerror if isinstance(known, OSError) and known.strerror else str(known)
        number = known.errno if isinstance(known, OSError) else None
        _report(options.report_fd, {"error": type(known).__name__, "message": text, "errno": number})
        return 1
    return 0


def serve(
    folder: Path,
    *,
    report: Callable[[dict[str, Any]], None],
    timeout: float = TRANSACTION_TIMEOUT,
    listen: tuple[str, int] | None = None,
) -> None:
    """Serve the database in `folder`; call `report` with the pid when clients can connect; return when ended."""
    from wendelin.storage.database.zeoserver import Server

    storage = _open(folder)
    path = paths.socket_path(folder)
    # We hold the database's lock: whatever lies here is a dead server's.
    path.unlink(missing_ok=True)
    server = Server(
        str(path), {"1": storage}, invalidation_queue_size=INVALIDATIONS, transaction_timeout=timeout, msgpack=False
    )
    loop: asyncio.AbstractEventLoop = server.acceptor.event_loop
    if listen is not None:
        _listen(loop, server, listen)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, server, signal.Signals(number).name)
    loop.call_later(WATCH_SECONDS, _watch, loop, server, _inodes(folder, path), (folder, path))
    _write_state(folder, path)
    os.chdir("/")
    log.info("serving %s on %s", folder, path)
    report({"pid": os.getpid()})
    server.loop()
    _forget(folder, path)
    log.info("ended")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {ondemand.MODULE}", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=_absolute, required=True, help="the database: Data.fs, blobs, server.log")
    timeout = os.environ.get("WENDELIN_TRANSACTION_TIMEOUT") or str(TRANSACTION_TIMEOUT)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=timeout,
        help="seconds from a client's vote to its finish before others go on without it; "
        f"default: $WENDELIN_TRANSACTION_TIMEOUT, else {TRANSACTION_TIMEOUT:g}",
    )
    parser.add_argument("--listen", type=_address, metavar="HOST:PORT", help="serve by TCP too; trusted networks only")
    parser.add_argument("--report-fd", type=int, help="file descriptor for one line of JSON: a pid, or an error")
    parser.add_argument("--detach", action="store_true", help="go on in a process that is not the caller's child")
    return parser.parse_args(arguments)


def _report(descriptor: int | None, found: dict[str, Any]) -> None:
    if descriptor is None:
        return
    try:
        os.write(descriptor, json.dumps(found).encode() + b"\n")
        os.close(descriptor)
    except OSError:
        log.warning("nobody waits for the report any more: %s", found)


def _open(folder: Path) -> FileStorage:
    """The folder's storage, with a root object; waits a little for a server that is ending."""
    from wendelin.storage.database.files import open_folder

    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return open_folder(folder, with_root=True)
        except DatabaseLockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _write_state(folder: Path, path: Path) -> None:
    ondemand.stopped_mark(folder).unlink(missing_ok=True)
    state = {
        "pid": os.getpid(),
        "socket": str(path),
        "folder": os.path.realpath(folder),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    draft = ondemand.state_file(folder).with_suffix(".new")
    draft.write_text(json.dumps(state, indent=2) + "\n")
    draft.replace(ondemand.state_file(folder))


def _forget(folder: Path, path: Path) -> None:
    """Remove what tells others where we listen; leave what a successor may have written already."""
    if ondemand.state(folder).get("pid") == os.getpid():
        ondemand.state_file(folder).unlink(missing_ok=True)
    if ondemand.find(folder) is None:
        path.unlink(missing_ok=True)


def _end(server: Any, reason: str) -> None:
    log.info("ending: %s", reason)
    server.close()


def _watch(
    loop: asyncio.AbstractEventLoop, server: Any, found: tuple[int, int] | None, places: tuple[Path, Path]
) -> None:
    if _inodes(*places) == found:
        loop.call_later(WATCH_SECONDS, _watch, loop, server, found, places)
    else:
        _end(server, "the socket or the database's folder is gone")


def _inodes(folder: Path, path: Path) -> tuple[int, int] | None:
    try:
        # The lock file stays while packing replaces Data.fs.
        return (folder / "Data.fs.lock").stat().st_ino, path.stat().st_ino
    except OSError:
        return None


def _listen(loop: asyncio.AbstractEventLoop, server: Any, address: tuple[str, int]) -> None:
    """Accept clients by TCP, beside the socket of this machine."""
    try:
        loop.run_until_complete(loop.create_server(server.acceptor.factory, *address, reuse_address=True))
    except OSError as error:
        raise ResourceError(
            error.errno,
            f"{error.strerror}: cannot listen on {address[0]}:{address[1]}; name another place: --listen HOST:PORT",
        ) from error
    log.info("listening on %s:%d", *address)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0, such as 30")
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no address HOST:PORT, such as 127.0.0.1:8100")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
