"""A sweep as its workers leave it, from recorded runs: two methods, two imbalance factors, seeds 0 to 2.

One cell failed, one has not begun; the others are finished, each shifted by its method, factor and seed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from engine.run.folder import RunFolder, write_atomically
from engine.run.presets import dump
from engine.sweep.grid import Cell, Sweep, load_sweep
from tests.ltdd_tui.recorded import END, NAMES, record, settings_of

FAILED, WAITING = "datm-if50-seed2", "datm-if100-seed2"
SHIFTS = {("ltdd", 50): 2.0, ("ltdd", 100): 0.0, ("datm", 50): -10.0, ("datm", 100): -25.0}
SEED_SHIFTS = (0.0, 1.0, -1.0)


def write_sweep(root: Path) -> Sweep:
    """The sweep in the folder root / mini."""
    base = root / "base.yaml"
    write_atomically(base, dump(settings_of(20)))
    file = root / "mini.yaml"
    file.write_text(
        f"preset: {base}\ngrid:\n  method: [ltdd, datm]\n  dataset.imbalance_factor: [50, 100]\n  seed: [0, 1, 2]\n"
        "published:\n  - {where: {method: ltdd, dataset.imbalance_factor: 100}, accuracy: 53.4, source: Table 1}\n"
    )
    sweep = load_sweep(str(file))
    done = record(root / "recorded" / "done", "done", 20)
    failed = record(root / "recorded" / "failed", "failed", 20)
    write_atomically(root / "mini" / "sweep.yaml", sweep.resolved)
    for cell in sweep.cells:
        if cell.name != WAITING:
            _write_cell(root / "mini" / cell.name, cell, failed if cell.name == FAILED else done)
    return sweep


def _write_cell(root: Path, cell: Cell, like: RunFolder) -> None:
    shutil.copytree(like.root, root)
    folder = RunFolder(root)
    write_atomically(folder.config, dump(cell.settings))
    method, factor, seed = cell.values.values()
    shift = SHIFTS[method, factor] + SEED_SHIFTS[seed]
    lines = [json.loads(line) for line in folder.events.read_text().splitlines()]
    for line in lines:
        if line["type"] == "evaluated" and line["subject"] in ("final", "best"):
            line["accuracy_mean"] += shift
            line["per_class"] = [value + shift for value in line["per_class"]]
            line["confidence"] = [0.8 * value for value in line["per_class"]]
    folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if folder.metrics.exists():
        confusion = [[10 if true == taken else 1 for taken in range(10)] for true in range(10)]
        write_atomically(folder.confusion, json.dumps({"class_names": NAMES, "final": confusion}))


MEAN = sum(END) / len(END)
"""The final accuracy of a recorded run, in percent."""
