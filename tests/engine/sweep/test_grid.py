"""A sweep's file becomes cells with names and settings, or every fault with its place."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from engine.run.errors import LtddError, SettingsError
from engine.run.presets import load_preset
from engine.sweep.cells import in_order, shared_by
from engine.sweep.grid import Sweep, is_sweep, load_sweep, only_cells

FILE = """
preset: quickstart
set: {matching.iterations: 60, evaluate: {repeats: 2}}
grid:
  method: [ltdd, idm, rldd, random]
  dataset.imbalance_factor: [10, 100]
  matching: {lambda_cls: [0.1, 1]}
  seed: [0, 1]
overrides:
  - where: {method: [idm, rldd]}
    set: {matching.iterations: 30}
  - where: {method: rldd, seed: 1}
    set: {matching.iterations: 9}
published:
  - where: {method: ltdd, dataset.imbalance_factor: 100}
    accuracy: 53.4
    source: Table 1
"""


def sweep_of(folder: Path, text: str = FILE, overrides: tuple[str, ...] = ()) -> Sweep:
    (folder / "mine.yaml").write_text(text)
    return load_sweep(str(folder / "mine.yaml"), overrides)


def test_cells_are_the_product_of_the_grid_in_its_order_and_named_by_its_values(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    assert len(sweep.cells) == 32
    assert [cell.name for cell in sweep.cells[:5]] == [
        "ltdd-if10-lambda_cls0.1-seed0",
        "ltdd-if10-lambda_cls0.1-seed1",
        "ltdd-if10-lambda_cls1-seed0",
        "ltdd-if10-lambda_cls1-seed1",
        "ltdd-if100-lambda_cls0.1-seed0",
    ]
    assert sweep.cells[-1].name == "random-if100-lambda_cls1-seed1"


def test_settings_are_those_of_the_preset_with_set_and_defaults_of_the_method(tmp_path: Path) -> None:
    cells = {cell.name: cell.settings for cell in sweep_of(tmp_path).cells}
    given = ["matching.iterations=30", "evaluate.repeats=2", "dataset.imbalance_factor=10", "matching.lambda_cls=0.1"]
    assert cells["idm-if10-lambda_cls0.1-seed1"] == load_preset("quickstart", [*given, "method=idm", "seed=1"])
    assert cells["idm-if10-lambda_cls0.1-seed1"].distribution.image_lr == 0.2, "idm's own default"
    assert [cells[f"rldd-if10-lambda_cls1-seed{seed}"].matching.iterations for seed in (0, 1)] == [30, 9]
    expected = cells["ltdd-if100-lambda_cls1-seed0"].expected
    assert expected and (expected.accuracy, expected.source) == (53.4, "Table 1")
    assert cells["ltdd-if10-lambda_cls1-seed0"].expected is None


def test_the_resolved_file_gives_the_same_cells_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, overrides=("dataset.path=images", "experts.width=16"))
    kept = tmp_path / "begun"
    kept.mkdir()
    (kept / "sweep.yaml").write_text(sweep.resolved)
    monkeypatch.chdir("/")
    again = load_sweep(str(kept))
    assert again.cells == sweep.cells and again.resolved == sweep.resolved and again.name == "begun"
    assert again.cells[0].settings.dataset.path == str(tmp_path / "images")
    assert "quickstart" not in sweep.resolved


def test_workers_take_cells_that_share_experts_in_sequence_and_a_whole_table_of_the_first_seed(tmp_path: Path) -> None:
    ordered = in_order(sweep_of(tmp_path).cells)
    assert [cell.settings.seed for cell in ordered] == [0] * 16 + [1] * 16
    shared = [shared_by(cell) for cell in ordered]
    changes = sum(one != other for one, other in itertools.pairwise(shared))
    assert changes == len(set(shared)) - 1 == 3


def test_only_takes_cells_by_values_of_the_grid(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    names = [cell.name for cell in only_cells(sweep, ["method=ltdd,random,if=100", "seed=1"])]
    assert names == [f"{name}-if100-lambda_cls{value}-seed1" for name in ("ltdd", "random") for value in ("0.1", "1")]
    # Also as YAML writes a value, and as the screen does: lists, and numbers with more digits than in a name.
    lists = sweep_of(tmp_path, "preset: quickstart\ngrid: {evaluate.labels: [[stored, hard], [hard]], seed: [0, 1]}\n")
    labels = lists.cells[0].values["evaluate.labels"]
    for text in ("labels=[stored,hard],seed=1", "labels=stored-hard,seed=1.0", f"evaluate.labels={labels},seed=1"):
        assert only_cells(lists, [text]) == [lists.cells[1]]
    assert len(only_cells(sweep, ["lambda_cls=1.0"])) == 16
    assert only_cells(sweep, []) == list(sweep.cells)
    for wrong, told in (
        ("methods=ltdd", "no 'methods'"),
        ("ipc=1", "no 'ipc'"),
        ("seed=7", "no value '7'"),
        ("x", "KEY"),
    ):
        with pytest.raises(LtddError, match=told):
            only_cells(sweep, [wrong])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("grid:\n", "grids:\n"), r"grids: there is no such key in a sweep"),
        (("method: [ltdd, idm, rldd, random]", "method: ltdd"), r"mine.yaml:5: grid.method: .*list"),
        (("method: [ltdd, idm", "metod: [ltdd, idm"), r"mine.yaml:5: grid.metod: there is no such setting\n.*method"),
        (("seed: [0, 1]", "seed: [1, 1]"), "mine.yaml:8: grid.seed: a value stands here a second time"),
        (
            ("seed: [0, 1]", "evaluate.repeats: [1]"),
            "grid.evaluate.repeats: evaluate.repeats stands below `set` as well",
        ),
        (("{method: rldd, seed: 1}", "{ipc: 1}"), "mine.yaml:9: overrides: entry 2: ipc is not in the grid"),
        (
            ("[0.1, 1]", "[0.1, -1]"),
            r"cell ltdd-if10-lambda_cls-1-seed0 and 15 more: .*mine.yaml:7: matching.lambda_cls",
        ),
        (("quickstart", "quickstar"), r"there is no preset 'quickstar'\nhint: did you mean quickstart"),
        (
            ("iterations: 9", "iteration: 9"),
            r"cell rldd-.*: .*mine.yaml:9: matching.iteration: there is no such setting",
        ),
        (("[10, 100]", "[10, 10.0]"), "a second time"),
    ],
)
def test_faults_say_where_and_in_which_cells(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s){told}"):
        sweep_of(tmp_path, FILE.replace(*change))


def test_the_grid_is_not_changed_from_outside(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--set: seed: seed is in the grid of the sweep"):
        sweep_of(tmp_path, overrides=("seed=3",))


def test_a_sweep_is_told_from_a_preset(tmp_path: Path) -> None:
    sweep_of(tmp_path)
    (tmp_path / "preset.yaml").write_text("ipc: 1\n")
    assert is_sweep(str(tmp_path / "mine.yaml"))
    assert not any(map(is_sweep, (str(tmp_path / "preset.yaml"), "quickstart", str(tmp_path))))
