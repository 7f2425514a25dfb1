"""benchmarks/gpu.sh runs each part once, resumes interrupted parts in the next call, and writes a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import Part, TimeIsUp, do
from benchmarks.gpu_run import PLANNED
from benchmarks.gpu_table import write_table
from engine.run.folder import write_json
from engine.run.presets import load_preset

ROOT = Path(__file__).parents[2]
# Prints that it ran; the first time it works until it is interrupted, the second time it is done at once.
RESUMES = """
import pathlib, sys, time
print("running", flush=True)
begun = pathlib.Path("begun")
if begun.exists(): sys.exit(0)
begun.touch()
try: time.sleep(60)
except KeyboardInterrupt: sys.exit(130)
"""


def program(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", text


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRACE", "1")


def test_a_part_that_cannot_resume_fails_after_repeated_timeouts(tmp_path: Path) -> None:
    endless = Part("tests", program("import time; time.sleep(60)"), enough=0.5)
    for _ in range(2):
        with pytest.raises(TimeIsUp):
            do(endless, tmp_path, time.monotonic() + 2.5)
    do(endless, tmp_path, time.monotonic() + 2.5)
    assert (tmp_path / "tests.failed").exists()


def test_an_interrupted_part_resumes_in_the_next_call_and_is_not_repeated_once_done(tmp_path: Path) -> None:
    part = Part("cell", program(RESUMES))
    with pytest.raises(TimeIsUp):
        do(part, tmp_path, time.monotonic() + 3)
    assert not (tmp_path / "cell.done").exists()
    for _ in range(2):
        do(part, tmp_path, time.monotonic() + 30)
    # Interrupted once, resumed once, and not repeated once it was done.
    assert (tmp_path / "cell.log").read_text().count("running") == 2


def test_a_part_that_ignores_the_interrupt_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(TimeIsUp):
        do(Part("deaf", program(deaf)), tmp_path, began + 2.5)
    assert time.monotonic() - began < 10


def test_a_part_that_cannot_resume_starts_only_with_enough_time(tmp_path: Path) -> None:
    with pytest.raises(TimeIsUp):
        do(Part("tests", program("open('ran', 'w')"), enough=100), tmp_path, time.monotonic() + 50)
    assert not (tmp_path / "ran").exists()


def test_a_failed_part_is_reported_in_the_table_and_not_repeated(tmp_path: Path) -> None:
    do(Part("cell", program("raise SystemExit(7)")), tmp_path, time.monotonic() + 30)
    do(Part("cell", program("open('again', 'w')")), tmp_path, time.monotonic() + 30)
    assert (tmp_path / "cell.failed").read_text() == "7\n" and not (tmp_path / "again").exists()
    assert "| cell | failed |" in write_table(tmp_path, dry=False)


def test_every_planned_part_and_preset_exists() -> None:
    names = [part.name for part in gpu.parts(Path("x"), {"DEVICE": "cpu"})]
    assert names == ["tests", "iteration", "expert_epoch", "evaluation", "cell", "memory"]
    for planned in PLANNED.values():
        load_preset(planned.preset, list(planned.sets))


def test_the_table_compares_each_measurement_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text('<x><testsuite tests="9" failures="1" errors="0" skipped="2"/></x>')
    record = {"ratio": 25.0, "plain_seconds": 5.0, "fast_seconds": 0.2, "n": 5, "ceiling_share": {"conv": 0.5}}
    write_json(tmp_path / "results" / "iteration-tf32.json", record)
    final = {"accuracy_mean": 53.0, "accuracy_std": 0.4, "repeats": 5}
    metrics = {"stage_seconds": {"experts": 600.0, "distill": 360.0}, "memory_gib": 2.0, "final": final}
    for name in ("cell", "memory"):
        write_json(tmp_path / "runs" / name / "result" / "metrics.json", metrics)
    write_json(tmp_path / "cifar10.json", {"images": "torchvision's images"})
    text = write_table(tmp_path, dry=True)
    assert text == (tmp_path / "table.md").read_text() and "a dry run" in text
    rows = {row["what"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]}
    assert rows["tests marked cuda"]["measured"] == "6 passed, 1 failed, 2 skipped"
    assert [rows[what]["holds"] for what in list(rows)[:3]] == [False, True, False]
    assert rows["CIFAR-10-LT IF 100 IPC 10, data to report"]["measured"] == "16.0 min"
    assert rows["memory of CIFAR-100-LT at IPC 50"]["holds"]


def test_the_script_prints_its_usage_and_rejects_unknown_parts(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "benchmarks" / "gpu.sh"], capture_output=True, text=True)
    assert done.returncode == 2 and "gpu.sh FOLDER [SECONDS]" in done.stderr and "DRY=1" in done.stderr
    environment = os.environ | {"PARTS": "cells", "PYTHON": sys.executable}
    words = [ROOT / "benchmarks" / "gpu.sh", tmp_path]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no part cells; PARTS can be tests iteration" in done.stderr


@pytest.mark.long
def test_an_interrupted_dry_run_resumes(tmp_path: Path) -> None:
    """The real script and engine, tiny, on the CPU: the first call ends in the middle of a run."""
    environment = os.environ | {"PYTHON": sys.executable, "DRY": "1", "DEVICE": "cpu", "PARTS": "memory", "GRACE": "10"}
    codes = []
    for seconds in ("13", "300"):
        codes.append(
            subprocess.run([ROOT / "benchmarks" / "gpu.sh", str(tmp_path / "gpu"), seconds], env=environment).returncode
        )
    assert codes == [3, 0]
    assert json.loads((tmp_path / "gpu" / "table.json").read_text())["rows"]
