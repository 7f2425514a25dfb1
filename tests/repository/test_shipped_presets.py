"""The shipped presets say what their names say, and what was published."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from engine.run.presets import load_preset, shipped_folder
from engine.run.settings import RunSettings
from scripts.generate_docs import ESTIMATE_LINE, estimate_line, with_estimate

NAMES = sorted(path.stem for path in shipped_folder().glob("*.yaml") if not path.name.startswith("_"))
OWN = {"quickstart", "cifar10-lt-if100-ipc10-small", "own-images"}
CELLS = [name for name in NAMES if name not in OWN]
SETS = {
    "cifar10-lt": "cifar10",
    "cifar100-lt": "cifar100",
    "tiny-imagenet-lt": "tiny-imagenet",
    "imagenet-lt": "imagenet-lt",
}


def settings_of(name: str) -> RunSettings:
    return load_preset(str(shipped_folder() / f"{name}.yaml"))


def text_of(name: str) -> str:
    return (shipped_folder() / f"{name}.yaml").read_text()


def test_every_published_cell_has_a_preset() -> None:
    cells = [("cifar10-lt", factor, ipc) for factor in (10, 50, 100, 200) for ipc in (10, 20, 50)]
    cells += [("cifar100-lt", factor, ipc) for factor in (10, 20, 50) for ipc in (10, 20, 50)]
    cells += [("tiny-imagenet-lt", factor, ipc) for factor in (10, 20) for ipc in (10, 20, 50)]
    cells += [("imagenet-lt", factor, ipc) for factor in (5, 10) for ipc in (10, 20)]
    assert sorted(CELLS) == sorted(f"{name}-if{factor}-ipc{ipc}" for name, factor, ipc in cells)
    assert set(NAMES) >= OWN


@pytest.mark.parametrize("name", CELLS)
def test_a_preset_name_states_its_data_set_imbalance_and_ipc(name: str) -> None:
    found = re.fullmatch(r"(.+)-if(\d+)-ipc(\d+)", name)
    assert found
    settings = settings_of(name)
    assert settings.dataset.name == SETS[found[1]]
    assert settings.dataset.imbalance_factor == int(found[2])
    assert settings.ipc == int(found[3])
    assert settings.method == "ltdd"
    assert settings.dataset.path is None


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_in_a_preset_comment_is_up_to_date(name: str) -> None:
    stale = "run `python -m scripts.generate_docs`"
    assert with_estimate(text_of(name), settings_of(name)) == text_of(name), stale


def test_rewriting_an_estimate_changes_only_its_line() -> None:
    settings = settings_of("quickstart")
    text = with_estimate("# a\n# Estimate, two CPU cores: ?\nipc: 2\n", settings)
    assert text == f"# a\n{estimate_line(settings, 'two CPU cores')}\nipc: 2\n"
    assert ESTIMATE_LINE.search(text)


# The official code's table of CIFAR-10-LT, as published: image_lr, max_start_epoch, sequential_from, lambda_rep,
# lambda_cls, GPUs.
CIFAR10 = {
    (10, 10): (100, 20, 10, 1, 0.2, 2),
    (10, 20): (100, 40, None, 1, 0.2, 6),
    (10, 50): (1000, 40, None, 1, 0.2, 6),
    (50, 10): (100, 20, None, 1, 0.5, 4),
    (50, 20): (100, 20, 10, 0.5, 1, 5),
    (50, 50): (100, 40, 20, 0.5, 1, 6),
    (100, 10): (100, 20, None, 0.5, 1, 4),
    (100, 20): (100, 20, 10, 0.5, 1, 5),
    (100, 50): (1000, 40, None, 1, 0.5, 6),
    (200, 10): (100, 20, None, 0.1, 1, 6),
    (200, 20): (1000, 40, None, 0.1, 1, 5),
    (200, 50): (1000, 40, None, 0.1, 1, 6),
}


@pytest.mark.parametrize(("factor", "ipc"), CIFAR10)
def test_cifar10_has_the_official_values(factor: int, ipc: int) -> None:
    name = f"cifar10-lt-if{factor}-ipc{ipc}"
    settings, matching = settings_of(name), settings_of(name).matching
    *values, gpus = CIFAR10[factor, ipc]
    assert [
        matching.image_lr,
        matching.max_start_epoch,
        matching.sequential_from,
        matching.lambda_rep,
        matching.lambda_cls,
    ] == values
    assert (matching.iterations, matching.expert_epochs, matching.batch_syn, matching.min_start_epoch) == (
        10000,
        2,
        500,
        0,
    )
    assert (matching.syn_steps, matching.syn_steps_cls) == (80, 60 if (factor, ipc) == (100, 50) else 80)
    assert (matching.beta, matching.beta_lr, matching.label_lr) == (0.01, 1e-5, 2)
    assert (matching.image_momentum, matching.label_momentum, matching.beta_momentum) == (0.5, 0.9, 0.5)
    assert (matching.dam_smoothness, matching.dam_weight, matching.dam_weight_total) == (0, "share", "one")
    assert (matching.gradient, matching.emulate_replicas, matching.rate_decay) == ("published", 1, "none")
    assert (settings.dataset.whitening, settings.initialize.images) == ("paper", "correct")
    assert settings.evaluate.every == 500
    assert f"used {gpus} GPUs" in text_of(name)
    assert_papers_experts(settings, depth=3)


def assert_papers_experts(settings: RunSettings, depth: int) -> None:
    experts = settings.experts
    assert (experts.network, experts.width, experts.depth) == ("convnet", 128, depth)
    assert (experts.num_experts, experts.epochs, experts.batch_size) == (100, 100, 256)
    assert (experts.learning_rate, experts.momentum, experts.weight_decay) == (0.01, 0, 5e-3)
    assert (experts.optimizer, experts.gsam_rho, experts.gsam_alpha) == ("gsam", 0.01, 0.3)
    retrained = settings.classifier_experts
    assert (retrained.epochs, retrained.images_per_turn, retrained.weight_decay) == (10, 4, 0)
    recipe = settings.evaluate
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (1000, 128, "learnt")
    assert (recipe.momentum, recipe.weight_decay, recipe.decay_at) == (0.9, 5e-4, 0.5)


class Others(NamedTuple):
    """What the other sets' official values are, in the order of matching_values."""

    steps: tuple[int, int]
    batch: int
    image_lr: float
    label_lr: float
    starts: tuple[int, int]


