"""The sidebar for JupyterLab: TypeScript of extensions/lab, checked and built in .tools/lab, put beside its source."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from house.parts import node_and_npm
from house.steps import ROOT, TOOLS, digest, is_fresh, step
from house.uv import certificates

SOURCE = ROOT / "wendelin" / "extensions" / "lab"  # through the package: so it is in the sdist
BUILT = SOURCE / "labextension"
PLACE = TOOLS / "lab"
NODE = 20  # what rspack needs
_PARTS = ("package.json", "package-lock.json", "tsconfig.json", "src", "schema", "style")


def make_lab() -> None:
    """`extensions/lab/labextension`, from the committed sources and package-lock.json; nothing when it is fresh."""
    if not (SOURCE / "package.json").exists():  # a copy without it
        return
    files = [file for name in _PARTS for file in _files(SOURCE / name)]
    value = digest([str(file.relative_to(SOURCE)) for file in files], *files)
    if is_fresh(PLACE / "stamp", value) and (BUILT / "package.json").exists():
        return
    node, npm = node_and_npm(NODE)
    PLACE.mkdir(parents=True, exist_ok=True)
    _install(node, npm)
    for name in _PARTS[2:]:
        _replace(SOURCE / name, PLACE / name)
    for made in ("lib", "labextension"):
        shutil.rmtree(PLACE / made, ignore_errors=True)
    modules = PLACE / "node_modules"
    step("sidebar: types", [node, modules / "typescript/bin/tsc", "-p", PLACE], hint="Strict, and without `any`.")
    core = modules / "@jupyterlab/core-meta/core.package.json"
    build: list[str | Path] = [node, modules / "@jupyter/builder/lib/build-labextension.js"]
    step("sidebar", [*build, "--core-package-file", core, PLACE], hint="See extensions/lab/README.md.", cwd=PLACE)
    _replace(PLACE / "labextension", BUILT)
    (PLACE / "stamp").write_text(value)


def _install(node: Path, npm: list[str | Path]) -> None:
    """What builds it, as the lock says."""
    stamp, value = PLACE / "packages", digest(SOURCE / "package-lock.json", str(node))
    if is_fresh(stamp, value):
        shutil.copy(SOURCE / "package.json", PLACE)
        return
    stamp.unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, PLACE)
    command: list[str | Path] = [*npm, "ci", "--prefix", PLACE, "--ignore-scripts", "--no-audit", "--no-fund"]
    env = {**certificates(), **os.environ}
    step("what builds the sidebar", command, hint="Check that npm reaches its registry: npm ping", env=env)
    stamp.write_text(value)


def _files(part: Path) -> list[Path]:
    return [part] if part.is_file() else sorted(file for file in part.rglob("*") if file.is_file())


def _replace(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy(source, target)
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def without_funding(lock: str) -> str:
    """A package-lock.json without addresses, as it is committed."""
    found = json.loads(lock)
    for package in found["packages"].values():
        package.pop("funding", None)
    return json.dumps(found, indent=2) + "\n"
