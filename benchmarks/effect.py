"""What one setting costs and gains, at several seeds: python -m benchmarks.effect PRESET KEY=VALUE,VALUE [--seed S ...]

For instance `quickstart matching.gradient=published,exact`: for each value the seconds of an outer iteration, from the
run's own events, and the accuracy over five networks a seed. Experts are shared where the setting does not change them;
finished runs are taken as they are, unfinished ones are resumed. Writes
benchmarks/results/effect-<preset>-<key>.json, or the file of another --name, and prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.methods import finished, parser, repeated
from benchmarks.record import RESULTS
from engine.run.presets import load_preset
from engine.run.settings import settings_hash

REPEATS = 5
FIGURES = ("initialization", "final", "best")


def main() -> None:
    """Runs every value at every seed, in turn, and prints the table."""
    arguments = parser(__doc__, seeds=[0, 1, 2])
    arguments.add_argument("setting", metavar="KEY=VALUE,VALUE")
    arguments.add_argument("--folder", type=Path, default=RESULTS)
    arguments.add_argument("--name", help="of the file, where the settings of several would be alike")
    options = arguments.parse_args()
    key, _, values = options.setting.partition("=")
    name = options.name or f"effect-{options.preset}-{key}"
    rows = [_row(options, key, value, seed) for seed in options.seed for value in values.split(",")]
    own = {value: [row for row in rows if row["value"] == value] for value in values.split(",")}
    words = [options.preset, options.setting, "--seed", *map(str, options.seed)]
    words += ["--name", name] if options.name else []
    record = {
        "name": name,
        "command": repeated("python -m benchmarks.effect", words, options.overrides),
        "preset": options.preset,
        "setting": key,
        "rows": rows,
        "summary": {value: summarize(of_value) for value, of_value in own.items()},
    }
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(key, record["summary"])))


def _row(options: argparse.Namespace, key: str, value: str, seed: int) -> dict[str, Any]:
    own = [f"{key}={value}", f"seed={seed}", f"evaluate.repeats={REPEATS}"]
    overrides = [*options.overrides, *own]
    # Named by what is in it, so that effects of several settings share the runs in which nothing is changed.
    name = f"effect-{options.preset}-{settings_hash(load_preset(options.preset, overrides))[:12]}"
    root = finished(options.preset, name, overrides, options.runs_dir)
    metrics, manifest = (json.loads((root / path).read_text()) for path in ("result/metrics.json", "manifest.json"))
    lines = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines() if line.endswith("}")]
    steps = [line for line in lines if line["type"] == "matching_step"]
    return {
        "value": value,
        "seed": seed,
        # A selection has no iterations, and a method that matches no trajectories has no such loss.
        "iteration_seconds": statistics.median(step["seconds"] for step in steps) if steps else None,
        "iterations": len(steps),
        "last_loss_rep": steps[-1].get("loss_rep") if steps else None,
        **{figure: {part: metrics[figure][part] for part in ("accuracy_mean", "accuracy_std")} for figure in FIGURES},
        **{part: manifest[part] for part in ("commit", "versions", "device_name", "threads")},
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds of one value: median seconds, and mean and sample standard deviation of each seed's mean."""
    seconds = [row["iteration_seconds"] for row in rows if row["iteration_seconds"] is not None]
    figures = {"seeds": len(rows), "iteration_seconds": statistics.median(seconds) if seconds else None}
    for figure in FIGURES:
        means = [row[figure]["accuracy_mean"] for row in rows]
        figures |= {
            f"{figure}_mean": statistics.fmean(means),
            f"{figure}_std": statistics.stdev(means) if len(means) > 1 else 0.0,
        }
    return figures


def table(key: str, summary: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown lines, a value a row: accuracy in percent over seeds, each the mean of five networks."""
    lines = [f"| {key} | seconds an iteration | {' | '.join(FIGURES)} |", "| --- |" + " --- |" * (1 + len(FIGURES))]
    for value, row in summary.items():
        cells = [f"{row[f'{name}_mean']:.1f} +- {row[f'{name}_std']:.1f}" for name in FIGURES]
        seconds = "-" if row["iteration_seconds"] is None else f"{row['iteration_seconds']:.3f}"
        lines.append(f"| {value} | {seconds} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
