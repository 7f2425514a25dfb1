"""`python -m engine.sweep FOLDER [--jobs N] [--device D] [--only KEY=VALUE,...] [--failed] [--after RUN]` does a sweep.

Exit codes: 0 all cells are finished, 1 some are not, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.run.errors import LtddError
from engine.run.folder import RunFolder
from engine.sweep.cells import SweepFolder
from engine.sweep.supervisor import supervise


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.sweep")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("--after", type=Path, action="append", default=[])
    own = parser.parse_args()
    try:
        behind = [RunFolder(other) for other in own.after]
        return supervise(SweepFolder(own.folder), own.jobs, own.device, own.only, own.failed, behind)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
