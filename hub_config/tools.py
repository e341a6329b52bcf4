"""The two programs that do not come from the Python package index: Node and the hub's proxy.

`bootstrap.py` writes their paths into a JSON file, which `$WENDELIN_TOOLS` names; without it, PATH is searched.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from wendelin.hub_config.errors import ToolMissingError

PROXY = "configurable-http-proxy"


@dataclass(frozen=True)
class Tools:
    """Absolute paths: `node`, the real program (a wrapper would leave an orphan), and the proxy's `script`."""

    node: Path
    script: Path

    @property
    def proxy_command(self) -> list[str]:
        return [str(self.node), str(self.script)]


def find_tools() -> Tools:
    """Node and the proxy. Raises `ToolMissingError`."""
    known = _known()
    return Tools(_find("node", known), _find(PROXY, known).resolve())


def tools_file() -> Path:
    """Where the paths of programs are written: `$WENDELIN_TOOLS`, else `.tools/tools.json` beside the environment."""
    named = os.environ.get("WENDELIN_TOOLS")
    return Path(named) if named else Path(sys.prefix).parent / ".tools" / "tools.json"


def _known() -> dict[str, str | None]:
    try:
        return dict(json.loads(tools_file().read_text()))
    except (OSError, ValueError):
        return {}


def _find(name: str, known: dict[str, str | None]) -> Path:
    path = known.get(name) or shutil.which(name)
    if path and Path(path).exists():
        return Path(path).absolute()
    install = "npm install --global configurable-http-proxy" if name == PROXY else "apt-get install nodejs npm"
    raise ToolMissingError(
        f"the program {name!r} is neither in {tools_file()} nor on PATH. In a clone, python3 bootstrap.py install "
        f"brings it; elsewhere: {install}"
    )
