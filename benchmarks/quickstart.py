"""The quickstart from data to report, plain against fast: python -m benchmarks.quickstart [--rounds 5]

Whole runs in turn, each a worker of its own with an empty cache, so that experts are trained and C++ is built anew. The
plain one has everything uncompiled. Writes quickstart.json: seconds, stage by stage, and the accuracy that came of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.ceilings import measure
from benchmarks.record import Timing, parser, summary, write_record
from engine.run.device_profiles import Device, Rate, StepKind
from engine.run.estimate import estimate
from engine.run.folder import RunFolder
from engine.run.presets import dump, load_preset

PLAIN = ["compile=never"]
# The fewest operations that the mathematics needs, in forward passes; without whitening and augmentation.
FORWARD_PASSES: dict[StepKind, float] = {
    "train": 3,
    "evaluate": 3,
    "classifier": 1,
    "test": 1,
    "student": 7,
    "student_exact": 7,
    "head": 2,
}
DRY = ["matching.iterations=4", "evaluate.every=4", "evaluate.epochs=5", "experts.num_experts=2"]


def main() -> None:
    """Runs both forms, prints a line, and writes the record."""
    options = parser(__doc__, rounds=5).parse_args()
    torch.set_num_threads(options.threads)
    forms = {"plain": PLAIN, "fast": []}
    runs: dict[str, list[dict[str, Any]]] = {form: [] for form in forms}
    for _ in range(options.rounds):
        for form, changes in forms.items():
            runs[form].append(_run([*changes, *(DRY if options.dry else [])], options.device, options.threads))
    timing = Timing(*([run["seconds"] for run in runs[form]] for form in ("plain", "fast")))
    record = write_record(
        "quickstart",
        "python -m benchmarks.quickstart",
        torch.device(options.device),
        timing,
        measure("float32", torch.device(options.device)).shares(_operations(), timing.fast_seconds),
        options.results,
        runs=runs,
    )
    print(summary(record))
    last = runs["fast"][-1]
    print(f"  final {last['final']:.1f} %, random {last['random']:.1f} %, stages {json.dumps(last['stages'])}")
    print(f"  slowest fast run {max(timing.fast):.1f} s, mean {statistics.fmean(timing.fast):.1f} s")


def _operations() -> float:
    """Operations of a whole quickstart: its estimated seconds on a device that does one operation a second."""
    rates: dict[StepKind, Rate] = {step: Rate() for step in get_args(StepKind)}
    rates |= {step: Rate(flop=passes) for step, passes in FORWARD_PASSES.items()}
    counted = estimate(load_preset("quickstart"), Device("cpu", rates, {}, 0.0, calibrated="as counted"))
    return sum(seconds for stage, seconds in counted.stage_seconds.items() if stage != "data")


def _run(changes: list[str], device: str, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ltdd-quickstart-") as place:
        folder = RunFolder(Path(place) / "run")
        folder.root.mkdir()
        folder.config.write_text(dump(load_preset("quickstart", changes)))
        environment = os.environ | {"LTDD_CACHE": f"{place}/cache", "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "engine", "run", str(folder.root), "--device", device]
        began = time.monotonic()
        subprocess.run(command, env=environment, check=True)
        seconds = time.monotonic() - began
        metrics = json.loads(folder.metrics.read_text())
    stages = {stage: round(took, 2) for stage, took in metrics["stage_seconds"].items()}
    accuracies = {figure: metrics[figure]["accuracy_mean"] for figure in ("random", "initialization", "final")}
    return {"seconds": round(seconds, 2), "stages": stages} | accuracies


if __name__ == "__main__":
    main()
