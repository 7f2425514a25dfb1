"""The shipped presets say what their names say, and what was published."""

from __future__ import annotations

import re

import pytest

from engine.run.presets import DEFAULT, load_preset, resolve, shipped_folder
from engine.run.schema import flat
from engine.run.settings import RunSettings
from scripts.generate_docs import ESTIMATE_LINE, estimate_line, with_estimate

NAMES = sorted(path.stem for path in shipped_folder().glob("*.yaml") if not path.name.startswith("_"))
OWN = {"quickstart", "cifar10-lt-if100-ipc10-small", "cifar10-lt-if100-ipc10-laptop", "own-images"}
BASELINES = {"cifar10-lt-if100-ipc10-dm", "cifar10-lt-if100-ipc10-idm"}
CELLS = [name for name in NAMES if name not in OWN | BASELINES]
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


# The official values, copied here by hand from the published configs and code, so that a preset can be wrong. OURS are
# the only other ones that a cell of the paper may write.
OURS = {"evaluate.repeats": 5}
EXPERTS = {
    "experts.network": "convnet",
    "experts.width": 128,
    "experts.depth": 3,
    "experts.num_experts": 100,
    "experts.epochs": 100,
    "experts.batch_size": 256,
    "experts.learning_rate": 0.01,
    "experts.momentum": 0,
    "experts.weight_decay": 5e-3,
    "experts.optimizer": "gsam",
    "experts.gsam_rho": 0.01,
    "experts.gsam_alpha": 0.3,
    "classifier_experts.epochs": 10,
    "classifier_experts.images_per_turn": 4,
    "classifier_experts.weight_decay": 0,
    "classifier_experts.optimizer": "gsam",
}
COMMON = {
    "matching.iterations": 10000,
    "matching.syn_steps": 80,
    "matching.syn_steps_cls": 80,
    "matching.expert_epochs": 2,
    "matching.batch_syn": 500,
    "matching.min_start_epoch": 0,
    "matching.beta": 0.01,
    "matching.label_lr": 2,
    "matching.beta_lr": 1e-5,
    "matching.image_momentum": 0.5,
    "matching.label_momentum": 0.9,
    "matching.beta_momentum": 0.5,
    "matching.dam_smoothness": 0,
    "matching.dam_weight": "share",
    "matching.dam_weight_total": "one",
    "matching.gradient": "published",
    "evaluate.every": 500,
    "evaluate.epochs": 1000,
    "evaluate.batch_size": 128,
}
CIFAR10 = EXPERTS | COMMON
CIFAR10 |= {"dataset.whitening": "published", "initialize.images": "correct", "initialize.labels": "experts"}
FROM_REAL_IMAGES = CIFAR10 | {
    "initialize.images": "real",
    "initialize.labels": "one_expert",
    "matching.lambda_rep": 1,
    "matching.lambda_cls": 0.1,
    "matching.label_lr": 10,
}
CIFAR100 = FROM_REAL_IMAGES | {
    "dataset.whitening": "normalized",
    "matching.syn_steps": 40,
    "matching.syn_steps_cls": 20,
    "matching.batch_syn": 1000,
    "matching.min_start_epoch": 20,
    "matching.max_start_epoch": 70,
    "matching.image_lr": 1000,
}
TINY = FROM_REAL_IMAGES | {
    "dataset.whitening": "corrected",
    "dataset.class_order": "text",
    "experts.depth": 4,
    "matching.min_start_epoch": 10,
    "matching.max_start_epoch": 50,
    "matching.image_lr": 100,
    "matching.beta_lr": 1e-4,
    "evaluate.check_from": 500,
}
IMAGENET = FROM_REAL_IMAGES | {
    "dataset.whitening": "raw",
    "experts.depth": 4,
    "matching.iterations": 500,
    "matching.syn_steps": 25,
    "matching.syn_steps_cls": 25,
    "matching.batch_syn": 100,
    "matching.min_start_epoch": 10,
    "matching.max_start_epoch": 50,
    "matching.image_lr": 0.1,
    "matching.label_lr": 0.01,
    "matching.beta_lr": 1e-7,
    "evaluate.every": 100,
}
# A row of CIFAR-10-LT: GPUs, then image_lr, max_start_epoch, lambda_rep and lambda_cls.
CIFAR10_ROWS = {
    (10, 10): (2, 100, 20, 1, 0.2),
    (10, 20): (6, 100, 40, 1, 0.2),
    (10, 50): (6, 1000, 40, 1, 0.2),
    (50, 10): (4, 100, 20, 1, 0.5),
    (50, 20): (5, 100, 20, 0.5, 1),
    (50, 50): (6, 100, 40, 0.5, 1),
    (100, 10): (4, 100, 20, 0.5, 1),
    (100, 20): (5, 100, 20, 0.5, 1),
    (100, 50): (6, 1000, 40, 1, 0.5),
    (200, 10): (6, 100, 20, 0.1, 1),
    (200, 20): (5, 1000, 40, 0.1, 1),
    (200, 50): (6, 1000, 40, 0.1, 1),
}
ROW_KEYS = ("emulate_replicas", "image_lr", "max_start_epoch", "lambda_rep", "lambda_cls")
# GPUs of the other sets at IPC 10, 20 and 50; IF 50 of CIFAR-100-LT has no official config and copies IF 20.
CIFAR100_GPUS = {10: (4, 6, 2), 20: (6, 6, 6), 50: (6, 6, 6)}
TINY_GPUS = {10: (8, 8, 4), 20: (8, 8, 6)}
# What single cells have beside their row: where start epochs grow, the iteration at which they have grown, and more.
SPECIAL: dict[str, dict[str, object]] = {
    "cifar10-lt-if10-ipc10": {"matching.sequential_from": 10, "matching.sequential_until": 1000},
    "cifar10-lt-if50-ipc20": {"matching.sequential_from": 10, "matching.sequential_until": 2000},
    "cifar10-lt-if50-ipc50": {"matching.sequential_from": 20, "matching.sequential_until": 2000},
    "cifar10-lt-if100-ipc20": {"matching.sequential_from": 10, "matching.sequential_until": 2000},
    "cifar10-lt-if100-ipc50": {"matching.syn_steps_cls": 60},
    "cifar100-lt-if10-ipc10": {
        "matching.min_start_epoch": 30,
        "matching.max_start_epoch": 50,
        "evaluate.check_from": 500,
    },
    "cifar100-lt-if10-ipc50": {"evaluate.check_from": 500},
    "tiny-imagenet-lt-if20-ipc50": {"matching.iterations": 1500},
}
STEPS_OF_TINY = {10: 25, 20: 20, 50: 10}
TINY_AT_50 = {
    "matching.batch_syn": 1000,
    "matching.min_start_epoch": 40,
    "matching.max_start_epoch": 70,
    "matching.beta_lr": 1e-5,
}


