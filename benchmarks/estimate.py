"""Estimates against what then happened: python -m benchmarks.estimate [--data FOLDER] [--device cpu]

Measures the machine, runs three presets that are not yet in --runs-dir, and compares the estimate that each run wrote
down before it began with its seconds, its memory and its disk. --data is a folder of CIFAR-10's images; without one,
random images of that shape are made, which take as long. Run nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.image_folders import make_random_images
from engine.run.datasets import class_counts
from engine.run.folder import cache_root, read_json, write_json
from engine.run.network_cost import GIB

RESULTS = Path(__file__).parent / "results"
WANTED = 0.3
FOLDER = ["dataset.name=folder", "dataset.resolution=32"]
CUT_SHORT = [
    "dataset.test_per_class=100",
    "experts.num_experts=1",
    "experts.epochs=2",
    "classifier_experts.epochs=2",
    "matching.iterations=4",
    "matching.syn_steps=10",
    "matching.syn_steps_cls=10",
    "matching.max_start_epoch=1",
    "evaluate.every=4",
    "evaluate.epochs=30",
    "evaluate.repeats=2",
]


@dataclass(frozen=True)
class Case:
    """One run: a preset, what is set on it, and whether its images lie in a folder."""

    name: str
    preset: str
    sets: tuple[str, ...] = ()
    images: bool = False


CASES = (
    Case("quickstart", "quickstart"),
    Case("small", "cifar10-lt-if100-ipc10-small", images=True),
    Case("wide", "cifar10-lt-if100-ipc10", tuple(CUT_SHORT), images=True),
)


def main() -> None:
    """Runs what is missing, one after another, and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--case", choices=[case.name for case in CASES], action="append", dest="cases")
    options = parser.parse_args()
    cases = [case for case in CASES if options.cases is None or case.name in options.cases]
    rows = [row for case in cases for row in _rows(case, _run(case, options))]
    print("\n".join(table(rows)))
    # The rows of cases that were not run stay.
    known = (read_json(RESULTS / "estimate.json") or {}).get("rows", [])
    rows = [row for row in known if row["case"] not in {case.name for case in cases}] + rows
    record = {"name": "estimate", "command": "python -m benchmarks.estimate", "wanted": WANTED, "rows": rows}
    write_json(RESULTS / "estimate.json", record)


def _run(case: Case, options: argparse.Namespace) -> Path:
    """The finished run of a case, with a cache of its own, so that its experts are trained and its disk is its own."""
    root: Path = options.runs_dir.absolute() / f"estimate-{case.name}"
    if (root / "result" / "metrics.json").exists():
        return root
    cache = root.with_name(f"{root.name}-cache")
    for old in (root, cache):
        shutil.rmtree(old, ignore_errors=True)
    overrides = [f"--set={text}" for text in (*case.sets, *(_images(options) if case.images else ()))]
    environment = os.environ | {"LTDD_CACHE": str(cache)}
    device = ["--device", options.device]
    measure = ["estimate", case.preset, *overrides, *device, "--calibrate"]
    run = ["run", case.preset, *overrides, *device, "--name", root.name, "--runs-dir", str(root.parent), "--plain"]
    for words in (measure, run):
        subprocess.run([sys.executable, "-m", "ltdd_tui", *words], check=True, env=environment)
    return root


def _images(options: argparse.Namespace) -> list[str]:
    folder = options.data or cache_root() / "made-up" / "cifar10"
    if not (folder / "train").is_dir():
        make_random_images(folder, class_counts(5000, 100, 10), [1000] * 10, side=32)
    return [*FOLDER, f"dataset.path={folder.absolute()}"]


def _rows(case: Case, root: Path) -> list[dict[str, Any]]:
    """What was estimated and what happened, a quantity a row."""
    metrics, manifest = read_json(root / "result" / "metrics.json"), read_json(root / "manifest.json")
    estimated, happened = metrics["estimated"], dict(metrics["stage_seconds"])
    machine = {key: manifest[key] for key in ("commit", "versions", "device_name", "threads")}
    named = {"case": case.name, "preset": case.preset, "set": list(case.sets)}
    pairs = {
        f"{stage}_seconds": (seconds, happened.get(stage, 0.0)) for stage, seconds in estimated["stage_seconds"].items()
    }
    pairs["total_seconds"] = (estimated["total_seconds"], sum(happened.values()))
    pairs["memory_gib"] = (estimated["memory_gib"], metrics["memory_gib"])
    experts = root.with_name(f"{root.name}-cache") / "experts"
    pairs["disk_gib"] = (estimated["disk_gib"], (_bytes(root) + _bytes(experts)) / GIB)
    return [
        named
        | {"what": what, "estimated": before, "happened": after, "ratio": before / after if after else None}
        | machine
        for what, (before, after) in pairs.items()
    ]


def _bytes(folder: Path) -> int:
    """What the files of a folder take of the disk, as du counts it."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines; a total, memory or disk that is further off than wanted is marked."""
    lines = ["| run | what | estimated | happened | ratio | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        judged = row["what"] in ("total_seconds", "memory_gib", "disk_gib")
        off = row["ratio"] is None or not 1 - WANTED <= row["ratio"] <= 1 + WANTED
        mark = "" if not judged else "off" if off else "ok"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"| {row['case']} | {row['what']} | {row['estimated']:.3g} | {row['happened']:.3g} | {ratio} | {mark} |"
        )
    return lines


if __name__ == "__main__":
    main()
