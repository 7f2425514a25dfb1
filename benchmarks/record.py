"""Measures forms of one work against each other and records the result in benchmarks/results/<name>.json.

A form is a way to do the work: `plain` as one would write it down with PyTorch, others as the engine does it. Each form
runs in a process of its own, because how the C library hands out memory is set once for a process and decides a good
part of the time. Forms take their rounds in turn, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ceilings import measure, wait
from engine.manifest import commit, device_name, versions
from engine.run.settings import Precision

RESULTS = Path(__file__).parent / "results"
Round = Callable[[], float]
"""Does one round of a form and returns its seconds."""


@dataclass(frozen=True)
class Timing:
    """Seconds of every round of the plain and of the fast form."""

    plain: list[float]
    fast: list[float]

    @property
    def plain_seconds(self) -> float:
        """Median of the plain form."""
        return statistics.median(self.plain)

    @property
    def fast_seconds(self) -> float:
        """Median of the fast form."""
        return statistics.median(self.fast)

    @property
    def ratio(self) -> float:
        """How many times faster the fast form is, by the medians."""
        return self.plain_seconds / self.fast_seconds


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until the device is done with it."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def plain_precision(device: torch.device) -> Precision:
    """The precision of the field's code: PyTorch's convolutions use TF32 by default where a GPU has it."""
    return "tf32" if device.type == "cuda" else "float32"


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """The precisions that are measured on a device, each with a record of its own."""
    return ("float32", "tf32", "bf16") if device.type == "cuda" else ("float32", "bf16")


# --- Processes --------------------------------------------------------------------------------------------------------


def parser(text: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark of forms has; `rounds` is the default of --rounds."""
    arguments = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--rounds", type=int, default=rounds)
    arguments.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    arguments.add_argument("--dry", action="store_true", help="everything tiny, to see that it runs")
    arguments.add_argument("--serve", help=argparse.SUPPRESS)
    return arguments


class Worker:
    """A process that serves one form: it answers each line on its input with a line."""

    def __init__(self, module: str, form: str, options: argparse.Namespace) -> None:
        words = ["--serve", form, "--device", options.device, "--threads", str(options.threads)]
        command = [sys.executable, "-m", module, *words, *(["--dry"] if options.dry else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str) -> str:
        """The answer to a line; ends the benchmark where the process has ended."""
        assert self._process.stdin and self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: {self._process.args} ended")
        return answer

    def end(self) -> None:
        """Closes its input, at which it ends, and waits for it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def workers(module: str, forms: Iterable[str], options: argparse.Namespace) -> Iterator[dict[str, Worker]]:
    """A worker for each form, by its name, for the time of the block."""
    by_form = {form: Worker(module, form, options) for form in forms}
    yield by_form
    for worker in by_form.values():
        worker.end()


def serve(do_round: Round) -> None:
    """The worker's side: does a round for each line on its input and prints the seconds."""
    for _ in sys.stdin:
        print(do_round(), flush=True)


def interleaved(by_form: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Seconds of each form's rounds, one round of each in turn; the first warms up and does not count."""
    seconds: dict[str, list[float]] = {form: [] for form in by_form}
    for number in range(rounds + 1):
        for form, worker in by_form.items():
            took = float(worker.ask(""))
            if number:
                seconds[form].append(took)
    return seconds


# --- Records ----------------------------------------------------------------------------------------------------------


def write_record(
    name: str,
    command: str,
    device: torch.device,
    timing: Timing,
    ceiling_share: dict[str, float],
    folder: Path = RESULTS,
    **more: Any,
) -> dict[str, Any]:
    """Writes <folder>/<name>.json and returns its content; `ceiling_share` is the fast form's, `more` is added."""
    record = {
        "name": name,
        "command": command,
        "commit": commit(),
        "device": device_name(device),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "n": len(timing.fast),
        "plain_seconds": timing.plain_seconds,
        "fast_seconds": timing.fast_seconds,
        "ratio": timing.ratio,
        "ceiling_share": ceiling_share,
        "plain_rounds": timing.plain,
        "fast_rounds": timing.fast,
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def write_figures(path: Path, command: str, **figures: Any) -> None:
    """Writes other figures than those of two forms, with the machine, versions and commit of their measurement."""
    record = {
        "name": path.stem,
        "command": command,
        "commit": commit(),
        "device": device_name(torch.device("cpu")),
        "versions": versions(),
        **figures,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def write_forms_record(
    name: str,
    options: argparse.Namespace,
    seconds: Mapping[str, list[float]],
    fast: str,
    precision: Precision,
    operations: float,
    **more: Any,
) -> None:
    """Writes and prints the record of the form `fast`: against plain, plain with its memory kept, and eager."""
    device, timing = torch.device(options.device), Timing(seconds["plain"], seconds[fast])
    ceilings = measure(precision, device)
    module = name.partition("-")[0]
    record = write_record(
        name,
        f"python -m benchmarks.{module}" + ("" if options.device == "cpu" else f" --device {options.device}"),
        device,
        timing,
        ceilings.shares(operations, timing.fast_seconds),
        options.results,
        ceilings=asdict(ceilings),
        **more,
        kept_memory_ratio=Timing(seconds["plain, memory kept"], seconds[fast]).ratio,
        eager_ratio=Timing(seconds["eager"], seconds[fast]).ratio,
        seconds=seconds,
    )
    print(summary(record))
    print(f"  against the plain form with its memory kept: {record['kept_memory_ratio']:.2f} times faster")


def summary(record: dict[str, Any]) -> str:
    """One line of a record for the terminal."""
    share = ", ".join(f"{value:.0%} of {name}" for name, value in record["ceiling_share"].items())
    return (
        f"{record['name']}: plain {record['plain_seconds']:.3f} s, fast {record['fast_seconds']:.3f} s,"
        f" {record['ratio']:.2f} times faster (medians of {record['n']}, {record['threads']} threads), {share}"
    )
