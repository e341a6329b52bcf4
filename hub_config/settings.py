"""The settings of one run, handed to the hub in `hub/settings.json`, and the environment of its children."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from wendelin.hub_config.folders import SHARE, DataFolder, write_private_json
from wendelin.hub_config.tools import Tools

SETTINGS_VARIABLE = "WENDELIN_HUB_SETTINGS"
RUN_VARIABLE = "WENDELIN_HUB_RUN"
"""In the environment of every process of a run, so that none is left behind."""


@dataclass(frozen=True)
class Settings:
    """What the operator chose, with every port decided.

    `database` is a URL of `wendelin.connect`; `preheat` the number of kernels that wait ready for each dashboard;
    `sign_up` opens the page where people ask for an account; `run` names this run.
    """

    data: str
    host: str
    port: int
    hub_port: int
    proxy_port: int
    dashboards_port: int
    database: str
    node: str
    proxy: str
    preheat: int
    sign_up: bool
    run: str

    @property
    def folder(self) -> DataFolder:
        return DataFolder(Path(self.data))

    @property
    def tools(self) -> Tools:
        return Tools(Path(self.node), Path(self.proxy))

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the hub."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104  compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def save(self) -> Path:
        """Write `hub/settings.json` (0600) and return its path."""
        write_private_json(self.folder.settings, asdict(self))
        return self.folder.settings

    @staticmethod
    def load(path: Path | None = None) -> Settings:
        """Read the settings from `path`, by default from the file that `$WENDELIN_HUB_SETTINGS` names."""
        named = path or os.environ.get(SETTINGS_VARIABLE)
        if not named:
            raise KeyError(f"${SETTINGS_VARIABLE} names no file: start the hub with python -m wendelin.hub_config.run")
        return Settings(**json.loads(Path(named).read_text()))

    def environment(self) -> dict[str, str]:
        """Variables for every process that computes: one database for all, nothing of the operator's own Jupyter."""
        shared = {
            "WENDELIN_HOME": str(self.folder.home),
            "WENDELIN_DB": self.database,
            RUN_VARIABLE: self.run,
            "JUPYTER_PATH": os.pathsep.join([str(self.folder.kernelspecs), str(SHARE / "jupyter")]),
            "JUPYTER_CONFIG_PATH": str(SHARE / "jupyter_config"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            # Bokeh's scripts travel in the page instead of coming from a CDN.
            "BOKEH_RESOURCES": "inline",
        }
        # The database server's socket lies below it: all must look in the same place.
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        return {**shared, "XDG_RUNTIME_DIR": runtime} if runtime else shared

    def service_environment(self) -> dict[str, str]:
        """The same for a service, with Jupyter's and IPython's own folders below the data folder."""
        jupyter = self.folder.jupyter
        return {
            **self.environment(),
            "HOME": str(jupyter),
            "JUPYTER_CONFIG_DIR": str(jupyter / "config"),
            "JUPYTER_DATA_DIR": str(jupyter / "data"),
            "JUPYTER_RUNTIME_DIR": str(jupyter / "runtime"),
            "IPYTHONDIR": str(jupyter / "ipython"),
        }
