"""Forms of one work in turn, each in a process of its own, with the C library's memory as its user has it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.record import RESULTS

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


def interleaved(module: str, forms: Sequence[str], asked: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each form's rounds, one round of each in turn; the first warms up and does not count."""
    workers = {form: _Worker(module, form, asked) for form in forms}
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for number in range(asked.rounds + 1):
        for form, worker in workers.items():
            took = worker.seconds()
            if number:
                seconds[form].append(took)
    for worker in workers.values():
        worker.end()
    return seconds


def serve(answer: Answer) -> None:
    """In a form's own process: a round for each line that comes in."""
    for _ in sys.stdin:
        print(answer(), flush=True)


class _Worker:
    """A form in a process of its own that answers a line with a line."""

    def __init__(self, module: str, form: str, asked: argparse.Namespace) -> None:
        words = ["--serve", form, "--device", asked.device, "--threads", str(asked.threads)]
        command = [sys.executable, "-m", module, *words, *(["--dry"] if asked.dry else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self) -> float:
        """Of one round."""
        assert self._process.stdin and self._process.stdout
        print(file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: {self._process.args} ended")
        return float(answer)

    def end(self) -> None:
        """Lets it go."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
