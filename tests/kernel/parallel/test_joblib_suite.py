"""joblib's own tests, with our backend among the registered ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: joblib 1.6 has 98; a joblib with other tests may have some more or less.
AT_LEAST = 78


@pytest.mark.slow
def test_every_case_that_takes_registered_backends_passes_with_ours(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("from wendelin.kernel.parallel import register\nregister()\n")
    where = tmp_path / "elsewhere"  # without our pytest configuration and conftest
    where.mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "tests.kernel.parallel.suite_plugin", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", str(where), "-q", "--timeout", "120"]
    done = subprocess.run(
        [*command, "--pyargs", "joblib.test.test_parallel"],
        cwd=where,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout[-2000:]
    assert int(passed.group(1)) >= AT_LEAST
    assert not re.search(r"\d+ (failed|error|skipped|deselected)", done.stdout.splitlines()[-1])
