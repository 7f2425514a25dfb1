"""The file that a machine's measurements lie in: read where it fits this machine, else as if it were not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from engine.run import device_profiles as module
from engine.run import device_profiles as module_of_processor
from engine.run.device_profiles import (
    Calibration,
    Rate,
    StepKind,
    calibration_file,
    device_for,
    read_calibration,
    write_calibration,
)
from engine.run.network_cost import Work

RATES: dict[StepKind, Rate] = {step: Rate(0.5, 0.25, 0.125) for step in get_args(StepKind)}

COMPILED: dict[StepKind, Rate] = {"student": Rate(0.25, 0.0, 0.125)}


@pytest.fixture(autouse=True)
def two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(module, "torch_version", lambda: "9.9")


def measured(**more: Any) -> Calibration:
    found = Calibration("cpu", "x86_64", 2, "9.9", "2026-01-02T03:04:05+00:00", 9.5, 0.01, True, 0.7, RATES, COMPILED)
    return replace(found, **more)


def test_rates_in_which_arithmetic_costs_nothing_are_not_read() -> None:
    write_calibration(measured(rates=RATES | {"train": Rate(0.5, 0.25)}), [])
    assert read_calibration("cpu") is None and device_for("cpu").calibrated is None
    assert measured(scaled=("train",)).as_device().busy


def test_a_calibration_is_read_as_it_was_written() -> None:
    write_calibration(measured(), [{"step": "train", "seconds": 0.1}])
    assert read_calibration("cpu") == measured()
    device = device_for("cpu")
    assert (device.name, device.kind, device.runtime_gib) == ("cpu with 2 cores", "cpu", 0.7)
    assert device.calibrated == measured().measured and not device.busy
    assert device.seconds("train", Work(layers=3)) == 1.5
    assert device.seconds("student", Work(layers=4), "convnet", compiled=True) == 1


def test_the_calibration_of_a_gpu_does_not_depend_on_threads() -> None:
    write_calibration(measured(device="cuda:1", device_name="NVIDIA H200", threads=16), [])
    device = device_for("cuda:1")
    assert (device.name, device.kind) == ("cuda NVIDIA H200", "cuda")
    assert device_for("cuda:0").calibrated is None


def test_without_a_calibration_that_fits_the_built_in_profile_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_for("cpu").calibrated is None and device_for("cpu").name == "cpu with 2 cores"
    write_calibration(measured(), [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert read_calibration("cpu") is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(module, "torch_version", lambda: "10.0")
    assert read_calibration("cpu") is None


def test_a_calibration_of_another_processor_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with one cache: each reads its own, whoever measured last."""
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(module_of_processor, "_INFO", info)
    for name in ("slow", "fast"):
        info.write_text(f"processor : 0\nmodel name : A {name} one (R) @ 2 GHz\n")
        assert read_calibration("cpu") is None and read_calibration("cuda:0") is None
        write_calibration(measured(device_name=name), [])
        write_calibration(measured(device="cuda:0", device_name=name), [])
    info.write_text("model name : A slow one (R) @ 2 GHz\n")
    found = [read_calibration("cpu"), read_calibration("cuda:0")]
    assert [one and one.device_name for one in found] == ["slow", "slow"]


@pytest.mark.parametrize("broken", ["{", "[]", '{"schema": 2}', "null"])
def test_a_damaged_calibration_is_ignored(broken: str) -> None:
    write_calibration(measured(), [])
    calibration_file("cpu", 2).write_text(broken)
    assert read_calibration("cpu") is None


def test_a_calibration_that_lacks_a_step_is_ignored() -> None:
    write_calibration(measured(), [])
    path = calibration_file("cpu", 2)
    written = json.loads(path.read_text())
    del written["rates"]["student"]
    path.write_text(json.dumps(written))
    assert read_calibration("cpu") is None


def test_a_busy_machine_is_marked() -> None:
    write_calibration(measured(waited=0.6), [])
    assert device_for("cpu").busy
