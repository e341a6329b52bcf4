"""What dashboards there are: notebooks, with the title and description that their metadata give.

A notebook says about itself, in its metadata (JupyterLab: Property Inspector, Advanced Tools)::

    {"wendelin": {"dashboard": {"title": "Solar fleet", "description": "How the plants perform and age."}}}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Dashboard:
    """`path` is relative to the folder of dashboards, with slashes."""

    path: str
    title: str
    description: str


def dashboards(folder: Path) -> list[Dashboard]:
    """All notebooks below `folder`, by title. A file that is no notebook is listed too, and says so."""
    files = [path for path in folder.rglob("*.ipynb") if not _hidden(path.relative_to(folder))]
    found = [describe(path, str(path.relative_to(folder))) for path in files]
    return sorted(found, key=lambda each: (each.title.casefold(), each.path))


def describe(path: Path, name: str) -> Dashboard:
    """What the notebook in `path` says about itself; without metadata its first heading, else its file's name."""
    try:
        notebook = json.loads(path.read_text())
        said = _said(notebook)
        title = said.get("title") or notebook["metadata"].get("title") or _heading(notebook) or path.stem
        return Dashboard(name, str(title), str(said.get("description", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Dashboard(name, path.stem, f"This file cannot be read as a notebook ({type(error).__name__}).")


def is_dashboard(path: Path) -> bool:
    """Whether the notebook in `path` calls itself a dashboard."""
    try:
        return "dashboard" in json.loads(path.read_text())["metadata"].get("wendelin", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _said(notebook: Any) -> dict[str, Any]:
    said = notebook["metadata"].get("wendelin", {}).get("dashboard", {})
    return said if isinstance(said, dict) else {}


def _heading(notebook: Any) -> str:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            source = cell["source"]
            for line in ("".join(source) if isinstance(source, list) else source).splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return ""


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
