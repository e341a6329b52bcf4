"""The kernels behind dashboards.

- A dashboard runs on the plain Python kernel of this environment, whatever kernel it was written with: it starts
  faster, and no database connection is open before the notebook opens its own, read-only one.
- Voilà passes its whole environment to kernels, the service's token and OAuth secret included. Callbacks of widgets
  run as that kernel, so it gets neither.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

KERNEL = "python3"
SECRETS = ("JUPYTERHUB_", "JPY_", "CONFIGPROXY_", "WENDELIN_HUB_SETTINGS")


class DashboardKernels(AsyncMappingKernelManager):
    """Starts kernels without the hub's secrets."""

    async def start_kernel(  # type: ignore[override]  # jupyter_server's declaration hides that it is a coroutine
        self, *, env: Mapping[str, str] | None = None, **options: Any
    ) -> str:
        started = await super().start_kernel(env=kernel_environment(os.environ if env is None else env), **options)
        return str(started)


def kernel_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """`inherited` without the hub's secrets."""
    return {name: value for name, value in inherited.items() if not name.startswith(SECRETS)}
