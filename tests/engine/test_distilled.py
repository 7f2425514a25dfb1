"""A distilled file gives back the set, its test-time view of images and its training, and refuses what it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional as F

from engine.context import generator
from engine.distilled import DistilledSet, load_teacher, teacher_bytes
from engine.matching.synthetic import from_levels, rounded
from engine.run.errors import InputError
from engine.run.folder import RunFolder
from engine.stages.evaluate import synthetic_target
from engine.training.from_scratch import TrainingSet, fresh_network, train_from_scratch
from tests.engine.tiny_run import finish_run, tiny_context, tiny_data, tiny_set, tiny_settings, tiny_teacher


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_run(tmp_path_factory.mktemp("run")).folder.distilled


def test_the_set_comes_back_as_it_was(path: Path) -> None:
    data, distilled = tiny_data(tiny_settings()), DistilledSet.load(path)
    original = tiny_set(data)
    assert torch.equal(distilled.images, original.images)
    assert torch.equal(distilled.label_logits, original.label_logits)
    assert torch.equal(distilled.soft_labels, original.label_logits.softmax(1))
    assert distilled.labels.tolist() == [c for c in range(10) for _ in range(2)]
    assert distilled.learning_rate == float(original.beta)
    assert distilled.class_names == data.class_names
    assert (distilled.recipe.epochs, distilled.recipe.decay_epochs) == (2, [1])


def test_pixels_are_the_images_unwhitened_and_cut_to_their_range(path: Path) -> None:
    data, distilled = tiny_data(tiny_settings()), DistilledSet.load(path)
    assert torch.equal(distilled.pixels, data.whitening.to_pixels(distilled.images).clamp(0, 1))


def test_a_file_of_format_1_holds_the_same_set(path: Path, tmp_path: Path) -> None:
    now = DistilledSet.load(path)
    old = tmp_path / "old.safetensors"
    about = {key: value for key, value in now.about.items() if key != "soft_labels"} | {"format": 1}
    whitening = now.whitening.state() | {"mean": now.whitening.mean}
    tensors = load(path.read_bytes()) | {"pixels": now.pixels, "soft_labels": now.soft_labels}
    old.write_bytes(
        save(tensors | {f"whitening.{name}": value for name, value in whitening.items()}, {"ltdd": json.dumps(about)})
    )
    before = DistilledSet.load(old)
    for name in ("images", "pixels", "soft_labels", "label_logits", "labels", "training_images"):
        assert torch.equal(getattr(before, name), getattr(now, name))
    assert before.whitening.equals(now.whitening) and before.about == about


@pytest.mark.parametrize("whitening", ["corrected", "none"])
def test_a_set_of_8_bits_is_small_and_the_one_that_was_evaluated(whitening: str, tmp_path: Path) -> None:
    settings = tiny_settings(whitening=whitening, export={"images": "uint8"}, initialize={"partition": 2})
    context = finish_run(tmp_path, settings)
    data, distilled = tiny_data(settings), DistilledSet.load(context.folder.distilled)
    original = tiny_set(data)
    evaluated = synthetic_target(context, data, "final", "set", 3, original).training_set(0)
    assert torch.equal(distilled.images, from_levels(*rounded(original.images)))
    torch.testing.assert_close(distilled.training_images, evaluated.images)
    assert torch.equal(distilled.soft_labels, evaluated.targets)
    step = (original.images.flatten(1).amax(1) - original.images.flatten(1).amin(1)) / 255
    assert ((distilled.images - original.images).abs().flatten(1).amax(1) <= 0.51 * step).all()
    again = rounded(distilled.images)
    assert torch.equal(from_levels(*again), distilled.images), "rounding twice is rounding once"
    stored = load(context.folder.distilled.read_bytes())
    assert stored["images"].dtype == torch.uint8
    if whitening == "none":
        # Images, labels of 10 classes for each mini-image, their class, and next to nothing else.
        assert sum(tensor.nbytes for tensor in stored.values()) < 20 * 64 + 80 * (40 + 8) + 300


def test_an_image_without_contrast_stays_as_it_is() -> None:
    flat = torch.full((2, 1, 4, 4), 0.3)
    assert torch.equal(from_levels(*rounded(flat)), flat)


@pytest.mark.parametrize("whitening", ["paper", "corrected", "none"])
def test_preprocess_makes_the_very_test_images_of_the_run(whitening: str, tmp_path: Path) -> None:
    from engine.data.sources import load_digits_source

    settings = tiny_settings(whitening=whitening)
    test = load_digits_source(settings.dataset).test
    pixels = test.read(torch.arange(len(test.labels)).numpy())
    distilled, expected = DistilledSet.load(finish_run(tmp_path, settings).folder.distilled), tiny_data(settings)
    assert pixels.dtype == torch.uint8
    assert torch.equal(distilled.preprocess(pixels), expected.test_images)
    assert torch.equal(distilled.preprocess(pixels.float() / 255), expected.test_images)


def test_hard_labels_are_one_hot_and_a_fixed_rate_is_the_rate(tmp_path: Path) -> None:
    settings = tiny_settings("mtt", evaluate={"learning_rate": 0.25, "epochs": 2})
    distilled = DistilledSet.load(finish_run(tmp_path, settings).folder.distilled)
    assert torch.equal(distilled.soft_labels, F.one_hot(distilled.labels, 10).float())
    assert distilled.learning_rate == 0.25


def test_an_epoch_shows_every_image_once_and_follows_its_seed(path: Path) -> None:
    distilled = DistilledSet.load(path)
    first, again, other = (list(distilled.batches(batch_size=8, seed=seed)) for seed in (1, 1, 2))
    assert [len(images) for images, _ in first] == [8, 8, 4]
    assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))
    assert not torch.equal(first[0][1], other[0][1])
    shown = torch.cat([targets for _, targets in first])
    assert sorted(shown.tolist()) == sorted(distilled.soft_labels.tolist())


@pytest.mark.parametrize("arch", ["convnet", "resnet18", "vgg11", "alexnet"])
def test_networks_fit_the_set_and_follow_their_seed(path: Path, arch: str) -> None:
    distilled = DistilledSet.load(path)
    network, same, other = (distilled.network(arch, seed) for seed in (3, 3, 4))
    images = distilled.images[:2]
    assert network(images).shape == (2, 10)
    assert torch.equal(network(images), same(images))
    assert not torch.equal(network(images), other(images))


def test_an_unknown_network_is_refused_with_those_there_are(path: Path) -> None:
    with pytest.raises(InputError, match="convnet, resnet18, vgg11, alexnet"):
        DistilledSet.load(path).network("resnet50")


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 8, 8),
        torch.full((1, 1, 8, 8), -0.5),
        torch.full((1, 1, 8, 8), 255.0),
        torch.full((1, 1, 8, 8), torch.nan),
    ],
)
def test_preprocess_refuses_other_shapes_and_ranges(path: Path, pixels: torch.Tensor) -> None:
    with pytest.raises(InputError):
        DistilledSet.load(path).preprocess(pixels)


def test_what_is_no_distilled_set_is_refused_with_a_reason(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    tensors = load(content)
    newer = save(tensors, {"ltdd": '{"format": 99}'})
    partial = save({"images": tensors["images"]}, {"ltdd": '{"format": 1, "recipe": {}}'})
    faults = {
        "no such file": None,
        "damaged": content[: len(content) // 2],
        "no distilled set": save(tensors),
        "format 99": newer,
        "missing": partial,
        "file is damaged": b"not safetensors at all",
    }
    for message, bad in faults.items():
        file = tmp_path / f"{message}.safetensors"
        if bad is not None:
            file.write_bytes(bad)
        with pytest.raises(InputError, match=message):
            DistilledSet.load(file)


# ---- Label regimes ----

ALL_REGIMES = tiny_settings(
    evaluate={"repeats": 2, "epochs": 2, "arch": ["convnet"], "labels": ["online", "hard", "stored"]},
    compile="never",
    hard={"epochs": 3, "learning_rate": 0.02},
    online={"epochs": 8, "batch_size": 8, "ema": 0.5},
)


@pytest.fixture(scope="module")
def with_teacher(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return finish_run(tmp_path_factory.mktemp("run"), ALL_REGIMES).folder


def test_the_teacher_comes_back_as_it_was(with_teacher: RunFolder, tmp_path: Path) -> None:
    data = tiny_data(ALL_REGIMES)
    original, teacher = tiny_teacher(ALL_REGIMES, data), load_teacher(with_teacher.teacher)
    images = data.train_images[:9]
    assert torch.equal(teacher.logits(images), original.logits(images))
    assert [own.tolist() for own in teacher.per_class] == [own.tolist() for own in original.per_class]
    assert teacher.temperature == 1.0
    softer = tmp_path / "softer.safetensors"
    softer.write_bytes(teacher_bytes(ALL_REGIMES, data, replace(original, temperature=4.0)))
    assert torch.equal(load_teacher(softer).label_logits(images), original.logits(images) / 4)


def test_only_a_run_with_online_labels_keeps_its_teacher(path: Path, with_teacher: RunFolder) -> None:
    assert not path.with_name("teacher.safetensors").exists()
    with pytest.raises(InputError, match=r"export RUN --teacher"):
        load_teacher(path.with_name("teacher.safetensors"))
    for file, message in ((path, "no teacher"), (with_teacher.teacher, "no distilled set")):
        with pytest.raises(InputError, match=message):
            load_teacher(file) if message == "no teacher" else DistilledSet.load(file)


@pytest.mark.parametrize("labels", ["hard", "stored", "online"])
def test_training_from_the_files_alone_gives_the_networks_of_the_runs_own_evaluation(
    with_teacher: RunFolder, labels: str
) -> None:
    distilled, teacher = DistilledSet.load(with_teacher.distilled), load_teacher(with_teacher.teacher)
    training = distilled.training(labels, teacher)
    context, data = tiny_context(with_teacher.root, ALL_REGIMES), tiny_data(ALL_REGIMES)
    ours = TrainingSet(distilled.images, training.targets, training.learning_rate)
    by_engine = teacher if labels == "online" else None
    flat, (theta,) = train_from_scratch(context, data, [ours], "convnet", [("x",)], labels, by_engine)  # type: ignore[arg-type]
    assert training.recipe == ALL_REGIMES.recipe(labels)  # type: ignore[arg-type]
    # From the same weights, and the same draws of order, augmentation and mixing.
    network = distilled.network("convnet")
    start = fresh_network(ALL_REGIMES, data, "convnet", "x")[1]
    network.load_state_dict(flat.unflatten(start))
    draws = generator(ALL_REGIMES.seed, "x", "order")
    optimizer, schedule = training.optimizer(network)
    averaged = training.averaged(network)
    for _ in range(training.epochs):
        for images, targets in training.batches(draws):
            optimizer.zero_grad()
            training.loss(network(images), targets).backward()
            optimizer.step()
            averaged.update_parameters(network)
        schedule.step()
    # Not their weights: AdamW moves a bias before a normalization, whose gradient is rounding errors alone.
    tested = data.test_images[:50]
    torch.testing.assert_close(averaged(tested), flat(theta, tested), rtol=1e-3, atol=1e-3)
