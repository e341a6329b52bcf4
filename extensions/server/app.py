"""`WendelinServer`: the extension of Jupyter Server, with what a deployment may set.

In `jupyter_server_config.json`, for example: `{"WendelinServer": {"database": "zeo://db:9001"}}`.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp
from tornado.ioloop import PeriodicCallback
from traitlets import Dict, Integer, Unicode

from wendelin.extensions.server.endpoint import Limits
from wendelin.extensions.server.roles import GROUPS
from wendelin.extensions.server.work import IDLE_SECONDS, THREADS, Workers


class WendelinServer(ExtensionApp):
    """The REST door to a Wendelin database."""

    name = "wendelin"
    load_other_extensions = True

    database = Unicode("", config=True, help="The database's URL; empty: $WENDELIN_DB, or your own database.")
    roles = Dict(
        {group: str(role) for group, role in GROUPS.items()},
        config=True,
        help="Role of each group: analyst, manager, operator, auditor or admin.",
    )
    scopes = Dict(
        {},
        config=True,
        help="The hub's scopes that a token must have to read and to write: "
        '{"read": "custom:wendelin:read", "write": "custom:wendelin:write"}. Empty: access to the server is enough.',
    )
    threads = Integer(THREADS, config=True, help="Requests that work in the database at the same time.")
    page_limit = Integer(1000, config=True, help="Items of one page at most.")
    binary_limit = Integer(64 << 20, config=True, help="Bytes of a slice at most, as npy and Arrow.")
    text_limit = Integer(8 << 20, config=True, help="Bytes of a slice in the array at most, as JSON and CSV.")
    body_limit = Integer(64 << 20, config=True, help="Bytes of a request's body at most.")
    streams_limit = Integer(20, config=True, help="Streams of events that are open at the same time.")

    limits: Limits
    workers: Workers

    def initialize_settings(self) -> None:
        """Make the threads; nothing opens the database yet."""
        self.limits = Limits(self.page_limit, self.binary_limit, self.text_limit, self.body_limit)
        self.workers = Workers(self.database or None, self.threads)
        self.streams: set[Any] = set()
        self._resting = PeriodicCallback(self._rest, IDLE_SECONDS / 4 * 1000)
        self._resting.start()

    def initialize_handlers(self) -> None:
        """Add the routes."""
        from wendelin.extensions.server.door import handlers
        from wendelin.extensions.server.routes import ENDPOINTS

        self.handlers.extend(handlers(ENDPOINTS, self))

    async def stop_extension(self) -> None:
        """End the streams, wait for requests that are at work, close the database."""
        self._resting.stop()
        for stream in list(self.streams):
            stream.end()
        self.workers.close()

    async def _rest(self) -> None:
        await self.workers.run(self.workers.rest)
