"""The table of methods on one preset: python -m benchmarks.methods PRESET [--methods a,b] [--set a.b=c ...]

Runs ltdd, ed, dam and datm with the same settings (the experts are trained once and shared), and writes final, best,
random, initialization and the experts' accuracy to benchmarks/results/methods-<preset>.json after each run, with what
it was run on. Rows of other methods and seeds stay in the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from engine.run.methods import METHODS
from engine.run.presets import load_preset

FIGURES = ["random", "initialization", "final", "best"]


def main() -> None:
    """Runs every method at every seed, one after another, and prints the table as Markdown."""
    arguments = parser(__doc__, seeds=[0])
    arguments.add_argument("--methods", default="ltdd,ed,dam,datm")
    options = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in options.seed:
        for method in options.methods.split(","):
            rows = keep_row(f"methods-{options.preset}", "benchmarks.methods", options, _run(options, method, seed))
    print("\n".join(table(rows)))


def parser(text: str | None, seeds: list[int]) -> argparse.ArgumentParser:
    """The options that every table of runs has."""
    arguments = argparse.ArgumentParser(description=text)
    arguments.add_argument("preset")
    arguments.add_argument("--seed", type=int, nargs="+", default=seeds)
    arguments.add_argument("--set", action="append", default=[], dest="overrides")
    arguments.add_argument("--runs-dir", type=Path, default=Path("runs"))
    return arguments


def _run(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    overrides = [*options.overrides, f"method={method}", f"seed={seed}"]
    root = finished(options.preset, f"table-{options.preset}-{method}-{seed}", overrides, options.runs_dir)
    return _row(
        json.loads((root / "result" / "metrics.json").read_text()), json.loads((root / "manifest.json").read_text())
    )


def finished(preset: str, name: str, overrides: list[str], runs_dir: Path) -> Path:
    """A run's folder; a finished run of the same settings is taken as it is, an unfinished one is resumed."""
    root = runs_dir / name
    if root.exists() and load_preset(str(root / "config.yaml")) != load_preset(preset, overrides):
        sys.exit(f"error: {root} is a run of other settings\nhint: remove it, or give another --runs-dir")
    if not (root / "result" / "metrics.json").exists():
        words = ["resume", name] if root.exists() else ["run", preset, "--name", name]
        words += [] if root.exists() else [f"--set={text}" for text in overrides]
        command = [sys.executable, "-m", "ltdd_tui", *words, "--runs-dir", str(runs_dir), "--plain"]
        subprocess.run(command, check=True)
    return root


def _row(metrics: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    row = {key: metrics[key] for key in ("method", "seed", "repeats", "settings_hash", "stage_seconds")}
    row |= {key: manifest[key] for key in ("commit", "versions", "device_name", "threads")}
    for figure in FIGURES:
        row[figure] = {
            key: metrics[figure].get(key) for key in ("accuracy_mean", "accuracy_std", "iteration", "groups")
        }
    if teacher := metrics.get("teacher"):
        row["teacher_mean_logits"] = teacher["mean_logits"]["accuracy_mean"]
    row["experts"] = {
        kind: figures and {key: figures[key] for key in ("accuracy_mean", "accuracy_std", "groups")}
        for kind, figures in metrics["experts"].items()
    }
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines, a run a row: accuracy in percent as mean +- sample standard deviation over `repeats` networks."""
    lines = [
        "| method | seed | n | final | best (at) | initialization | random | many / medium / few, final | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = {
            figure: f"{row[figure]['accuracy_mean']:.1f} +- {row[figure]['accuracy_std']:.1f}" for figure in FIGURES
        }
        groups = " / ".join("-" if value is None else f"{value:.1f}" for value in row["final"]["groups"].values())
        lines.append(
            f"| {row['method']} | {row['seed']} | {row['repeats']} | {cells['final']} | {cells['best']}"
            f" ({row['best']['iteration']}) | {cells['initialization']} | {cells['random']} | {groups} |"
            f" {sum(row['stage_seconds'].values()) / 60:.1f} |"
        )
    return lines


def keep_row(name: str, module: str, options: argparse.Namespace, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Writes a run's row, with its command, to benchmarks/results/<name>.json in place of its older one.

    Returns all rows, in the order of methods and seeds.
    """
    path, words = RESULTS / f"{name}.json", [options.preset, "--methods", row["method"], "--seed", str(row["seed"])]
    row |= {"command": repeated(f"python -m {module}", words, options.overrides)}
    # Read anew each time: another process may have added rows meanwhile.
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    others = [one for one in earlier if (one["method"], one["seed"]) != (row["method"], row["seed"])]
    rows = sorted([*others, row], key=lambda one: (list(METHODS).index(one["method"]), one["seed"]))
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": name, "preset": options.preset, "rows": rows}, indent=1) + "\n")
    return rows


def repeated(program: str, words: list[str], overrides: list[str]) -> str:
    """The command that makes it again, without this machine's paths."""
    shown = ["dataset.path=..." if text.startswith("dataset.path=") else text for text in overrides]
    return " ".join([program, *words, *(f"--set {text}" for text in shown)])


if __name__ == "__main__":
    main()
