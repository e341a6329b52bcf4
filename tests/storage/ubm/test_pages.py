"""The pages about entities say what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.house.repository import ROOT
from wendelin.storage.ubm.reference import page

# What a worker does after the page: ten means of sixty rows, and a last round that finds nothing more.
_WORK = """
(analysis,) = ubm.search(type="analysis")
assert [analysis.proceed() for _ in range(11)] == ["started"] * 10 + ["delivered"]
assert analysis.outputs[0].array[:].tolist() == [1.0] * 10
"""


def test_the_reference_is_what_the_types_are() -> None:
    written = (ROOT / "docs" / "reference" / "entities.md").read_text()
    assert written == page(), "run: python -m wendelin.storage.ubm.reference > docs/reference/entities.md"


def test_the_code_of_the_how_to_runs(wendelin_home: Path) -> None:
    """In the order of the page, in one process, on an empty default database; no worker is started."""
    text = (ROOT / "docs" / "how-to" / "entities.md").read_text()
    script = wendelin_home / "page.py"
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    script.write_text("\n".join([*blocks, _WORK]))
    result = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "plant PLANT-4: peak_power = '12 m': 'm' is no unit of power; give a number of kW" in result.stdout
    assert "draft → validated (commissioned)" in result.stdout
