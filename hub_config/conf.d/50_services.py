"""Services behind the hub: the managers' dashboards."""

from __future__ import annotations

import sys

from traitlets.config import Config

from wendelin.hub_config.settings import SETTINGS_VARIABLE, Settings


def configure(c: Config, settings: Settings) -> None:
    """The managed services."""
    c.JupyterHub.services = [
        {
            "name": "dashboards",
            "url": f"http://127.0.0.1:{settings.dashboards_port}",
            "command": [sys.executable, "-m", "wendelin.hub_config.dashboards"],
            "cwd": str(settings.folder.jupyter),
            "environment": {**settings.service_environment(), SETTINGS_VARIABLE: str(settings.folder.settings)},
            # Part of the hub: nobody is asked whether it may know who they are.
            "oauth_no_confirm": True,
        }
    ]
