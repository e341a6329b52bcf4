"""The Wendelin kernel: Python whose notebooks open with `db`, `root` and `np`, and whose cells are transactions.

Everything it can do beyond ipykernel comes from `wendelin.kernel.extension`, so any other IPython kernel can have it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from ipykernel.ipkernel import IPythonKernel

import wendelin
from wendelin.kernel.extension import attach


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

    async def kernel_info_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Answer, then open the database while nobody waits: the first cell finds it open."""
        await super().kernel_info_request(stream, ident, parent)  # type: ignore[no-untyped-call]
        self.io_loop.add_callback(self.wendelin.session.ensure_open)


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
