"""The real worker, as a process: the same seed gives the same bytes, also after a kill in every stage and a resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.robustness.processes import worker
from engine.run.folder import RunFolder
from engine.run.presets import dump
from engine.run.settings import RunSettings
from tests.integration.forking import forks

SHORT_RUN = {
    "dataset": {"name": "digits", "imbalance_factor": 20, "whitening": "corrected"},
    "ipc": 2,
    "experts": {"width": 4, "depth": 2, "num_experts": 3, "epochs": 4, "batch_size": 64, "learning_rate": 0.05},
    "classifier_experts": {"epochs": 3, "learning_rate": 0.05},
    "matching": {
        "iterations": 24,
        "syn_steps": 3,
        "syn_steps_cls": 3,
        "max_start_epoch": 2,
        "batch_syn": 8,
        "image_lr": 1.0,
        "checkpoint_every": 5,
        "preview_every": 10,
    },
    "evaluate": {"every": 8, "repeats": 3, "epochs": 20},
}

# When each kill comes: the type of an event, its fields, and how many such lines the event file has by then.
KILLS = [
    ("stage_started", {"stage": "data"}, 1),
    ("expert_epoch", {"kind": "representation", "expert": 0}, 2),
    ("expert_epoch", {"kind": "representation", "expert": 1}, 3),
    ("expert_epoch", {"kind": "classifier", "expert": 1}, 2),
    ("stage_started", {"stage": "initialize"}, 1),
    ("stage_progress", {"stage": "baselines"}, 2),
    ("matching_step", {"iteration": 3}, 1),
    ("matching_step", {"iteration": 9}, 1),
    ("matching_step", {"iteration": 19}, 1),
    ("stage_progress", {"stage": "evaluate"}, 2),
    ("stage_started", {"stage": "export"}, 1),
]


def _folder(root: Path, **changes) -> RunFolder:
    folder = RunFolder(root)
    folder.root.mkdir(parents=True)
    folder.config.write_text(dump(RunSettings.model_validate(SHORT_RUN | changes)))
    return folder


class Worker:
    """A worker of a run: a fork of a process that has loaded torch, so that it begins at once."""

    def __init__(self, folder: RunFolder, cache: Path) -> None:
        arguments = ["run", str(folder.root), "--device", "cpu"]
        console = folder.console
        self._process = forks().start(worker, arguments, cache.parent, console, errors=console)
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = 60) -> int | None:
        """Its exit code, None where it has not ended by then."""
        self._process.join(timeout)
        return self.returncode


def _start(folder: RunFolder, cache: Path) -> Worker:
    assert cache.name == "cache"
    return Worker(folder, cache)


def _count(folder: RunFolder, kind: str, fields: dict) -> int:
    if not folder.events.exists():
        return 0
    lines = [json.loads(line) for line in folder.events.read_text().splitlines() if line.endswith("}")]
    return sum(line["type"] == kind and fields.items() <= line.items() for line in lines)


def _kill_at(process: Worker, folder: RunFolder, kind: str, fields: dict, count: int) -> None:
    deadline = time.monotonic() + 60
    while _count(folder, kind, fields) < count:
        assert process.poll() is None, f"ended before {kind} {fields}: {folder.console.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"no {kind} {fields} within a minute"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("reference")
    folder = _folder(root / "run")
    assert _start(folder, root / "cache").wait(timeout=120) == 0, folder.console.read_text()[-2000:]
    return folder


def test_one_seed_gives_the_same_bytes_twice_and_another_seed_does_not(reference, tmp_path):
    again, other = _folder(tmp_path / "again"), _folder(tmp_path / "other", seed=1)
    # As the app starts it: a process of its own, with the bytes of the forks.
    command = [sys.executable, "-m", "engine", "run", str(again.root), "--device", "cpu"]
    environment = os.environ | {"LTDD_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, timeout=120, check=True, capture_output=True)
    assert _start(other, tmp_path / "cache").wait(timeout=120) == 0
    assert again.distilled.read_bytes() == reference.distilled.read_bytes()
    assert other.distilled.read_bytes() != reference.distilled.read_bytes()


def test_a_run_killed_in_every_stage_and_resumed_gives_the_same_bytes(reference, tmp_path):
    folder = _folder(tmp_path / "run")
    killed = 0
    for kind, fields, count in KILLS:
        process = _start(folder, tmp_path / "cache")
        _kill_at(process, folder, kind, fields, count)
        killed += process.returncode == -signal.SIGKILL
        assert not folder.is_running()
    assert killed == len(KILLS)
    assert _start(folder, tmp_path / "cache").wait(timeout=120) == 0, folder.console.read_text()[-2000:]
    assert folder.distilled.read_bytes() == reference.distilled.read_bytes()
    ours, theirs = (json.loads(f.metrics.read_text()) for f in (folder, reference))
    for figures in ("final", "best", "random", "initialization", "experts"):
        assert ours[figures] == theirs[figures]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_compiled_run_killed_and_resumed_gives_the_same_bytes_in_every_precision(precision, reference, tmp_path):
    """With the steps in C++, between two checkpoints."""
    cache = reference.root.parent / "cache"
    matching = SHORT_RUN["matching"] | {"precision": precision}
    whole, folder = (_folder(tmp_path / name, compile="always", matching=matching) for name in ("whole", "killed"))
    assert _start(whole, cache).wait(timeout=120) == 0, whole.console.read_text()[-2000:]
    _kill_at(_start(folder, cache), folder, "matching_step", {"iteration": 18}, 1)
    assert _start(folder, cache).wait(timeout=120) == 0, folder.console.read_text()[-2000:]
    assert folder.distilled.read_bytes() == whole.distilled.read_bytes()


def test_a_stop_request_ends_the_worker_at_a_safe_point_and_the_run_can_be_resumed(reference, tmp_path):
    folder = _folder(tmp_path / "run")
    process = _start(folder, tmp_path / "cache")
    while not _count(folder, "matching_step", {"iteration": 3}):
        assert process.poll() is None
        time.sleep(0.002)
    folder.stop_request.touch()
    assert process.wait(timeout=60) == 130
    assert _count(folder, "run_stopped", {"stage": "distill"}) == 1 and not folder.distilled.exists()
    steps = _count(folder, "matching_step", {})
    assert _count(folder, "checkpointed", {"iteration": steps}) == 1, "the last finished iteration is kept"
    assert _start(folder, tmp_path / "cache").wait(timeout=120) == 0
    assert _count(folder, "matching_step", {}) == SHORT_RUN["matching"]["iterations"], "none was done twice"
    assert folder.distilled.read_bytes() == reference.distilled.read_bytes()


def test_a_run_whose_folder_is_deleted_ends_at_the_next_safe_point_and_recreates_nothing(tmp_path):
    folder = _folder(tmp_path / "run")
    process = _start(folder, tmp_path / "cache")
    while not _count(folder, "matching_step", {"iteration": 2}):
        assert process.poll() is None
        time.sleep(0.002)
    shutil.rmtree(folder.root, ignore_errors=True)
    assert process.wait(timeout=60) == 1
    assert not folder.config.exists() and not folder.distilled.exists()
