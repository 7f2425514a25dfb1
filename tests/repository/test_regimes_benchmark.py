"""The table of all methods in all label regimes: its settings load, and a row says what it was measured on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import methods, regimes
from benchmarks.regimes import MORE_SEEDS, REGIMES, overrides, table
from engine.run.methods import METHODS
from engine.run.presets import load_preset

TABLED = [method for method in METHODS if method != "imported"]


@pytest.mark.parametrize("method", TABLED)
def test_every_method_runs_in_every_regime_under_one_teacher(method: str) -> None:
    settings = load_preset("cifar10-lt-if100-ipc10-small", overrides(method, 2, ["teacher.epochs=3"]))
    assert (settings.method, settings.seed, settings.teacher.epochs) == (method, 2, 3)
    assert set(settings.evaluate.labels) == set(REGIMES) and settings.teacher.kind == "classifier_experts"
    assert settings.evaluate.repeats == (5 if method in MORE_SEEDS else 3)
    assert settings.has_soft_labels or METHODS[method].synthesis == "distribution matching" or method == "mtt"


def row(method: str, seed: int, accuracy: float) -> dict[str, object]:
    figures = {"accuracy_mean": accuracy, "accuracy_std": 7.0}
    return {
        "method": method,
        "seed": seed,
        "repeats": 5,
        "teacher": figures,
        "regimes": {regime: {"final": figures} for regime in REGIMES},
        "stored_bytes": {"images_uint8": 1000, "labels_float32": 40},
        "stage_seconds": {"experts": 500.0, "distill": 12.0, "evaluate": 99.0},
    }


def test_several_seeds_have_the_spread_of_their_means_and_one_seed_that_of_its_networks() -> None:
    *_, several, one = table([row("ltdd-plus", 0, 40.0), row("ltdd-plus", 1, 42.0), row("dm", 0, 30.0)])
    assert several.startswith("| `ltdd-plus` | 2 x 5 | 41.0 +- 1.4 |") and several.endswith("| 1,000, 40 | 12 |")
    assert one.startswith("| `dm` | 1 x 5 | 30.0 +- 7.0 |")


def test_a_table_can_be_made_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracy = {"dm": 30.0, "random": 20.0, "ltdd-plus": 40.0}
    monkeypatch.setattr(methods, "RESULTS", tmp_path)
    monkeypatch.setattr(regimes, "_row", lambda options, method, seed: row(method, seed, accuracy[method] + seed))

    def run(*words: str) -> list[tuple[str, int, float]]:
        monkeypatch.setattr("sys.argv", ["regimes", "quickstart", *words])
        regimes.main()
        rows = json.loads((tmp_path / "regimes-quickstart.json").read_text())["rows"]
        assert [one["command"] for one in rows] == [
            f"python -m benchmarks.regimes quickstart --methods {one['method']} --seed {one['seed']}" for one in rows
        ]
        return [(one["method"], one["seed"], one["teacher"]["accuracy_mean"]) for one in rows]

    assert run("--methods", "random,dm", "--seed", "0") == [("dm", 0, 30.0), ("random", 0, 20.0)]
    run("--methods", "ltdd-plus", "--seed", "1")
    accuracy["dm"] = 31.0
    # A row that is made again takes the place of its older one; the others stay, in the order of the methods.
    expected = [("ltdd-plus", 1, 41.0), ("dm", 0, 31.0), ("random", 0, 20.0)]
    assert run("--methods", "dm", "--seed", "0") == expected
