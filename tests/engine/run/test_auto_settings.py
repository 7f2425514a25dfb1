"""`auto`: what the number of images decides becomes a number, wherever settings become a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run import auto_settings
from engine.run.auto_settings import EXPERTS, EXTREME_TAIL, config_text, resolve_auto, with_numbers
from engine.run.data_settings import DatasetSettings
from engine.run.device_profiles import cpu
from engine.run.errors import SettingsError
from engine.run.estimate import estimate
from engine.run.image_folder import Survey
from engine.run.presets import dump, load_preset
from engine.run.settings import BY_SIZE, RunSettings, settings_hash
from engine.run.yaml_text import with_comments
from engine.sweep.grid import load_sweep

KEYS = [f"{block}.{name}" for block, name in BY_SIZE]
ALL_AUTO = [f"{key}=auto" for key in KEYS]


def resolved(counts: list[int], *overrides: str) -> tuple[RunSettings, dict[str, str]]:
    return resolve_auto(load_preset("own-images", [*ALL_AUTO, *overrides]), counts)


@pytest.mark.parametrize("images", [20, 100, 700, 3_700, 12_000, 100_000])
def test_experts_take_their_steps_whatever_the_number_of_images(images: int) -> None:
    settings, reasons = resolved([images - 10, 10])
    experts, steps = settings.experts, -(-images // settings.experts.batch_size)
    assert not settings.unresolved and set(reasons) == set(KEYS)
    assert EXPERTS.fewest <= experts.epochs <= EXPERTS.most
    assert experts.epochs * steps >= EXPERTS.work or experts.epochs == EXPERTS.most
    assert (experts.epochs - 1) * steps < EXPERTS.work or experts.epochs == EXPERTS.fewest
    assert experts.batch_size == settings.classifier_experts.batch_size == (16 if images < 2000 else 64)
    # Matching reads no epoch that the experts do not have.
    assert settings.matching.max_start_epoch - 1 + settings.matching.expert_epochs <= experts.epochs
    assert settings.classifier_experts.epochs >= settings.matching.expert_epochs
    assert f"{steps * experts.epochs:,} in all" in reasons["experts.epochs"]


def test_a_number_that_is_given_stays_and_others_follow_it() -> None:
    settings, reasons = resolved([90, 10], "experts.epochs=40", "experts.batch_size=50")
    assert (settings.experts.epochs, settings.experts.batch_size, settings.matching.max_start_epoch) == (40, 50, 20)
    assert not reasons.keys() & {"experts.epochs", "experts.batch_size"}
    totals = [resolved(counts)[0].matching.dam_weight_total for counts in ([EXTREME_TAIL, 1], [EXTREME_TAIL - 1, 1])]
    assert totals == ["one", "classes"]
    with pytest.raises(SettingsError, match="must lie below"):
        resolved([90, 10], "matching.min_start_epoch=200")


def test_settings_without_auto_stay_as_they_are() -> None:
    settings = load_preset("cifar10-lt-if100-ipc10")
    assert with_numbers(settings) == (settings, {}) and settings_hash(settings) == settings_hash(
        resolve_auto(settings, [5, 5])[0]
    )


def test_the_estimate_is_of_the_numbers() -> None:
    counts, device = [90, 10], cpu(2)
    asked = load_preset("own-images", ALL_AUTO)
    assert estimate(asked, device, counts) == estimate(resolve_auto(asked, counts)[0], device, counts)


def test_cells_of_a_sweep_have_numbers_and_their_reasons_in_config(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("preset: quickstart\nset: {experts.epochs: auto}\ngrid: {dataset.imbalance_factor: [2, 50]}\n")
    cells = load_sweep(str(file)).cells
    epochs = [cell.settings.experts.epochs for cell in cells]
    assert epochs[0] < epochs[1]
    config = config_text(cells[1].settings, cells[1].reasons)
    assert f"  epochs: {epochs[1]}  # " in config and "# " not in config.split("teacher")[1]


def test_a_sweep_looks_at_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def counted(dataset: DatasetSettings) -> Survey:
        looks.append(dataset)
        return Survey(("cat", "dog"), (90, 10))

    monkeypatch.setattr(auto_settings, "survey", counted)
    file = tmp_path / "grid.yaml"
    data = "dataset.name: folder, dataset.path: photos, dataset.imbalance_factor: natural"
    file.write_text(f"preset: quickstart\nset: {{experts.epochs: auto, {data}}}\ngrid: {{seed: [0, 1, 2]}}\n")
    assert [cell.settings.experts.epochs for cell in load_sweep(str(file)).cells] == [200] * 3 and len(looks) == 1


def test_comments_stand_at_their_key_alone_and_change_no_value(tmp_path: Path) -> None:
    settings = load_preset("quickstart")
    comments = {"experts.epochs": "why", "ipc": "x " * 100, "matching": "of the block"}
    text = with_comments(dump(settings), comments)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert load_preset(str(path)) == settings
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120 and text.count("# why") == 1 and "# of the block\nmatching:\n" in text
    assert f"  epochs: {settings.experts.epochs}  # why" in lines[lines.index("experts:") : lines.index("teacher:")]
    assert lines[lines.index(f"ipc: {settings.ipc}") - 1].startswith("# x x")


def test_where_only_files_tell_the_number_of_images_auto_asks_for_a_number() -> None:
    with pytest.raises(SettingsError, match=r"experts\.epochs: auto needs the number of images"):
        with_numbers(load_preset("imagenet-lt-if10-ipc10", ["experts.epochs=auto", "dataset.imbalance_factor=natural"]))
