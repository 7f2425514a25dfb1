"""The worker process: `python -m engine run FOLDER` does the run that the folder's config.yaml asks for, or resumes it.

Started by torchrun, several of them share the run's trajectories (engine/distributed.py).
With `--after OTHER` it waits until no worker is at work on that run. `sweep FOLDER` does those cells of a sweep, one
after another, that no other worker does (engine/sweep/supervisor.py starts it).
`evaluate FOLDER [--arch A,B] [--labels C,D] [--repeats N]`, `scores FOLDER [--repeats N]` and
`export FOLDER [--images DIR] [--pt DIR] [--set best] [--teacher]` work on a finished run, `export FOLDER
--tensorboard DIR` on any.
`calibrate [--compiler]` measures the machine, for estimates. `inspect PATH` prints what a set made elsewhere holds,
`import-experts PATH --preset P` takes over experts from replay buffers.
Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine.queue import stop_signals, wait_in_queue
from engine.run.errors import DONE, InputError, LtddError
from engine.run.folder import RunFolder


def main(argv: list[str] | None = None) -> int:
    """Runs one command of the worker and returns its exit code; errors go to events.jsonl and to stderr."""
    arguments = _parser().parse_args(argv)
    try:
        alone = "RANK" not in os.environ
        # Before torch is loaded, which takes seconds. Of torchrun's processes only one needs the folder.
        if arguments.command == "run" and alone and not RunFolder(arguments.folder).exists():
            raise InputError("there is no such run", str(arguments.folder), "it was deleted or moved")
        # Of torchrun's processes only one holds the folder, and the others wait for it with torch.
        if arguments.command == "run" and arguments.after and alone:
            folder = RunFolder(arguments.folder)
            with folder.held():
                requests = stop_signals()
                if wait_in_queue(folder, [RunFolder(other) for other in arguments.after], requests):
                    arguments.after = None
                # Not before: it loads torch.
                from engine.commands import go_on_after_queue

                go_on_after_queue(arguments, folder, requests)
            return DONE
        from engine.commands import run_command

        return run_command(arguments)
    except LtddError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("inspect").add_argument("path", type=Path)
    asking = commands.add_parser("predict")
    asking.add_argument("folder", type=Path)
    asking.add_argument("paths", type=Path, nargs="+")
    importing = commands.add_parser("import-experts")
    importing.add_argument("path", type=Path)
    importing.add_argument("--preset", required=True)
    importing.add_argument("--set", action="append", default=[])
    importing.add_argument("--device", default="auto")
    sweep = commands.add_parser("sweep")
    sweep.add_argument("folder", type=Path)
    sweep.add_argument("--device", default="auto")
    sweep.add_argument("--only", action="append", default=[])
    sweep.add_argument("--since", type=float, default=None)
    sweep.add_argument("--failed", action="store_true")
    for name in ("run", "evaluate", "scores", "export", "calibrate"):
        command = commands.add_parser(name)
        command.add_argument("--device", default="auto")
        if name == "calibrate":
            command.add_argument("--compiler", action="store_true")
            continue
        command.add_argument("folder", type=Path)
        if name == "run":
            command.add_argument("--after", type=Path, action="append")
        if name == "evaluate":
            command.add_argument("--arch")
            command.add_argument("--labels")
            command.add_argument("--repeats", type=int)
        if name == "scores":
            command.add_argument("--repeats", type=int, default=5)
        if name == "export":
            command.add_argument("--images", type=Path)
            command.add_argument("--pt", type=Path)
            command.add_argument("--set", choices=("final", "best"), default="final")
            command.add_argument("--tensorboard", type=Path)
            for part in ("--teacher", "--model", "--onnx"):
                command.add_argument(part, action="store_true")
    return parser


if __name__ == "__main__":
    # The app puts this Python's library there, in which a tool that is written for another Python would not run.
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
