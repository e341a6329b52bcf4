"""What the pages tell to type works, and the pages can be built without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT

# What a notebook with the Wendelin kernel opens with, for pages that start there.
OPENING = "import numpy as np\nimport wendelin\ndb = wendelin.connect()\nroot = db.root()\n"
OPENING += "ubm = wendelin.entities(db)\n"
WHOLE = sorted(file for kind in ("tutorial", "explanation") for file in (ROOT / "docs" / kind).glob("*.md"))
PAGES = {"README.md": OPENING, **{str(file.relative_to(ROOT)): "" for file in WHOLE}}


def python_of(page: str) -> str:
    """The Python blocks of a page, one after the other; those of a notebook are cells, which are transactions."""
    between = "\n__import__('transaction').commit()\n" if PAGES[page] else "\n"
    return between.join(re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_the_code_of_a_page_runs(page: str, wendelin_home: Path) -> None:
    """In the order of the page, in one process, on an empty default database."""
    script = wendelin_home / "page.py"
    script.write_text(PAGES[page] + python_of(page))
    command: list[str | Path] = [sys.executable, "-W", "error", script]
    result = subprocess.run(command, cwd=wendelin_home, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_the_documentation_builds(tmp_path: Path) -> None:
    """Warnings are errors; nothing is loaded from elsewhere."""
    command: list[str | Path] = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    command += ["-d", tmp_path / "trees", ROOT / "docs"]
    result = subprocess.run([*command, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=\"(?:https?:)?//([^\"]+)", re.IGNORECASE)
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 8
    assert [(page.name, found) for page in pages for found in loads.findall(page.read_text())] == []
