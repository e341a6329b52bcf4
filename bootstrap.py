#!/usr/bin/env python3
"""From a clone to a working Wendelin with nothing but Python 3.11: `python3 bootstrap.py --help`.

- Standard library only. Everything fetched is pinned by hash: requirements.lock (the environment), bench.lock
  (other stores, for benchmarks), bootstrap.lock (uv, Node), and a package-lock.json each in hub_config/proxy (the
  hub's proxy) and extensions/lab (the sidebar).
- No package index is named: pip, uv and npm use the one they are set up for, and a machine without pip reads
  the address from pip's own settings.
- Everything made lies in .venv and .tools; a stamp (a hash of what went in) lets a second call do nothing.
- Debian packages (Chromium, PostgreSQL) serve tests only. They are installed where this is allowed, else named.
- The steps themselves are in .ci/house/; this file is the commands.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the reader may have called an older one
    sys.exit("Wendelin needs Python 3.11 or newer, and this one is older. Try: python3.11 bootstrap.py")

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / ".ci"))

from house.lab import SOURCE as LAB_SOURCE
from house.lab import without_funding
from house.parts import PROXY_SOURCE, TOOLS_FILE, node_and_npm
from house.prepare import prepare
from house.steps import PYTHON, ROOT, VENV, StopError, step
from house.uv import get_uv, uv_environment

LINT_IMPORTS = "from importlinter.cli import lint_imports_command as run; run()"


def run_environment() -> dict[str, str]:
    """The environment of what bootstrap starts: `.venv` first on PATH, WENDELIN_TOOLS, no user packages."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**env, "PATH": path, "VIRTUAL_ENV": str(VENV), "WENDELIN_TOOLS": str(TOOLS_FILE), "PYTHONNOUSERSITE": "1"}


def python(*arguments: str) -> int:
    """Run `.venv`'s Python on the terminal; its exit status."""
    return subprocess.run([PYTHON, *arguments], cwd=ROOT, env=run_environment(), check=False).returncode


def cmd_install(options: argparse.Namespace) -> int:
    """make or refresh everything: environment, proxy, and Debian packages where allowed"""
    prepare(tests=True)
    print("Installed. Next: python3 bootstrap.py run")
    return 0


def cmd_run(options: argparse.Namespace) -> int:
    """install what is missing, then bring up the hub (arguments go to it: --port, --data, …)"""
    prepare(tests=False)
    os.chdir(ROOT)
    os.execve(PYTHON, [str(PYTHON), "-m", "wendelin.hub_config.run", *options.rest], run_environment())


def cmd_test(options: argparse.Namespace) -> int:
    """lint, then pytest: everything, with --fast the tier of seconds, with --long that of hours; after -- for pytest"""
    prepare(tests=not options.fast)
    lint = run_lint()
    # What takes seconds shares out its files; the rest runs in a row, so that servers and browsers get their time.
    fast = ["-n", str(min(2, os.cpu_count() or 1)), "--dist", "loadfile", "-q"]
    fast += ["-m", "not slow and not browser and not long"]
    rest = [part for part in options.rest if part != "--"]
    if options.fast:
        runs = [fast]
    elif options.long:
        runs = [["-m", "long"]]
    else:
        runs = [[]] if rest else [fast, ["-m", "(slow or browser) and not long"]]
    tests = max([python("-m", "pytest", *tier, *rest) for tier in runs])
    if lint:
        print("The tests' own result is above; lint failed before them.")
    return tests or lint


def cmd_lint(options: argparse.Namespace) -> int:
    """ruff, mypy and the import contract"""
    prepare(tests=False)
    return run_lint()


def run_lint() -> int:
    """Each check on one line, its findings when there are any; 0 when all are clean."""
    mend = "Most of it is mended by: .venv/bin/ruff check --fix; .venv/bin/ruff format"
    checks = {
        "ruff check": (["-m", "ruff", "check", "--quiet"], mend),
        "ruff format": (["-m", "ruff", "format", "--check", "--quiet"], mend),
        "mypy": (
            ["-m", "mypy", "--no-error-summary"],
            "Types are checked strictly; see [tool.mypy] in pyproject.toml.",
        ),
        "import contract": (["-c", LINT_IMPORTS, "--no-cache"], "Imports point down; see CONTRIBUTING.md, rule 1."),
    }
    failed = 0
    for title, (arguments, hint) in checks.items():
        try:
            step(title, [PYTHON, *arguments], hint, env=run_environment())
        except StopError as error:
            print(error)
            failed = 1
    return failed


