"""Forms of one work in turn, each in a process of its own, with the C library's memory as its user has it."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.ceilings import measure
from benchmarks.record import RESULTS, Timing, summary, write_record
from engine.run.settings import Precision

Answer = Callable[[], float]
"""One round of a form: its seconds."""


def parser(text: str | None, rounds: int) -> argparse.ArgumentParser:
    """What every such benchmark is asked for."""
    arguments = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--rounds", type=int, default=rounds)
    arguments.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    arguments.add_argument("--dry", action="store_true", help="everything tiny, to see that it runs")
    arguments.add_argument("--serve", help=argparse.SUPPRESS)
    return arguments


@contextlib.contextmanager
def workers(module: str, forms: Iterable[str], asked: argparse.Namespace) -> Iterator[dict[str, Worker]]:
    """Each form as a process of its own, for as long as this lasts."""
    found = {form: Worker(module, form, asked) for form in forms}
    yield found
    for worker in found.values():
        worker.end()


def interleaved(found: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Seconds of each form's rounds, one round of each in turn; the first warms up and does not count."""
    seconds: dict[str, list[float]] = {form: [] for form in found}
    for number in range(rounds + 1):
        for form, worker in found.items():
            took = worker.seconds()
            if number:
                seconds[form].append(took)
    return seconds


def plain_precision(device: torch.device) -> Precision:
    """What the field's code computes in: PyTorch's convolutions take TF32 unasked where a GPU has it."""
    return "tf32" if device.type == "cuda" else "float32"


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """Those that records are written for."""
    return ("float32", "tf32", "bf16") if device.type == "cuda" else ("float32", "bf16")


def write_forms_record(
    name: str,
    asked: argparse.Namespace,
    seconds: Mapping[str, list[float]],
    fast: str,
    precision: Precision,
    operations: float,
    **more: Any,
) -> None:
    """Writes and prints the record of the form `fast`, against plain, against plain with memory kept, and eager."""
    device, timing = torch.device(asked.device), Timing(seconds["plain"], seconds[fast])
    ceilings = measure(precision, device)
    module = name.partition("-")[0]
    record = write_record(
        name,
        f"python -m benchmarks.{module}" + ("" if asked.device == "cpu" else f" --device {asked.device}"),
        device,
        timing,
        ceilings.shares(operations, timing.fast_seconds),
        asked.results,
        ceilings=asdict(ceilings),
        **more,
        kept_memory_ratio=Timing(seconds["plain, memory kept"], seconds[fast]).ratio,
        eager_ratio=Timing(seconds["eager"], seconds[fast]).ratio,
        seconds=seconds,
    )
    print(summary(record))
    print(f"  against the plain form with memory kept, too: {record['kept_memory_ratio']:.2f} times faster")


def serve(answer: Answer) -> None:
    """In a form's own process: a round for each line that comes in."""
    for _ in sys.stdin:
        print(answer(), flush=True)


class Worker:
    """A form in a process of its own that answers a line with a line."""

    def __init__(self, module: str, form: str, asked: argparse.Namespace) -> None:
        words = ["--serve", form, "--device", asked.device, "--threads", str(asked.threads)]
        command = [sys.executable, "-m", module, *words, *(["--dry"] if asked.dry else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self) -> float:
        """Of one round."""
        return float(self.ask(""))

    def ask(self, line: str) -> str:
        """Its answer to a line; ends the program where it has ended."""
        assert self._process.stdin and self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: {self._process.args} ended")
        return answer

    def end(self) -> None:
        """Lets it go."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
