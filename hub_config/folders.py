"""The data folder of a deployment: one folder holds all there is, so copying it is a backup.

::

    <data>/
    ├── home/           WENDELIN_HOME: the database and its caches
    ├── users/<name>/   an analyst's home; notebooks in users/<name>/notebooks
    ├── dashboards/     the notebooks that managers see
    ├── conf.d/         parts of the hub's configuration that this deployment adds
    ├── accounts.json   who may sign in (0600)
    ├── hub/            the hub's database, secrets and settings (0700)
    ├── jupyter/        Jupyter's configuration, data and runtime files of the dashboards (instead of the operator's)
    └── log/            hub.log, database.log, load-<application>.log
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARE = Path(__file__).parent / "share"
"""Files that go with the package: templates of the hub and of Voilà."""


@dataclass(frozen=True)
class DataFolder:
    """Paths below one data folder, an absolute path. Nothing is made before `make`."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def users(self) -> Path:
        return self.root / "users"

    @property
    def dashboards(self) -> Path:
        return self.root / "dashboards"

    @property
    def parts(self) -> Path:
        return self.root / "conf.d"

    @property
    def accounts(self) -> Path:
        return self.root / "accounts.json"

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def jupyter(self) -> Path:
        return self.root / "jupyter"

    @property
    def kernelspecs(self) -> Path:
        """A folder for `$JUPYTER_PATH`, with the Wendelin kernel of this very environment."""
        return self.jupyter / "share" / "jupyter"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def settings(self) -> Path:
        return self.hub / "settings.json"

    @property
    def lock(self) -> Path:
        return self.hub / "running.json"

    def make(self) -> None:
        """Make what is missing, closed to other users of the machine."""
        for folder in (self.root, self.home, self.users, self.dashboards, self.parts, self.hub, self.jupyter, self.log):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.hub.chmod(0o700)

    def secret(self, name: str) -> str:
        """A random secret of 64 hexadecimal digits in `hub/<name>` (0600), made at first use."""
        path = self.hub / name
        if not path.exists():
            write_private(path, secrets.token_hex(32) + "\n")
        return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600, all or nothing; never readable by others, not even in between."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def write_private_json(path: Path, value: Any) -> None:
    """Write `value` as JSON like `write_private`."""
    write_private(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