def official_values(name: str) -> dict[str, object]:
    """Every value of a cell, by key; those of its name are added."""
    found = re.fullmatch(r"(.+)-if(\d+)-ipc(\d+)", name)
    assert found
    data, factor, ipc = found[1], int(found[2]), int(found[3])
    place = (10, 20, 50).index(ipc)
    values: dict[str, object] = {}
    match data:
        case "cifar10-lt":
            row = zip(ROW_KEYS, CIFAR10_ROWS[factor, ipc], strict=True)
            values = CIFAR10 | {f"matching.{key}": value for key, value in row}
        case "cifar100-lt":
            values = CIFAR100 | {"matching.emulate_replicas": CIFAR100_GPUS[factor][place]}
        case "tiny-imagenet-lt":
            steps = dict.fromkeys(("matching.syn_steps", "matching.syn_steps_cls"), STEPS_OF_TINY[ipc])
            # Also where it equals the base's value, the cell's own config says its batch.
            batch = {"matching.batch_syn": 500} | (TINY_AT_50 if ipc == 50 else {})
            values = TINY | steps | batch | {"matching.emulate_replicas": TINY_GPUS[factor][place]}
        case _:
            values = dict(IMAGENET)
    named = {"dataset.name": SETS[data], "dataset.imbalance_factor": factor, "ipc": ipc}
    return values | SPECIAL.get(name, {}) | named


