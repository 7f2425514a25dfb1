"""The shipped sweeps: every cell loads, those of the paper have its presets' settings and published figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from engine.run.expert_cache import classifier_epochs, representation_epochs
from engine.run.methods import METHODS
from engine.run.presets import load_preset, shipped_folder
from engine.sweep.cells import in_order, shared_by
from engine.sweep.grid import Sweep, load_sweep
from scripts.generate_docs import with_sweep_estimate

FILES = {path.stem: path for path in sorted((shipped_folder() / "sweeps").glob("*.yaml"))}
PAPER = {"paper-cifar10-lt": "cifar10-lt", "paper-cifar100-lt": "cifar100-lt", "paper-tiny": "tiny-imagenet-lt"}


@pytest.fixture(scope="module")
def sweeps() -> dict[str, Sweep]:
    return {name: load_sweep(str(path)) for name, path in FILES.items()}


def test_the_sweeps_that_the_docs_name_are_there() -> None:
    assert set(FILES) == {*PAPER, "digits", "ablation", "robustness", "cross-architecture", "lambda"}


@pytest.mark.parametrize("name", FILES)
def test_the_estimate_in_a_sweeps_comment_is_up_to_date(name: str, sweeps: dict[str, Sweep]) -> None:
    stale = "run `python -m scripts.generate_docs`"
    text = FILES[name].read_text()
    assert with_sweep_estimate(text, sweeps[name]) == text, stale
    assert all(sweep.settings.dataset.path is None for sweep in sweeps[name].cells)


@pytest.mark.parametrize("name", [*PAPER, "ablation", "robustness"])
def test_cells_of_ltdd_are_the_presets_of_the_paper_with_their_published_accuracy(
    name: str, sweeps: dict[str, Sweep]
) -> None:
    for cell in (cell for cell in sweeps[name].cells if cell.values["method"] == "ltdd"):
        factor, ipc, seed = (cell.values[key] for key in ("dataset.imbalance_factor", "ipc", "seed"))
        preset = load_preset(f"{PAPER.get(name, 'cifar10-lt')}-if{factor}-ipc{ipc}", [f"seed={seed}"])
        expected = cell.settings.expected
        assert cell.settings.model_copy(update={"expected": None}) == preset.model_copy(update={"expected": None})
        assert expected is None or preset.expected is None or expected.accuracy == preset.expected.accuracy


@pytest.mark.parametrize("name", FILES)
def test_the_first_cell_trains_all_that_cells_with_the_same_experts_need(name: str, sweeps: dict[str, Sweep]) -> None:
    for _, group in itertools.groupby(in_order(sweeps[name].cells), shared_by):
        needs = [
            (representation_epochs(own) * own.trains_experts, classifier_epochs(own) * own.trains_classifier_experts)
            for own in (cell.settings for cell in group)
        ]
        assert needs[0][0] == max(epochs for epochs, _ in needs) and needs[0] == max(needs)


def test_digits_has_every_method_but_imported(sweeps: dict[str, Sweep]) -> None:
    digits = sweeps["digits"]
    assert set(digits.grid["method"]) == set(METHODS) - {"imported"}
    assert len(digits.cells) == 14 * 3 * 3 * 3
    assert all(cell.settings.dataset.name == "digits" for cell in digits.cells)


def test_every_figure_has_its_source() -> None:
    for path in FILES.values():
        rows = [line for line in path.read_text().splitlines() if "accuracy:" in line]
        assert all("source:" in line for line in rows)


def test_a_sweep_is_found_by_its_name_wherever_presets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_HOME", str(tmp_path))
    assert load_sweep("lambda").name == load_sweep("sweeps/lambda").name == "lambda"
    own = tmp_path / "presets" / "sweeps" / "lambda.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("preset: quickstart\ngrid: {ipc: [1, 2]}\n")
    assert [cell.name for cell in load_sweep("lambda").cells] == ["ipc1", "ipc2"]