def cmd_bench(options: argparse.Namespace) -> int:
    """the benchmarks (all, or those named); --write puts the tables into docs/benchmarks.md"""
    named = [part for part in options.rest if not part.startswith("-")]
    prepare(tests=False, peers=bool({"storage", "activities"} & {*named}) or not named)
    return python("-m", "tests.benchmarks", *options.rest)


def cmd_docs(options: argparse.Namespace) -> int:
    """the documentation, into docs/_build"""
    prepare(tests=False)
    built = ROOT / "docs" / "_build"
    command: list[str | Path] = [PYTHON, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", built]
    step("documentation", command, hint="Warnings are errors here.", env=run_environment())
    print(f"Built: {(built / 'index.html').relative_to(ROOT)}")
    return 0


def cmd_lock(options: argparse.Namespace) -> int:
    """bring the lock files up to date with pyproject.toml and package.json (add --upgrade for newer versions)"""
    pins = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "-q"]
    groups = [f"--group={name}" for name in ("test", "lint", "docs", "build", "slim")]
    uv, rest = get_uv(), [*pins, *options.rest]
    compile_: list[str | Path] = [uv, "pip", "compile", *rest]
    hint = "Two requirements contradict each other, or the index does not answer."
    everything = [*compile_, "pyproject.toml", "--all-extras", *groups, "-o", "requirements.lock"]
    step("requirements.lock", everything, hint, uv_environment())
    step("bootstrap.lock", [*compile_, "--group=bootstrap", "-o", "bootstrap.lock"], hint, uv_environment())
    beside = ["--group=bench", "-c", "requirements.lock", "-o", "bench.lock"]  # goes into the same environment
    step("bench.lock", [*compile_, *beside], hint, uv_environment())
    npm = [
        *node_and_npm()[1],
        "install",
        "--package-lock-only",
        "--omit-lockfile-registry-resolved",
        "--ignore-scripts",
    ]
    # In a folder of its own: beside the installed proxy, npm would follow its link and lock paths on this machine.
    for source in (PROXY_SOURCE, LAB_SOURCE):
        with tempfile.TemporaryDirectory() as place:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, place)
            step(f"package-lock.json of {source.name}", [*npm, "--prefix", place], hint)
            lock = Path(place, "package-lock.json").read_text()
        (source / "package-lock.json").write_text(without_funding(lock))
    return 0


def cmd_clean(options: argparse.Namespace) -> int:
    """remove build products and caches (--all: also .venv and .tools); never the data in .wendelin"""
    names = ["build", "dist", "docs/_build", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache"]
    names += [".hypothesis", *([".venv", ".tools"] if options.all else [])]
    for folder in [ROOT / name for name in names]:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ROOT.rglob("__pycache__"):
        if VENV not in folder.parents:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="bootstrap.py", description="Install, run and test Wendelin from a clone.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    everything: dict[str, Callable[[argparse.Namespace], int]] = {
        name[4:]: function for name, function in globals().items() if name.startswith("cmd_")
    }
    for name, function in everything.items():
        sub = commands.add_parser(name, help=function.__doc__)
        sub.set_defaults(function=function)
        if name == "test":
            tiers = sub.add_mutually_exclusive_group()
            tiers.add_argument("--fast", action="store_true", help="only the tier of seconds")
            tiers.add_argument("--long", action="store_true", help="only the tier of hours: thousands of kills")
        if name == "clean":
            sub.add_argument("--all", action="store_true", help="also .venv and .tools")
    return top


def main() -> int:
    """Run one command; a failed step is told in words, not in a traceback."""
    options, rest = parser().parse_known_args()
    if rest and options.command not in ("run", "test", "bench", "lock"):
        parser().error(f"unknown argument: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.function(options))
    except StopError as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
