"""The notebooks that come with Wendelin, copied to where people work on them; what a person changed is left alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import wendelin
from wendelin.hub_config.catalogue import is_dashboard

COPIED = ".wendelin-copied.json"
"""In each target folder: the digest of every file as we copied it, which tells ours from changed ones."""


def applications() -> Path:
    """The folder of the applications, each with its notebooks."""
    return Path(wendelin.__file__).parent / "notebooks"


def loaders() -> list[str]:
    """Names of the applications that can load example data: `python -m wendelin.notebooks.<name>.load`."""
    return sorted(path.parent.name for path in applications().glob("*/load.py"))


def application_digest(name: str) -> str:
    """Changes when the application's programs change: its stored figures may then be those of older formulas."""
    digest = hashlib.sha256()
    for path in sorted((applications() / name).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def copy_examples(target: Path, source: Path | None = None) -> list[Path]:
    """Bring all notebooks of the applications to `target`; returns the files written.

    A file that a person changed or deleted stays as it is; one they left alone follows a newer Wendelin.
    """
    return _copy(source or applications(), target, lambda path: True)


def copy_dashboards(target: Path, source: Path | None = None) -> list[Path]:
    """The same for the notebooks that say in their metadata that they are dashboards."""
    return _copy(source or applications(), target, is_dashboard)


def _copy(source: Path, target: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    record = target / COPIED
    digests: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    written = []
    for path in sorted(source.glob("*/*.ipynb")):
        name = str(path.relative_to(source))
        content = path.read_bytes()
        if wanted(path) and _is_ours(target / name, digests.get(name)) and digests.get(name) != _digest(content):
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_bytes(content)
            digests[name] = _digest(content)
            written.append(target / name)
    if written:
        record.write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n")
    return written


def _is_ours(path: Path, copied: str | None) -> bool:
    """Whether `path` may be written: never copied and not there, or there as we copied it."""
    if not path.exists():
        return copied is None
    return copied == _digest(path.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
