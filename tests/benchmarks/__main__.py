"""Runs the benchmarks: `python3 bootstrap.py bench [NAME …] [--write]`.

A benchmark is a module `bench_<name>.py` beside this one with `NAME` (its title) and `main() -> str` (a table in
Markdown, with the figures, their units and what they are compared with); `PICTURES`, if it has them, are SVGs by
file name, which the table names as `images/<file>`. Nothing here passes or fails: figures
depend on the machine, and tests time nothing. `--write` puts each table between its markers in docs/benchmarks.md,
with the command, the machine and the day, and each picture into docs/images.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "benchmarks.md"
IMAGES = PAGE.parent / "images"


class Benchmark(Protocol):
    """What a `bench_<name>.py` module offers."""

    NAME: str

    def main(self) -> str: ...


def names() -> list[str]:
    """The benchmarks there are, by the name that the command line takes."""
    return sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))


def load(name: str) -> Benchmark:
    """The module of a benchmark; SystemExit names those there are when it is none of them."""
    if name not in names():
        raise SystemExit(f"There is no benchmark {name!r}. There are: {', '.join(names()) or 'none yet'}.")
    return cast("Benchmark", importlib.import_module(f"tests.benchmarks.bench_{name}"))


def machine() -> str:
    """What the figures depend on: processor, memory, disk, kernel, Python."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.findall(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) / 2**20
    processor = model.group(1) if model else platform.machine()
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {processor}, {memory:.0f} GiB, {file_system()}, {system}"


def file_system() -> str:
    """The kind of file system that temporary files are on."""
    here, kind = str(Path.cwd()), "?"
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point, name in sorted(mounts, key=lambda mount: len(mount[0])):
        if here.startswith(point):
            kind = name
    return kind


def put(page: str, name: str, title: str, body: str) -> str:
    """The page with a benchmark's section replaced, or added at its end."""
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    section = f"{start}\n\n## {title}\n\n{body}\n\n{end}"
    if start in page:
        before, rest = page.split(start, 1)
        return before + section + rest.split(end, 1)[1]
    return f"{page.rstrip()}\n\n{section}\n"


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="bootstrap.py bench", description="Run benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names())}; all when none is given"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    for name in options.names or names():
        module = load(name)
        print(f"## {module.NAME}\n", flush=True)
        table = module.main().strip()
        print(f"{table}\n", flush=True)
        if options.write:
            told = f"`python3 bootstrap.py bench {shlex.quote(name)}`, {datetime.now(UTC).date()}, on {machine()}."
            PAGE.write_text(put(PAGE.read_text(), name, module.NAME, f"{told}\n\n{table}"))
            for file, picture in getattr(module, "PICTURES", {}).items():
                (IMAGES / file).write_text(picture)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
