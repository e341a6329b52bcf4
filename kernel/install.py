"""`python -m wendelin.kernel.install`: make the kernel known to Jupyter.

The wheel brings the kernelspec to where Jupyter looks in the same environment, so this is for the others: a Jupyter
of another environment (`--user`), or one of this environment that was installed from a checkout (`--sys-prefix`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

NAME = "wendelin"
KERNELSPEC = Path(__file__).with_name("kernelspec")


def install(prefix: str | None = None, *, user: bool = False) -> Path:
    """Write the kernelspec, with this interpreter in it, and give its folder.

    `prefix`: below `<prefix>/share/jupyter`; else for the user, or for the whole system. Raises `PermissionError`.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / NAME
        shutil.copytree(KERNELSPEC, copy)
        file = copy / "kernel.json"
        spec = json.loads(file.read_text())
        spec["argv"][0] = sys.executable
        file.write_text(json.dumps(spec, indent=2) + "\n")
        return Path(KernelSpecManager().install_kernel_spec(str(copy), NAME, user=user, prefix=prefix))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m wendelin.kernel.install", description=__doc__.split("\n")[0])
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="for you, in every environment's Jupyter")
    place.add_argument("--sys-prefix", action="store_true", help=f"for the Jupyter of this environment, {sys.prefix}")
    place.add_argument("--prefix", help="below PREFIX/share/jupyter")
    options = parser.parse_args(arguments)
    try:
        folder = install(sys.prefix if options.sys_prefix else options.prefix, user=options.user)
    except PermissionError as error:
        parser.exit(1, f"no permission to write {error.filename}: call it with --user or --sys-prefix\n")
    sys.stdout.write(f"installed the kernel {NAME!r} in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