@pytest.mark.parametrize("name", CELLS)
def test_every_value_that_a_cell_writes_is_the_official_one(name: str) -> None:
    settings, origins = resolve(str(shipped_folder() / f"{name}.yaml"))
    values = flat(settings.model_dump(mode="json"))
    written = {key: values[key] for key, origin in origins.items() if origin != DEFAULT and key in values}
    own = {key: value for key, value in written.items() if not key.startswith("expected")}
    assert own == official_values(name) | OURS


def test_what_no_cell_writes_has_the_official_default() -> None:
    settings = RunSettings()
    recipe, data = settings.evaluate, settings.dataset
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay, recipe.decay_at) == ("learnt", 0.9, 5e-4, 0.5)
    assert (recipe.check_from, recipe.check_repeats) == (0, 1)
    assert (data.whitening_epsilon, data.subset_seed) == (0.1, 42)
    retrained = settings.classifier_experts
    assert (retrained.batch_size, retrained.learning_rate, retrained.momentum) == (256, 0.01, 0)
    assert (settings.matching.rate_decay, settings.matching.emulate_replicas) == ("none", 1)


@pytest.mark.parametrize("name", [name for name in CELLS if not name.startswith("imagenet")])
def test_a_cell_says_how_many_gpus_it_imitates(name: str) -> None:
    gpus = settings_of(name).matching.emulate_replicas
    assert f"used {gpus} GPUs" in text_of(name) or "Ours: all values of matching, copied from IF 20" in text_of(name)


@pytest.mark.parametrize(
    ("name", "contradiction"), [("cifar10-lt-if50-ipc50", "0.01"), ("cifar10-lt-if200-ipc50", "ipc 20")]
)
def test_a_cell_whose_official_file_contradicts_its_name_says_so(name: str, contradiction: str) -> None:
    line = next(line for line in text_of(name).splitlines() if "contradicts its name" in line)
    assert contradiction in line


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


def test_the_baselines_have_the_values_of_their_published_code() -> None:
    dm, idm = (settings_of(f"cifar10-lt-if100-ipc10-{method}") for method in ("dm", "idm"))
    for settings in (dm, idm):
        recipe, matching = settings.evaluate, settings.matching
        assert (matching.iterations, matching.image_momentum, settings.distribution.real_batch) == (20000, 0.5, 256)
        assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (1000, 256, 0.01, 0.9)
        assert (recipe.weight_decay, recipe.decay_at) == (5e-4, 0.5)
    assert (dm.image_lr, dm.initialize.partition, idm.image_lr, idm.initialize.partition) == (1.0, 1, 0.2, 2)
    queue = idm.distribution
    assert (queue.first_networks, queue.most_networks, queue.network_every) == (3, 100, 30)
    assert (queue.trained_networks, queue.training_steps, queue.training_batch) == (2, 10, 256)
    assert (queue.learning_rate, queue.momentum, queue.weight_decay) == (0.01, 0.9, 5e-4)


@pytest.mark.parametrize("name", sorted(OWN))
def test_own_presets_have_no_published_accuracy(name: str) -> None:
    settings = settings_of(name)
    assert settings.expected is None
    assert settings.experts.width == (128 if name.endswith("laptop") else 32)
    assert "ours" in text_of(name)


def test_experts_of_the_laptop_train_about_as_far_as_those_of_the_paper() -> None:
    """In learning rate times steps; far longer ones label worse (docs/log.md)."""
    images, draws = 12_406, 10 * 5_000

    def distances(name: str) -> tuple[float, float]:
        experts, classifiers = settings_of(name).experts, settings_of(name).classifier_experts
        return (
            experts.epochs * images / experts.batch_size * experts.learning_rate,
            classifiers.epochs * draws / classifiers.batch_size * classifiers.learning_rate,
        )

    published, own = distances("cifar10-lt-if100-ipc10"), distances("cifar10-lt-if100-ipc10-laptop")
    assert own == pytest.approx(published, rel=0.25)


def test_the_digits_preset_augments_without_flips() -> None:
    assert "flip" not in settings_of("quickstart").dataset.augmentation