def matching_values(settings: RunSettings) -> Others:
    matching = settings.matching
    return Others(
        (matching.syn_steps, matching.syn_steps_cls),
        matching.batch_syn,
        matching.image_lr,
        matching.label_lr,
        (matching.min_start_epoch, matching.max_start_epoch),
    )


@pytest.mark.parametrize("ipc", [10, 20, 50])
@pytest.mark.parametrize("factor", [10, 20, 50])
def test_cifar100_has_the_official_values(factor: int, ipc: int) -> None:
    settings = settings_of(f"cifar100-lt-if{factor}-ipc{ipc}")
    starts = (30, 50) if (factor, ipc) == (10, 10) else (20, 70)
    assert matching_values(settings) == Others((40, 20), 1000, 1000, 10, starts)
    assert (settings.matching.lambda_rep, settings.matching.lambda_cls) == (1, 0.1)
    assert settings.initialize.images == "real"
    assert_papers_experts(settings, depth=3)


@pytest.mark.parametrize("ipc", [10, 20, 50])
@pytest.mark.parametrize("factor", [10, 20])
def test_tiny_has_the_official_values(factor: int, ipc: int) -> None:
    settings = settings_of(f"tiny-imagenet-lt-if{factor}-ipc{ipc}")
    steps = {10: 25, 20: 20, 50: 10}[ipc]
    starts, batch, beta_lr = ((40, 70), 1000, 1e-5) if ipc == 50 else ((10, 50), 500, 1e-4)
    assert matching_values(settings) == Others((steps, steps), batch, 100, 10, starts)
    assert (settings.matching.lambda_rep, settings.matching.lambda_cls) == (1, 0.1)
    assert (settings.matching.beta_lr, settings.initialize.images) == (beta_lr, "real")
    assert_papers_experts(settings, depth=4)


@pytest.mark.parametrize("ipc", [10, 20])
@pytest.mark.parametrize("factor", [5, 10])
def test_imagenet_has_the_values_reported_by_the_author(factor: int, ipc: int) -> None:
    settings = settings_of(f"imagenet-lt-if{factor}-ipc{ipc}")
    assert matching_values(settings) == Others((25, 25), 100, 0.1, 0.01, (10, 50))
    assert (settings.matching.iterations, settings.matching.beta_lr) == (500, 1e-7)
    assert settings.dataset.whitening == "none"
    assert_papers_experts(settings, depth=4)


PUBLISHED = {
    "cifar10-lt": {10: (58.1, 63.0, 70.5), 50: (54.2, 59.4, 65.8), 100: (53.4, 58.2, 64.0), 200: (None, None, 62.3)},
    "cifar100-lt": {10: (31.5, 37.5, 40.0), 20: (31.4, 35.1, 37.0), 50: (29.8, 31.9, 33.2)},
    "tiny-imagenet-lt": {10: (26.0, 27.9, None), 20: (23.6, 25.5, None)},
    "imagenet-lt": {5: (20.8, 21.0), 10: (20.3, 20.7)},
}


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        (f"{data}-if{factor}-ipc{ipc}", figure)
        for data, rows in PUBLISHED.items()
        for factor, figures in rows.items()
        for ipc, figure in zip((10, 20, 50), figures, strict=False)
    ],
)
def test_expected_accuracy_is_the_published_one(name: str, figure: float | None) -> None:
    expected = settings_of(name).expected
    assert (expected and expected.accuracy) == figure
    if expected is None:
        assert "No published figure" in text_of(name)
    else:
        assert expected.source


def test_a_cell_with_conflicting_sources_has_a_note() -> None:
    expected = settings_of("cifar100-lt-if10-ipc50").expected
    assert expected is not None and "34.8" in expected.note


@pytest.mark.parametrize("name", sorted(OWN))
def test_own_presets_have_no_published_accuracy(name: str) -> None:
    settings = settings_of(name)
    assert settings.expected is None
    assert settings.experts.width == 32
    assert "ours" in text_of(name)


def test_the_digits_preset_augments_without_flips() -> None:
    assert "flip" not in settings_of("quickstart").dataset.augmentation
