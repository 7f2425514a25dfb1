"""How a benchmark measures, and what it leaves in benchmarks/results/<name>.json: plain against fast, in one run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ceilings import wait
from engine.manifest import commit, device_name

RESULTS = Path(__file__).parent / "results"


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


def write_record(
    name: str,
    command: str,
    device: torch.device,
    timing: Timing,
    ceiling_share: dict[str, float],
    folder: Path = RESULTS,
    **more: Any,
) -> dict[str, Any]:
    """Writes <folder>/<name>.json and returns what it holds; `ceiling_share` is the fast form's, `more` goes beside."""
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


def summary(record: dict[str, Any]) -> str:
    """One line of a record for the terminal."""
    share = ", ".join(f"{value:.0%} of {name}" for name, value in record["ceiling_share"].items())
    return (
        f"{record['name']}: plain {record['plain_seconds']:.3f} s, fast {record['fast_seconds']:.3f} s,"
        f" {record['ratio']:.2f} times faster (medians of {record['n']}, {record['threads']} threads), {share}"
    )
