"""The parts of benchmarks/gpu.sh, in one call's time: python -m benchmarks.gpu FOLDER SECONDS"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_table import write_table

DONE, FAILED, BAD_INPUT, TIME_IS_UP = 0, 1, 2, 3
STOPPED = 130


@dataclass(frozen=True)
class Part:
    """A command that leaves its result below the folder; `enough`: seconds that one which cannot resume may need."""

    name: str
    command: tuple[str, ...]
    enough: float = 0.0


class TimeIsUp(Exception):
    """The next call goes on."""


def main() -> int:
    """Does what is left of the parts while there is time, then writes the table."""
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        print("usage: python -m benchmarks.gpu FOLDER SECONDS", file=sys.stderr)
        return BAD_INPUT
    folder, ends = Path(sys.argv[1]).absolute(), time.monotonic() + int(sys.argv[2])
    known = {part.name: part for part in parts(folder, os.environ)}
    wanted = os.environ.get("PARTS", "").split() or list(known)
    if unknown := [name for name in wanted if name not in known]:
        print(f"there is no part {', '.join(unknown)}; PARTS can be {' '.join(known)}", file=sys.stderr)
        return BAD_INPUT
    chosen = [part for name, part in known.items() if name in wanted]
    if int(sys.argv[2]) < (least := _least_seconds(chosen)):
        print(f"SECONDS must be at least {least:.0f}, or parts that cannot resume would never begin", file=sys.stderr)
        return BAD_INPUT
    try:
        for part in chosen:
            do(part, folder, ends)
    except TimeIsUp as up:
        _say(f"time is up in part {up}; call again to go on")
        return TIME_IS_UP
    print(write_table(folder, dry=bool(os.environ.get("DRY"))))
    return FAILED if any(folder.glob("*.failed")) else DONE


def _least_seconds(chosen: list[Part]) -> float:
    """What a call needs for each of these parts to begin in some call."""
    return max(part.enough for part in chosen) + _grace() + 5


def _grace() -> float:
    """Seconds that a part has to end by itself."""
    return float(os.environ.get("GRACE", 25))


def parts(folder: Path, environment: Mapping[str, str]) -> list[Part]:
    """All parts in order; DRY leaves of each what a CPU does in seconds."""
    dry, device = bool(environment.get("DRY")), environment.get("DEVICE", "cuda")
    tests = ["-m", "cuda", "-q", "-n", "0", f"--junitxml={folder / 'tests.xml'}", *(["tests/nets"] if dry else [])]
    measured = ["--device", device, "--results", str(folder / "results"), *(["--dry", "--rounds", "1"] if dry else [])]
    at_once = 0.0 if dry else 200.0
    return [
        Part("tests", _python("pytest", *tests), at_once),
        *(
            Part(name, _python(f"benchmarks.{name}", *measured), at_once)
            for name in ("iteration", "expert_epoch", "evaluation")
        ),
        *(Part(name, _python("benchmarks.gpu_run", str(folder), name)) for name in ("cell", "memory")),
    ]


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", module, *arguments


def do(part: Part, folder: Path, ends: float) -> None:
    """Runs a part unless it is done; raises TimeIsUp where this call's time does not do for it."""
    done, failed, log = (folder / f"{part.name}.{ending}" for ending in ("done", "failed", "log"))
    if done.exists() or failed.exists():
        _say(f"{part.name}: {'done' if done.exists() else f'failed before, see {log}'}")
        return
    grace = _grace()
    seconds = ends - grace - time.monotonic()
    if seconds < max(part.enough, 1.0):
        raise TimeIsUp(part.name)
    _say(f"{part.name}: for up to {seconds:.0f} s, log in {log}")
    with open(log, "a") as output:
        code = _within(part.command, seconds, grace, output)
    if code is None or code == STOPPED:
        _note_lost_time(part, folder)
        raise TimeIsUp(part.name)
    # No tests marked cuda (5) is as good as none that fails.
    if (code in (0, 5) and part.name == "tests") or code == 0:
        done.touch()
    else:
        failed.write_text(f"{code}\n")
        _say(f"{part.name}: failed with exit code {code}, see {log}")


def _note_lost_time(part: Part, folder: Path) -> None:
    """A part that cannot resume has one more call, in which it comes first; then it has failed, and begins no more."""
    tried = folder / f"{part.name}.tried"
    if not part.enough:
        return
    if tried.exists():
        (folder / f"{part.name}.failed").write_text("more time than a call has\n")
        _say(f"{part.name}: needs more time than a call has, and cannot resume; give more SECONDS")
    tried.touch()


def _within(command: Sequence[str], seconds: float, grace: float, output: object) -> int | None:
    """The exit code, or None of a command that was interrupted when its time was up, and ended where it went on."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    for sign, patience in ((None, seconds), (signal.SIGINT, grace), (signal.SIGKILL, None)):
        if sign is not None:
            process.send_signal(sign)
        try:
            code = process.wait(patience)
            return code if sign is None else None
        except subprocess.TimeoutExpired:
            continue
    return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
