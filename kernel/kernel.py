"""The Wendelin kernel: its notebooks open with `db`, `root`, `ubm`, `np`, `wendelin`, and their cells are transactions.

Everything it can do beyond ipykernel comes from `wendelin.kernel.extension`, so any other IPython kernel can have it.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import unicodedata
from typing import Any

from ipykernel.ipkernel import IPythonKernel

import wendelin
from wendelin.kernel.extension import attach

#: After the kernel told a front end that it is ready, so long it waits for a first cell before it opens the database.
IDLE_SECONDS = 0.25

#: A cell without any of these in its text cannot reach `db`, `root`, `ubm`, `np` and `wendelin` of its namespace.
_REACHES = re.compile(
    "db|root|ubm|np|wendelin|%|exec|eval|globals|locals|vars|dir|get_ipython|__main__|f_back|_getframe"
)


class WendelinKernel(IPythonKernel):
    """`python -m wendelin.kernel -f {connection_file}`; takes the options and configuration of ipykernel."""

    implementation = "wendelin"
    implementation_version = wendelin.__version__

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        assert self.shell is not None
        self.wendelin = attach(self.shell, cells=True)

    @property
    def banner(self) -> str:  # type: ignore[override]  # ipykernel declares a trait
        """What consoles show first."""
        return (
            f"Wendelin {wendelin.__version__}: each cell is a transaction on `root`; %wendelin help tells more.\n"
            f"{super().banner or ''}"
        )

    def start(self) -> None:
        """Take messages."""
        super().start()  # type: ignore[no-untyped-call]
        loop: Any = self.io_loop
        self._wakers = wake_at_signals(loop.asyncio_loop)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run a cell; open the database first when the cell may use it, which only the first ones find closed."""
        session = self.wendelin.session
        if session.is_mine and may_use_database(f"{code}\n{user_expressions}"):
            session.ensure_open()
        reply: dict[str, Any] = await super().do_execute(  # type: ignore[no-untyped-call]
            code, silent, store_history, user_expressions, allow_stdin, cell_meta=cell_meta, cell_id=cell_id
        )
        return reply

    async def kernel_info_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Answer, and open the database soon, while nobody waits."""
        await super().kernel_info_request(stream, ident, parent)  # type: ignore[no-untyped-call]
        self.io_loop.add_callback(self.io_loop.call_later, IDLE_SECONDS, self.wendelin.session.ensure_open)


def may_use_database(code: str) -> bool:
    """Whether a cell may use the names that come with the database. When in doubt it may."""
    return _REACHES.search(unicodedata.normalize("NFKC", code)) is not None


def wake_at_signals(loop: asyncio.AbstractEventLoop) -> tuple[socket.socket, socket.socket]:
    """Let a signal wake the main thread's event loop, as long as the sockets live.

    Python handles a signal when the main thread runs next, but the system may give it to any thread: Ctrl-C then came
    through only when the cell's `await` was over.
    """
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    loop.add_reader(reader, reader.recv, 4096)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    return reader, writer
