"""The kernels behind dashboards.

- A dashboard runs on the plain Python kernel of this environment, whatever kernel it was written with: it starts
  faster, and no database connection is open before the notebook opens its own, read-only one.
- Voilà passes its whole environment to kernels, the service's token and OAuth secret included. Callbacks of widgets
  run as that kernel, so it gets neither.
- A preheated kernel holds the notebook as it was when the kernel started. Voilà would show that even after the file
  was changed or deleted; `match_file` throws such kernels away, and makes kernels for notebooks that came later.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

KERNEL = "python3"
SECRETS = ("JUPYTERHUB_", "JPY_", "CONFIGPROXY_", "WENDELIN_HUB_SETTINGS")


class DashboardKernels(AsyncMappingKernelManager):
    """Starts kernels without the hub's secrets, and keeps waiting kernels in step with the notebooks' files.

    Voilà derives its own manager, which has the pools, from this class; without preheating there are none.
    """

    _pools: dict[str, list[asyncio.Task[dict[str, Any]]]]
    notebook_data: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        self._seen: dict[str, int | None] = {}
        self._leaving: set[asyncio.Future[None]] = set()
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def remember_files(self, folder: Path) -> None:
        """The waiting kernels hold the notebooks of `folder` as they are now."""
        self._seen = {str(path.relative_to(folder)): _stamp(path) for path in folder.rglob("*.ipynb")}

    def match_file(self, notebook: str, path: Path) -> bool:
        """Throw away waiting kernels of `notebook` unless they hold the file `path` as it is.

        Returns whether kernels should be made for it: it is new or was changed.
        """
        stamp = _stamp(path)
        if self._seen.get(notebook) == stamp:
            return False
        self._seen[notebook] = stamp
        self.notebook_data.pop(notebook, None)
        for task in self._pools.pop(notebook, []):
            self._leaving.add(leaving := asyncio.ensure_future(self._end(task)))
            leaving.add_done_callback(self._leaving.discard)
        return stamp is not None

    async def _end(self, waiting: asyncio.Task[dict[str, Any]]) -> None:
        kernel = (await waiting)["kernel_id"]
        if kernel in self:
            await self.shutdown_kernel(kernel, now=True)  # type: ignore[no-untyped-call]

    async def start_kernel(  # type: ignore[override]  # jupyter_server's declaration hides that it is a coroutine
        self, *, env: Mapping[str, str] | None = None, **options: Any
    ) -> str:
        started = await super().start_kernel(env=kernel_environment(os.environ if env is None else env), **options)
        return str(started)


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def kernel_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """`inherited` without the hub's secrets."""
    return {name: value for name, value in inherited.items() if not name.startswith(SECRETS)}
