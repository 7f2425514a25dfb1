"""Measuring a machine: every kind of step is timed, nothing stays but the figures, and rates explain what was timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from engine import __main__, calibration
from engine.calibration import Shape, TimedStep, fit, scaled_to
from engine.nets.norm_pool_cpp import why_not_build
from engine.run.device_profiles import ONE_CORE, Rate, StepKind, calibration_file, is_degenerate, read_calibration
from engine.run.network_cost import Work
from tests.engine.tiny_run import CPU

WORKS = [Work(3, 2.5e5, 1.2e7), Work(4, 8.3e6, 4.9e8), Work(4, 8.3e6, 1.6e9)]


def timed_steps(rate: Rate, *works: Work) -> list[TimedStep]:
    return [TimedStep("train", work, rate.seconds(work)) for work in works]


@pytest.mark.parametrize("rate", [Rate(1e-4, 2e-9, 1e-11), Rate(0, 2e-9, 0), Rate(1e-4, 0, 1e-12), Rate(1e-3, 0, 0)])
def test_fitting_finds_the_rate(rate: Rate) -> None:
    fitted = fit(timed_steps(rate, *WORKS))
    for amount, wanted in zip(
        (fitted.layer, fitted.value, fitted.flop), (rate.layer, rate.value, rate.flop), strict=True
    ):
        assert amount == pytest.approx(wanted, rel=1e-6, abs=1e-18)


def test_noise_makes_no_rate_negative() -> None:
    # The widest network the fastest: only a negative price of an operation would explain it exactly.
    timed = [TimedStep("train", work, seconds) for work, seconds in zip(WORKS, (0.01, 0.2, 0.1), strict=True)]
    fitted = fit(timed)
    assert min(fitted.layer, fitted.value, fitted.flop) >= 0
    assert max(fitted.seconds(work) for work in WORKS) > 0.05


def test_where_no_rate_fits_the_built_in_one_is_scaled_to_the_time_of_all_steps() -> None:
    # Another program disturbed the narrow shapes: arithmetic seems to cost nothing.
    timed = [TimedStep("train", work, seconds) for work, seconds in zip(WORKS, (0.05, 0.3, 0.1), strict=True)]
    assert is_degenerate("cpu", "train", fit(timed)) and not is_degenerate("cuda:0", "train", fit(timed))
    scaled = scaled_to(timed, ONE_CORE["train"])
    assert sum(scaled.seconds(work) for work in WORKS) == pytest.approx(0.45)
    assert scaled.flop / scaled.value == pytest.approx(ONE_CORE["train"].flop / ONE_CORE["train"].value)


def test_one_amount_alone_is_enough() -> None:
    assert fit([TimedStep("decode", Work(layers=200), 0.5)]) == Rate(layer=0.0025)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shapes that take no time, and a cache of one's own."""
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", str(calibration.torch.get_num_threads()))
    shapes = [Shape(1, 8, 4, 1, 10, 2, 2), Shape(3, 8, 4, 2, 20, 1, 1), Shape(1, 8, 16, 2, 10, 1, 1)]
    monkeypatch.setattr(calibration, "shapes", lambda device: shapes)
    monkeypatch.setattr(calibration, "MATRIX_SIDE", 64)
    monkeypatch.setattr(calibration, "EIGEN_SIDE", 32)
    return tmp_path


def test_a_machine_is_measured_and_nothing_else_stays(small: Path) -> None:
    measured = calibration.calibrate(CPU, compiler=False)
    assert read_calibration("cpu") == measured
    assert set(measured.rates) == set(get_args(StepKind))
    work = Work(4, 1e6, 1e8)
    assert all(rate.seconds(work) > 0 for rate in measured.rates.values())
    forms = {"train", "evaluate", "classifier", "student", "student_exact", "head"}
    assert set(measured.compiled_rates) == (set() if why_not_build() else forms)
    assert 0.1 < measured.runtime_gib < 4
    left = [path for path in small.rglob("*") if path.is_file() and path.parent.name != "native"]
    assert left == [calibration_file("cpu", measured.threads)]
    timed = json.loads(calibration_file("cpu", measured.threads).read_text())["readings"]
    assert {row["step"] for row in timed} == set(get_args(StepKind)) - {"compile"}


def test_calibrate_refuses_a_missing_device(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["calibrate", "--device", "cuda:99"]) == 2
    assert "there is no device 'cuda:99'" in capsys.readouterr().err
    assert not list(small.rglob("*.json"))
