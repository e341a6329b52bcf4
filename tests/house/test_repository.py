"""What is in git: no index hosts, nothing of one machine, no build products; everything has its place and map."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tests.house.repository import FLOORS, ROOT, text, tracked

LOCKS = [
    "requirements.lock",
    "bootstrap.lock",
    "bench.lock",
    "tests/benchmarks/peers/core.lock",
    "hub_config/proxy/package-lock.json",
    "extensions/lab/package-lock.json",
]

# Written in pieces, so that this file does not hold what it looks for.
INDEX_HOSTS = ["py" + "pi.org", "pythonhos" + "ted.org", "npm" + "js.org", "npm" + "js.com", "yarnpkg" + ".com"]
INDEX_HOSTS += ["deb.deb" + "ian.org", "anaconda" + ".org", "conda-" + "forge.org"]
OF_ONE_MACHINE = re.compile(
    "|".join([re.escape(f"{ROOT}/"), re.escape(f"{Path.home()}/"), "/" + r"(?:root|work|Users)/"])
)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name: str) -> None:
    """Whoever installs uses the index that their machine is set up for."""
    assert not re.findall(r"\w+://\S+", (ROOT / name).read_text())
    assert "resolved" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash(name: str) -> None:
    """A name and a version alone would install whatever an index serves."""
    content = (ROOT / name).read_text()
    if name.endswith(".json"):
        packages = {key: value for key, value in json.loads(content)["packages"].items() if key}
        assert packages
        assert [key for key, value in packages.items() if not value["integrity"].startswith("sha512-")] == []
    else:
        blocks = re.findall(r"^(\S+==\S+)[^\n]*\n((?:[ ]+[^\n]*\n)*)", content, re.MULTILINE)
        assert blocks
        assert [pin for pin, block in blocks if "--hash=sha256:" not in block] == []


def test_no_file_names_an_index() -> None:
    """Not only the locks: also code, configuration and prose."""
    found = [(name, host) for name in tracked() for host in INDEX_HOSTS if host in (text(name) or "")]
    assert found == []


def test_bootstrap_names_no_address_at_all() -> None:
    """Neither an index nor anything else to download from."""
    files = [ROOT / "bootstrap.py", ROOT / "Makefile", ROOT / ".ci/run", *sorted((ROOT / ".ci/house").glob("*.py"))]
    assert len(files) > 6
    assert [file.name for file in files if re.search(r"\w://\w", file.read_text())] == []


def test_nothing_is_of_one_machine() -> None:
    """A clone works wherever it lies; links are relative."""
    found = [
        (name, line.strip()[:100])
        for name in tracked()
        for line in (text(name) or "").splitlines()
        if OF_ONE_MACHINE.search(line)
    ]
    assert found == []
    links = [ROOT / name for name in tracked() if (ROOT / name).is_symlink()]
    assert len(links) >= len(FLOORS)
    assert [link.name for link in links if link.readlink().is_absolute()] == []


def test_no_build_products() -> None:
    """What a command makes is made again, not stored; databases of earlier versions are input (tests/fixtures)."""
    products = re.compile(
        r"(^|/)(__pycache__|node_modules|_build|build|dist|\.venv|\.tools|\.wendelin|\.ipynb_checkpoints)/"
        r"|\.(pyc|so|whl|egg-info|log|sock|fs)$|(^|/)Data\.fs"
    )
    found = [name for name in tracked() if products.search(name)]
    assert [name for name in found if not name.startswith("tests/fixtures/")] == []


def test_every_folder_is_on_the_map() -> None:
    """CONTRIBUTING.md has a line for each folder at the top, and none for one that is not there."""
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    folders |= {name for name in tracked() if (ROOT / name).is_dir() and "/" not in name}
    mapped = set(re.findall(r"^\| `([^`/]+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert mapped == folders


def test_modules_stay_small() -> None:
    """One noun a module: under 400 lines in the floors."""
    modules = [name for name in tracked() if name.endswith(".py") and name.split("/")[0] in (*FLOORS, ".ci")]
    lengths = {name: len((text(name) or "").splitlines()) for name in [*modules, "bootstrap.py"]}
    assert {name: length for name, length in lengths.items() if length >= 400} == {}


def test_bootstrap_uses_only_the_standard_library() -> None:
    """It runs before anything is installed."""
    imported = set()
    for file in [ROOT / "bootstrap.py", *sorted((ROOT / ".ci/house").glob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert {"subprocess", "house"} <= imported
    assert imported - set(sys.stdlib_module_names) == {"house"}


def test_changelog_fragments_are_well_formed() -> None:
    """Their names as changes/README.md says; a few sentences, no headings."""
    kinds = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "changes/README.md").read_text(), re.MULTILINE))
    assert kinds
    fragments = [file for file in (ROOT / "changes").iterdir() if file.name != "README.md"]
    assert fragments
    for file in fragments:
        named = re.fullmatch(r"\d{4}\.(\w+)\.md", file.name)
        assert named, f"{file.name}: a fragment is called NNNN.kind.md"
        assert named.group(1) in kinds, f"{file.name}: the kinds are {', '.join(sorted(kinds))}"
        content = file.read_text()
        assert content.strip(), f"{file.name} is empty"
        assert not content.startswith("#"), f"{file.name}: a fragment has no heading"


def test_every_silenced_check_has_its_reason() -> None:
    """A `noqa` is followed by why, on its line or as the comment above it."""
    silenced = re.compile(r"#\s*(noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)(.*)$")
    bare = []
    for name in tracked():
        if not name.endswith(".py") or name.split("/")[0] not in (*FLOORS, "wendelin", ".ci"):
            continue
        lines = (text(name) or "").splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            found = silenced.search(line)
            if found and len(found.group(2).strip()) < 8 and not above.strip().startswith("#"):
                bare.append(f"{name}: {line.strip()}")
    assert bare == []


def test_links_between_pages_hold() -> None:
    """Relative links of the README, CONTRIBUTING and docs lead to a file."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        if "_build" in page.parts:
            continue
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
        missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
        broken += [f"{page.relative_to(ROOT)}: {target}" for target in missing]
    assert broken == []


def test_ci_runs_the_developers_command() -> None:
    """One command, on a laptop and in CI."""
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "bootstrap.py test" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    targets = re.findall(r"^([a-z][a-z -]*):$", Path(ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"install", "run", "test", "bench", "lint", "docs"} <= set(" ".join(targets).split())
