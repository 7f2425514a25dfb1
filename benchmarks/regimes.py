"""Every method in every label regime on one preset: python -m benchmarks.regimes PRESET [--methods a,b] [--set ...]

Ours, random images and confident ones run at three seeds with five networks, the others at one seed with three. All
have the same teacher. The methods that take or make real images without labels of their own are given the teacher's.
Finished runs are taken as they are, unfinished ones are resumed. Writes benchmarks/results/regimes-<preset>.json after
each run, and prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from benchmarks.methods import finished, parser, repeated
from benchmarks.record import RESULTS
from engine.run.methods import METHODS

REGIMES = ("hard", "stored", "online")
MORE_SEEDS = ("ltdd-plus", "random", "confident", "ltdd")
EVERY_METHOD = ["evaluate.labels=stored,hard,online", "teacher.kind=balanced_softmax"]
# What each method's own publication says, where the preset's values are those of trajectory matching.
OWN: dict[str, list[str]] = {
    "rldd": ["matching.iterations=75"],
    "dm": ["matching.iterations=1000", "evaluate.every=1000"],
    "idm": ["matching.iterations=1000", "evaluate.every=1000"],
}


def main() -> None:
    """Runs every method at its seeds, one after another, and prints the table."""
    arguments = parser(__doc__, seeds=[0])
    arguments.add_argument("--methods", default=",".join(METHODS))
    options = arguments.parse_args()
    path = RESULTS / f"regimes-{options.preset}.json"
    rows: list[dict[str, Any]] = []
    for method, seed in _runs(options):
        rows.append(_row(options, method, seed))
        command = repeated("python -m benchmarks.regimes", [options.preset], options)
        record = {"name": path.stem, "preset": options.preset, "command": command, "rows": rows}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(rows)))


def _runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    methods = options.methods.split(",")
    further = [(method, seed) for seed in (1, 2) for method in methods if method in MORE_SEEDS]
    return [(method, 0) for method in methods] + further


def _row(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    own = [*OWN.get(method, []), f"evaluate.repeats={5 if method in MORE_SEEDS else 3}"]
    if METHODS[method].synthesis == "selection":
        own.append("initialize.labels=teacher")
    overrides = [*options.overrides, *EVERY_METHOD, *own, f"method={method}", f"seed={seed}"]
    root = finished(options.preset, f"regimes-{options.preset}-{method}-{seed}", overrides, options.runs_dir)
    metrics, manifest = (json.loads((root / path).read_text()) for path in ("result/metrics.json", "manifest.json"))
    kept = ("method", "seed", "repeats", "settings_hash", "stage_seconds", "stored_bytes")
    row = {key: metrics[key] for key in kept}
    row |= {key: manifest[key] for key in ("commit", "versions", "device_name", "threads")}
    row["set_bytes"] = (root / "result" / "distilled.safetensors").stat().st_size
    row["teacher"] = _figures(metrics["teacher"])
    row["regimes"] = {
        regime: {name: _figures(metrics["regimes"][regime][name]) for name in ("random", "initialization", "final")}
        for regime in REGIMES
    }
    return row


def _figures(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in ("accuracy_mean", "accuracy_std", "repeats", "groups")}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines, a method a row: final accuracy in percent in each regime.

    Of one seed the mean and standard deviation over networks; of several the mean and standard deviation over the
    seeds' means. Seconds are of all stages but the experts, the teacher and the evaluations, which methods share.
    """
    lines = [
        f"| method | seeds x networks | {' | '.join(REGIMES)} | seconds to make the set |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        cells = [_cell([row["regimes"][regime]["final"] for row in own]) for regime in REGIMES]
        made = statistics.fmean(
            sum(row["stage_seconds"].get(stage, 0.0) for stage in ("initialize", "distill")) for row in own
        )
        lines.append(f"| `{method}` | {len(own)} x {own[0]['repeats']} | {' | '.join(cells)} | {made:.0f} |")
    return lines


def _cell(figures: list[dict[str, Any]]) -> str:
    means = [one["accuracy_mean"] for one in figures]
    spread = statistics.stdev(means) if len(means) > 1 else figures[0]["accuracy_std"]
    return f"{statistics.fmean(means):.1f} +- {spread:.1f}"


if __name__ == "__main__":
    main()
