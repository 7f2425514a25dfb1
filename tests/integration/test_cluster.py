"""A sweep on a real Ray cluster of this machine, with a cell that two ranks share: the bytes of a local sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.run.folder import write_atomically
from engine.sweep.grid import load_sweep

ROOT = Path(__file__).parents[2]
SWEEP = """
set:
  dataset.name: digits
  dataset.whitening: none
  experts: {width: 4, depth: 2, num_experts: 2, epochs: 2}
  classifier_experts.epochs: 2
  matching: {iterations: 3, max_start_epoch: 1, syn_steps: 2, syn_steps_cls: 2, trajectories: 2}
  evaluate: {repeats: 1, epochs: 1, every: 9, check_repeats: 1}
  compile: never
  ipc: 1
grid:
  method: [ltdd, random]
"""


def done(root: Path, module: str, *options: str) -> dict[str, bytes]:
    """The sets, checkpoints and experts of the sweep, done by a module of the engine."""
    write_atomically(root / "sweep.yaml", SWEEP)
    folder = root / "sweep"
    write_atomically(folder / "sweep.yaml", load_sweep(str(root / "sweep.yaml")).resolved)
    command = [sys.executable, "-m", *module.split(), str(folder), "--device", "cpu", *options]
    environment = {"LTDD_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, timeout=120)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.safetensors")}


@pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'ltdd-tui[ray]'")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs, one for each rank")
def test_a_sweep_on_a_cluster_has_the_bytes_of_a_local_one(tmp_path: Path) -> None:
    cluster = done(tmp_path / "cluster", "engine.cluster.driver", "--address", "local", "--ranks", "2")
    local = done(tmp_path / "local", "engine sweep")
    assert cluster == local and len(local) >= 8
