"""`python -m tests.torture KIND`: kill processes, cut the power, and look. The exit status says whether all held."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.torture import cluster, crash
from tests.torture.kinds import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("kind", choices=["file", *KINDS], help="file: one writer; the others: a cluster of processes")
    parser.add_argument("--rounds", type=int, default=1000, help="kills")
    parser.add_argument("--seconds", type=float, default=1e9, help="end earlier, after so many")
    parser.add_argument("--seed", type=int, default=0, help="repeats the plan, not the machine's moments")
    parser.add_argument("--sabotage", choices=cluster.SABOTAGES, default="", help="take this out; it must be noticed")
    parser.add_argument("--json", type=Path, help="write the log there too")
    parser.add_argument("--keep", action="store_true", help="leave the folder there when something is wrong")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up then too
    place = Path(tempfile.mkdtemp(prefix="w-t-", dir="/tmp"))
    log: cluster.Log | crash.Log
    kept = False
    try:
        if options.kind == "file":
            log = crash.torture(place, options.rounds, options.seed, options.sabotage)
        else:
            arguments = options.rounds, options.seed, options.sabotage, options.seconds
            log = cluster.torture(place, options.kind, *arguments)
        sys.stdout.write(f"{log}\n")
        if options.json:
            options.json.write_text(json.dumps({**asdict(log), "inside_commit": log.inside_commit}))
        kept = options.keep and bool(log.violations)
        if kept:
            sys.stdout.write(f"kept: {place}\n")
        return 1 if log.violations else 0
    finally:
        if not kept:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
