"""The tracked files, for tests about the project itself; they are skipped where there is no git (in an sdist)."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("storage", "kernel", "widgets", "extensions", "hub_config", "notebooks")


@cache
def tracked() -> tuple[str, ...]:
    """The paths of all tracked files and links that are there, from the root of the repository."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git and a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return tuple(name for name in listed.decode().split("\0") if name and (ROOT / name).exists())


def text(name: str) -> str | None:
    """A tracked file's text; None for a link or for bytes that are no text."""
    file = ROOT / name
    if file.is_symlink() or file.is_dir():
        return None
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
