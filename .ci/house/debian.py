"""Debian packages: Chromium and PostgreSQL serve tests only; installed where this is allowed, else named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from house.steps import StopError, step

DEBIAN = {  # key in tools.json: (Debian packages, what is skipped without them)
    "chromium": (["chromium", "fonts-dejavu-core"], "the browser tests (-m browser)"),
    "postgres_bin": (["postgresql"], "the PostgreSQL tests (-m postgresql)"),
}


def may_install() -> bool:
    """Whether this process may install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: list[str]) -> None:
    """Install Debian packages; no PostgreSQL cluster of the system is created or started by it."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    step("apt-get update", ["apt-get", "update", "-q"], hint="Does apt-get reach its mirror?", env=env)
    quiet = Path("/etc/postgresql-common/createcluster.d/wendelin-bootstrap.conf")
    made = "postgresql" in packages and not quiet.parent.parent.exists()
    if made:
        quiet.parent.mkdir(parents=True)
        quiet.write_text("create_main_cluster = false\n")
    try:
        command: list[str | Path] = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        step(f"apt-get install {' '.join(packages)}", command, hint="See the log.", env=env)
    finally:
        if made:
            quiet.unlink(missing_ok=True)


def find_debian(key: str) -> str | None:
    """Where a program from a Debian package lies: Chromium's path, or the folder of PostgreSQL's programs."""
    if key == "chromium":
        return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    return str(found[-1].parent) if found[-1].name else None


def make_test_tools() -> None:
    """Chromium and PostgreSQL where this may be done; else a line that says what is missing and skipped."""
    missing = [key for key in DEBIAN if find_debian(key) is None]
    if missing and may_install():
        try:
            apt_install([package for key in missing for package in DEBIAN[key][0]])
        except StopError as error:
            print(f"  {str(error).splitlines()[-2]}")
    for key in missing:
        if find_debian(key) is None:
            packages, skipped = DEBIAN[key]
            print(f"  missing: {packages[0]}; skipped by it: {skipped}. As root: apt-get install {' '.join(packages)}")
