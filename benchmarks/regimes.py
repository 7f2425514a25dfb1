"""Every method in every label regime on one preset: python -m benchmarks.regimes PRESET [--methods a,b] [--set ...]

Ours, random images and confident ones run at three seeds with five networks, the others at one seed with three. All
have the same teacher. The methods that take or make real images without labels of their own are given the teacher's.
Finished runs are taken as they are, unfinished ones are resumed. Writes benchmarks/results/regimes-<preset>.json after
each run, and prints the table as Markdown. Rows of other methods and seeds stay in the file, so that a table may be
made in parts, on several machines: each row names its command, commit and device.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.methods import finished, keep_row, parser
from engine.run.methods import METHODS

REGIMES = ("hard", "stored", "online")
MORE_SEEDS = ("ltdd-plus", "random", "confident", "ltdd")
EVERY_METHOD = ["evaluate.labels=stored,hard,online", "teacher.kind=classifier_experts", "teacher.temperature=2"]
MADE_BY = ("teacher", "initialize", "validation", "distill")
# What suits each method, where the preset's values are those of trajectory matching. Distribution matching is published
# with 20,000 iterations at a constant rate, without ZCA, which here stays as it is for all methods.
OWN: dict[str, list[str]] = {
    method: ["matching.iterations=1000", "matching.rate_decay=none", "evaluate.every=1000", "evaluate.batch_size=256"]
    for method in ("dm", "idm")
}


def main() -> None:
    """Runs every method at its seeds, one after another, and prints the table."""
    arguments = parser(__doc__, seeds=[0, 1, 2])
    # An imported set is not made here.
    arguments.add_argument("--methods", default=",".join(method for method in METHODS if method != "imported"))
    options = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for method, seed in _runs(options):
        rows = keep_row(f"regimes-{options.preset}", "benchmarks.regimes", options, _row(options, method, seed))
    print("\n".join(table(rows)))


def _runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    methods, (first, *further) = options.methods.split(","), options.seed
    more = [(method, seed) for seed in further for method in methods if method in MORE_SEEDS]
    return [(method, first) for method in methods] + more


def overrides(method: str, seed: int, more: Sequence[str] = ()) -> list[str]:
    """What a run of the table has beside the preset; `more` is what the command line says, which wins."""
    own = [*OWN.get(method, []), f"evaluate.repeats={5 if method in MORE_SEEDS else 3}"]
    if METHODS[method].synthesis == "selection":  # type: ignore[index]
        own.append("initialize.labels=teacher")
    return [*EVERY_METHOD, *own, *more, f"method={method}", f"seed={seed}"]


def _row(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    name = f"regimes-{options.preset}-{method}-{seed}"
    root = finished(options.preset, name, overrides(method, seed, options.overrides), options.runs_dir)
    metrics, manifest = (json.loads((root / path).read_text()) for path in ("result/metrics.json", "manifest.json"))
    kept = ("method", "seed", "repeats", "settings_hash", "stage_seconds", "stored_bytes")
    row = {key: metrics[key] for key in kept}
    row |= {key: manifest[key] for key in ("commit", "versions", "device_name", "threads")}
    # Each of its networks, and what labels: their mean logits.
    row["teacher"] = _figures(metrics["teacher"])
    row["teacher_mean_logits"] = metrics["teacher"]["mean_logits"]["accuracy_mean"]
    row["regimes"] = {
        regime: {name: _figures(metrics["regimes"][regime][name]) for name in ("random", "initialization", "final")}
        for regime in REGIMES
    }
    return row


def _figures(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in ("accuracy_mean", "accuracy_std", "repeats", "groups")}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines, a method a row: accuracy in percent in each regime.

    Of one seed the mean and standard deviation over networks; of several the mean and standard deviation over the
    seeds' means. Seconds are of teacher, start, distillation and the choice by validation images: experts are shared,
    and trained by whichever run is the first.
    """
    lines = [
        f"| method | seeds x networks | {' | '.join(REGIMES)} | bytes: images (8 bits), labels | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        cells = [_cell([row["regimes"][regime]["final"] for row in own]) for regime in REGIMES]
        kept = own[0]["stored_bytes"]
        cells.append(f"{kept['images_uint8']:,}, {kept['labels_float32']:,}")
        seconds = statistics.fmean(sum(row["stage_seconds"].get(stage, 0.0) for stage in MADE_BY) for row in own)
        lines.append(f"| `{method}` | {len(own)} x {own[0]['repeats']} | {' | '.join(cells)} | {seconds:.0f} |")
    return lines


def _cell(figures: list[dict[str, Any]]) -> str:
    means = [one["accuracy_mean"] for one in figures]
    spread = statistics.stdev(means) if len(means) > 1 else figures[0]["accuracy_std"]
    return f"{statistics.fmean(means):.1f} +- {spread:.1f}"


if __name__ == "__main__":
    main()
