"""Published against exact gradient on one preset: python -m benchmarks.gradients PRESET [--seed S ...] [--set a.b=c]

What each costs (seconds of an outer iteration, from the runs' own events) and what comes of it: accuracy over five
networks a seed. The experts are trained once a seed and shared; finished runs are taken as they are, unfinished ones
resumed. Writes benchmarks/results/gradients-<preset>.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.methods import finished
from benchmarks.record import RESULTS

GRADIENTS = ["published", "exact"]
REPEATS = 5


def main() -> None:
    """Runs both gradients at every seed, in turn, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--folder", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = [_row(asked, gradient, seed) for seed in asked.seed for gradient in GRADIENTS]
    record = {
        "name": f"gradients-{asked.preset}",
        "command": " ".join(["python -m benchmarks.gradients", asked.preset, "--seed", *map(str, asked.seed)]),
        "preset": asked.preset,
        "rows": rows,
        "summary": {gradient: summed_up([r for r in rows if r["gradient"] == gradient]) for gradient in GRADIENTS},
    }
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / f"{record['name']}.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(record["summary"])))


def _row(asked: argparse.Namespace, gradient: str, seed: int) -> dict[str, Any]:
    own = [f"matching.gradient={gradient}", f"seed={seed}", f"evaluate.repeats={REPEATS}"]
    name = f"gradients-{asked.preset}-{gradient}-{seed}"
    root = finished(asked.preset, name, [*asked.overrides, *own], asked.runs_dir)
    metrics, manifest = (json.loads((root / path).read_text()) for path in ("result/metrics.json", "manifest.json"))
    lines = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines() if line.endswith("}")]
    steps = [line for line in lines if line["type"] == "matching_step"]
    return {
        "gradient": gradient,
        "seed": seed,
        "iteration_seconds": statistics.median(step["seconds"] for step in steps),
        "iterations": len(steps),
        "last_loss_rep": steps[-1]["loss_rep"],
        **{
            figure: {key: metrics[figure][key] for key in ("accuracy_mean", "accuracy_std")}
            for figure in ("initialization", "final", "best")
        },
        **{key: manifest[key] for key in ("commit", "versions", "device_name", "threads")},
    }


def summed_up(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Over the seeds of one gradient: median seconds, and mean and sample standard deviation of each seed's mean."""
    found = {"seeds": len(rows), "iteration_seconds": statistics.median(row["iteration_seconds"] for row in rows)}
    for figure in ("initialization", "final", "best"):
        means = [row[figure]["accuracy_mean"] for row in rows]
        found |= {
            f"{figure}_mean": statistics.fmean(means),
            f"{figure}_std": statistics.stdev(means) if len(means) > 1 else 0.0,
        }
    return found


def table(summary: dict[str, dict[str, float]]) -> list[str]:
    """Markdown lines, a gradient a row: accuracy in percent over seeds, each the mean of five networks."""
    lines = ["| gradient | seconds an iteration | initialization | final | best |", "| --- | --- | --- | --- | --- |"]
    for gradient, row in summary.items():
        cells = [
            f"{row[f'{name}_mean']:.1f} +- {row[f'{name}_std']:.1f}" for name in ("initialization", "final", "best")
        ]
        lines.append(f"| {gradient} | {row['iteration_seconds']:.3f} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
