"""The Wendelin kernel: Python whose notebooks open with `db`, `root` and `np`, and whose cells are transactions.

Everything it can do beyond ipykernel comes from `wendelin.kernel.extension`, so any other IPython kernel can have it.
"""

from __future__ import annotations

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

    async def kernel_info_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Answer, then open the database while nobody waits: the first cell finds it open."""
        await super().kernel_info_request(stream, ident, parent)  # type: ignore[no-untyped-call]
        self.io_loop.add_callback(self.wendelin.session.ensure_open)
