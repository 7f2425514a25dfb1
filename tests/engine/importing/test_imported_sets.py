"""A set made elsewhere is read as it was left, in any of its forms, or refused; no code in it is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine import pipeline
from engine.__main__ import main
from engine.distilled import DistilledSet
from engine.importing.imported_sets import copy_imported_set, fit, imported_sources, load_imported_copy
from engine.importing.set_files import ImportedSet, read_imported_set
from engine.matching.synthetic import StartingSet
from engine.results.files import write_image_folder, write_tensor_trio
from engine.run.errors import InputError
from engine.run.events import Event, Warned
from engine.run.folder import read_json
from engine.run.settings import RunSettings
from tests.engine.tiny_run import finish_run, tiny_context, tiny_data, tiny_settings

SHAPE = (20, 1, 8, 8)


def imported(start_set: object, whitening: str = "corrected", labels: str = "stored", **more: Any) -> RunSettings:
    initialize = {"start_set": str(start_set), "labels": labels} | more
    return tiny_settings("imported", whitening, initialize=initialize)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and its set as a trio and as images."""
    root = tmp_path_factory.mktemp("finished")
    distilled = DistilledSet.load(finish_run(root / "run").folder.distilled)
    write_tensor_trio(root / "trio", distilled, tiny_settings().dataset)
    write_image_folder(root / "images", distilled)
    return root


def fitted(given: ImportedSet, settings: RunSettings) -> tuple[StartingSet, list[Event]]:
    events: list[Event] = []
    return fit(given, tiny_data(settings), settings, events.append), events


@pytest.mark.parametrize("form", ["run", "run/result/distilled.safetensors", "trio", "trio/images.pt"])
def test_a_set_of_ours_comes_back_with_the_same_bytes(finished: Path, form: str) -> None:
    given, original = (
        read_imported_set(finished / form),
        DistilledSet.load(finished / "run/result/distilled.safetensors"),
    )
    start, _ = fitted(given, imported(finished / form))
    assert torch.equal(start.images, original.images) and torch.equal(start.label_logits, original.label_logits)
    assert start.learning_rate == original.learning_rate
    assert given.about["made_with"]["class_names"] == original.class_names


@pytest.mark.parametrize("form", ["run", "trio", "images"])
def test_mini_images_come_back_in_their_stored_images(tmp_path: Path, form: str) -> None:
    own = tiny_settings(initialize={"partition": 2})
    original = DistilledSet.load(finish_run(tmp_path / "run", own).folder.distilled)
    write_tensor_trio(tmp_path / "trio", original, own.dataset)
    write_image_folder(tmp_path / "images", original)
    given, soft = read_imported_set(tmp_path / form), {"labels": "class" if form == "images" else "stored"}
    start, events = fitted(given, imported(tmp_path / form, partition=2, **soft))
    assert start.images.shape == original.images.shape
    assert not any("mini-images" in event.message for event in events if isinstance(event, Warned))
    if form != "images":
        assert torch.equal(start.images, original.images) and torch.equal(start.label_logits, original.label_logits)
    with pytest.raises(InputError, match=r"2 mini-images a side, initialize\.partition is 1"):
        fitted(given, imported(tmp_path / form, **soft))


@pytest.mark.parametrize("change", ["no stored_images.pt", "another images.pt"])
def test_enlarged_mini_images_without_stored_images_are_taken_with_a_warning(tmp_path: Path, change: str) -> None:
    own = tiny_settings(initialize={"partition": 2})
    original = DistilledSet.load(finish_run(tmp_path / "run", own).folder.distilled)
    write_tensor_trio(trio := tmp_path / "trio", original, own.dataset)
    seen = original.training_images
    if change == "another images.pt":
        torch.save(seen := seen / 2, trio / "images.pt")
    else:
        (trio / "stored_images.pt").unlink()
    given = read_imported_set(trio)
    start, events = fitted(given, imported(trio).model_copy(update={"ipc": 8}))
    assert torch.equal(start.images, seen)
    assert any("one of 4 mini-images" in event.message for event in events if isinstance(event, Warned))


@pytest.mark.parametrize("form", ["run", "trio"])
def test_a_set_of_another_whitening_goes_through_its_pixels(finished: Path, form: str) -> None:
    original = DistilledSet.load(finished / "run/result/distilled.safetensors")
    settings = imported(finished, whitening="none")
    start, _ = fitted(read_imported_set(finished / form), settings)
    pixels = original.whitening.to_pixels(original.images)
    assert torch.allclose(tiny_data(settings).whitening.to_pixels(start.images), pixels, atol=1e-4)


def test_a_folder_of_images_comes_back_to_a_level_of_8_bits(finished: Path) -> None:
    original = DistilledSet.load(finished / "run/result/distilled.safetensors")
    settings = imported(finished, labels="class")
    start, events = fitted(read_imported_set(finished / "images"), settings)
    pixels = tiny_data(settings).whitening.to_pixels(start.images)
    assert (pixels - original.pixels).abs().max() < 0.5 / 255 + 1e-4
    assert start.label_logits is None and start.learning_rate is None
    assert any("no learning rate" in event.message for event in events if isinstance(event, Warned))


def test_class_folders_follow_the_names_of_the_classes(tmp_path: Path) -> None:
    for level in range(10):
        (tmp_path / f"{9 - level}").mkdir()
        for k in range(2):
            Image.new("L", (8, 8), 10 * level + k).save(tmp_path / f"{9 - level}" / f"{k}.png")
    settings = imported(tmp_path, "raw", labels="class")
    start, _ = fitted(read_imported_set(tmp_path), settings)
    levels = (255 * start.images[:, 0, 0, 0]).round().tolist()
    assert levels == [10.0 * (9 - c) + k for c in range(10) for k in range(2)]


class RunsCode:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["images.pt", "labels.pt", "lr.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_does_not_run(tmp_path: Path, name: str, zipped: bool) -> None:
    ran, path = tmp_path / "ran", tmp_path / name
    torch.save(torch.zeros(SHAPE), tmp_path / "images.pt")
    if zipped:
        torch.save([RunsCode(ran)], path)
    else:
        path.write_bytes(pickle.dumps([RunsCode(ran)], protocol=2))
    with pytest.raises(InputError, match="pickled code") as refused:
        read_imported_set(tmp_path)
    assert refused.value.faults[0].where == str(path) and not ran.exists()


def test_a_list_that_holds_itself_many_times_ends(tmp_path: Path) -> None:
    nested: list[object] = [torch.zeros(1)]
    for _ in range(60):
        nested = [nested, nested]
    torch.save(nested, tmp_path / "images.pt")
    with pytest.raises(InputError, match="these are no images"):
        read_imported_set(tmp_path)


def saved(folder: Path, labels: torch.Tensor | None = None, rate: object = None, ending: str = "") -> Path:
    torch.save(torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)), folder / f"images{ending}.pt")
    if labels is not None:
        torch.save(labels, folder / f"labels{ending}.pt")
    if rate is not None:
        torch.save(rate, folder / f"lr{ending}.pt")
    return folder


CLASSES = torch.arange(10).repeat_interleave(2)
SOFT = torch.rand(20, 10, generator=torch.Generator().manual_seed(1)) + 3 * torch.eye(10)[CLASSES]


@pytest.mark.parametrize(
    ("labels", "kind", "soft"),
    [
        (CLASSES, "class numbers", False),
        (CLASSES.float()[:, None], "class numbers", False),
        (torch.eye(10)[CLASSES], "class numbers, as one-hot rows", False),
        (SOFT.softmax(1), "soft, as probabilities: their rows sum to 1", True),
        (SOFT, "soft, as logits: their rows do not sum to 1", True),
        (None, "none: images are taken class by class", False),
    ],
)
def test_labels_are_told_apart(tmp_path: Path, labels: torch.Tensor | None, kind: str, soft: bool) -> None:
    given = read_imported_set(saved(tmp_path, labels, torch.tensor(0.02)))
    assert (given.about["labels"], given.learning_rate) == (kind, pytest.approx(0.02))
    settings = imported(tmp_path, labels="stored" if soft else "class", start_space="pixels")
    start, _ = fitted(given, settings)
    assert (start.label_logits is not None) == soft
    if start.label_logits is not None:
        assert torch.allclose(start.label_logits.softmax(1), SOFT.softmax(1), atol=1e-6)
        unused = imported(tmp_path, labels="experts", start_space="pixels")
        assert any("not used" in event.message for event in fitted(given, unused)[1] if isinstance(event, Warned))


def test_images_are_sorted_by_their_class_numbers(tmp_path: Path) -> None:
    mixed = CLASSES[torch.randperm(20, generator=torch.Generator().manual_seed(2))]
    given = read_imported_set(saved(tmp_path, mixed))
    start, _ = fitted(given, imported(tmp_path, "raw", labels="class", start_space="pixels"))
    assert torch.equal(start.images, torch.cat([given.images[mixed == c] for c in range(10)]))


def test_soft_labels_that_prefer_other_classes_keep_the_order(tmp_path: Path) -> None:
    odd = SOFT.clone()
    odd[[0, 5, 9]] = SOFT[[10, 15, 19]]
    start, _ = fitted(read_imported_set(saved(tmp_path, odd)), imported(tmp_path, start_space="pixels"))
    assert torch.equal(start.label_logits, odd)


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (CLASSES % 9, {}, "different numbers of images: 0 4, 1 2"),
        (CLASSES % 5, {}, "classes 5, 6, 7, 8, 9 have no image"),
        (CLASSES + 1, {}, "class 0 has no image"),
        (torch.arange(20), {}, "of 20 classes, the data set has 10"),
        (SOFT[:, :9], {}, "of 9 classes, the data set has 10"),
        (CLASSES, {"labels": "stored"}, "no soft labels"),
        (CLASSES, {"start_space": "auto"}, "nothing tells what the values"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(
    tmp_path: Path, labels: torch.Tensor, more: dict[str, str], message: str
) -> None:
    folder = saved(tmp_path, labels)
    with pytest.raises(InputError, match=message):
        fitted(read_imported_set(folder), imported(tmp_path, **{"labels": "class", "start_space": "pixels"} | more))


@pytest.mark.parametrize("odd", ["link to nothing", "folder", "FIFO", "link to itself"])
@pytest.mark.parametrize("name", ["images", "labels", "lr"])
def test_what_lies_where_a_tensor_should_is_refused_and_not_taken_for_absent(
    tmp_path: Path, name: str, odd: str
) -> None:
    saved(tmp_path, CLASSES, torch.tensor(0.02))
    file = tmp_path / f"{name}.pt"
    file.unlink()
    if odd == "FIFO":
        os.mkfifo(file)
    elif odd == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "nothing" if odd == "link to nothing" else file)
    with pytest.raises(InputError, match=f"{name}.pt: (there is no such file|the file cannot be read)"):
        read_imported_set(tmp_path)


IMAGES = torch.rand(SHAPE)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"images": IMAGES.to_sparse()}, "images.pt: sparse or nested tensors are not read"),
        ({"images": IMAGES.to("meta")}, r"images.pt: meta \(without values\) tensors"),
        ({"images": IMAGES.to(torch.complex64)}, "images.pt: complex64 tensors"),
        ({"images": IMAGES > 0.5}, "images.pt: bool tensors"),
        ({"images": torch.rand(1).expand(20, 1, 200_000, 200_000)}, "images.pt: expanded tensors"),
        ({"images": torch.zeros(20, 1, 0, 0)}, r"these are no images: a tensor of shape \(20, 1, 0, 0\)"),
        ({"labels": torch.tensor(3)}, "labels.pt: there is no tensor of labels"),
        ({"labels": torch.zeros(20, 0)}, "labels.pt: there is no tensor of labels"),
        ({"labels": torch.eye(10)[CLASSES].to_sparse()}, "labels.pt: sparse or nested tensors"),
        ({"labels": CLASSES.to(torch.complex64)}, "labels.pt: complex64 tensors"),
        ({"labels": CLASSES > 5}, "labels.pt: bool tensors"),
        ({"labels": torch.full((20,), 2**30)}, "classes 0, 1, 2, 3, 4, 5, 6, 7 and 13 more have no image"),
        ({"labels": torch.full((20,), 1e30)}, r"these are no labels: a tensor of shape \(20,\)"),
        ({"lr": torch.tensor(1j)}, "lr.pt: complex64 tensors"),
        ({"lr": True}, "one float32 above 0, this is True"),
        ({"lr": 10**400}, "one float32 above 0, this is 1000"),
        ({"lr": 1e-320}, "one float32 above 0, this is 1e-320"),
        ({"labels": torch.full((20, 10), 1e300, dtype=torch.float64)}, "labels are NaN or infinite in float32"),
        ({"labels": CLASSES, "whitening": {"x": 1}}, "whitening.pt: these are no tensors of a whitening"),
    ],
)
def test_what_is_no_plain_tensor_of_its_shape_is_refused_by_the_name_of_its_file(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    for name, content in ({"images": IMAGES} | files).items():
        torch.save(content, tmp_path / f"{name}.pt")
    (tmp_path / "distilled.json").write_text(json.dumps({"whitening": "paper"}) if "whitening" in files else "{}")
    with pytest.raises(InputError, match=message) as refused:
        read_imported_set(tmp_path)
    assert len(refused.value.faults) == 1


@pytest.mark.parametrize("names", [5, [1, 2], ["/etc", "/usr"], ["../elsewhere", "cat"], ["cat", "dog", "."]])
def test_class_folders_are_names_of_folders_beside_the_file(tmp_path: Path, names: object) -> None:
    for name in ("elsewhere", "set/cat", "set/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    (tmp_path / "set" / "distilled.json").write_text(json.dumps({"class_folders": names}))
    with pytest.raises(InputError, match=r"distilled\.json: .*class_folders"):
        read_imported_set(tmp_path / "set")
    (tmp_path / "set" / "distilled.json").write_text(json.dumps({"class_folders": ["dog", "cat"]}))
    assert read_imported_set(tmp_path / "set").about["class_folders"] == ["dog", "cat"]


def test_another_ipc_is_refused(tmp_path: Path) -> None:
    settings = imported(tmp_path, labels="class", start_space="pixels").model_copy(update={"ipc": 3})
    with pytest.raises(InputError, match="2 images a class, ipc is 3"):
        fitted(read_imported_set(saved(tmp_path, CLASSES)), settings)


def test_a_dict_of_dc_with_levels_of_8_bits_and_names_with_endings_are_read(tmp_path: Path) -> None:
    levels = torch.full(SHAPE, 51, dtype=torch.uint8)
    torch.save({"data": [[levels, CLASSES]], "accs_all_exps": {}}, tmp_path / "res.pt")
    given = read_imported_set(tmp_path / "res.pt")
    assert torch.allclose(given.images, torch.full(SHAPE, 0.2)) and torch.equal(given.labels, CLASSES)
    assert given.space == "pixels"
    assert read_imported_set(saved(tmp_path, SOFT, torch.tensor(0.5), "_500")).learning_rate == 0.5
    saved(tmp_path, CLASSES, ending="_100")
    with pytest.raises(InputError, match=r"holds 2 sets: images_100.pt, images_500.pt"):
        read_imported_set(tmp_path)
    saved(tmp_path, SOFT, torch.tensor(0.7), ending="_best")
    assert read_imported_set(tmp_path).learning_rate == pytest.approx(0.7)


@pytest.mark.parametrize("space", ["pixels", "normalized", "whitened"])
def test_real_images_come_back_from_every_space(tmp_path: Path, space: str) -> None:
    settings = imported(tmp_path, labels="class", start_space=space)
    data = tiny_data(settings)
    real = torch.cat([data.train_images[data.train_labels == c][:2] for c in range(10)])
    pixels = data.whitening.to_pixels(real)
    normalized = (pixels - data.whitening.channel_mean.float()) / data.whitening.channel_std.float()
    torch.save({"pixels": pixels, "normalized": normalized, "whitened": real}[space], tmp_path / "images.pt")
    start, events = fitted(read_imported_set(tmp_path), settings)
    assert torch.allclose(start.images, real, atol=1e-4)
    assert not any("is that their space" in event.message for event in events if isinstance(event, Warned))
    wrong = {"pixels": "whitened", "normalized": "pixels", "whitened": "pixels"}[space]
    _, events = fitted(read_imported_set(tmp_path), imported(tmp_path, labels="class", start_space=wrong))
    assert any("is that their space" in event.message for event in events if isinstance(event, Warned))


def test_the_copy_in_the_run_needs_nothing_outside(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "trio", tmp_path / "trio")
    context = tiny_context(tmp_path / "run", settings := imported(tmp_path / "trio"))
    copy_imported_set(context.folder, settings)
    shutil.rmtree(tmp_path / "trio")
    copy_imported_set(context.folder, settings)
    source = imported_sources(context.folder, settings)["start_set"]
    assert source["source"] == str(tmp_path / "trio") and len(source["images_sha256"]) == 64
    kept, original = load_imported_copy(context.folder), read_imported_set(finished / "trio")
    assert torch.equal(kept.images, original.images) and torch.equal(kept.labels, original.labels)
    assert kept.whitening.equals(original.whitening)
    context.folder.start_set.write_bytes(b"cut")
    with pytest.raises(InputError, match="the copy of the set is damaged"):
        load_imported_copy(context.folder)


@pytest.mark.parametrize("partition", [1, 2])
def test_an_imported_run_has_the_figures_and_the_set_of_the_run_that_exported_it(
    tmp_path: Path, partition: int
) -> None:
    evaluate, whole = {"repeats": 2, "epochs": 2}, {"partition": partition}
    selected = tiny_context(tmp_path / "random", tiny_settings("random", evaluate=evaluate, initialize=whole))
    pipeline.run(selected)
    distilled = DistilledSet.load(selected.folder.distilled)
    write_tensor_trio(tmp_path / "trio", distilled, selected.settings.dataset)
    initialize = {"start_set": str(tmp_path / "trio"), "labels": "class"} | whole
    again = tiny_context(tmp_path / "again", tiny_settings("imported", evaluate=evaluate, initialize=initialize))
    pipeline.run(again)
    assert (again.folder.previews / "000000.png").is_file()
    before, after = (read_json(context.folder.metrics) for context in (selected, again))
    assert after["final"] == before["final"] and after["random"] == before["random"]
    sets = [load_file(context.folder.distilled) for context in (selected, again)]
    assert all(torch.equal(sets[0][name], sets[1][name]) for name in sets[0])


def test_inspect_prints_the_facts_or_the_faults_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(saved(tmp_path, SOFT, torch.tensor(0.5)))]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["shape"], facts["soft_labels"], facts["classes"], facts["learning_rate"]) == ([*SHAPE], True, 10, 0.5)
    assert (facts["space"], facts["source"]) == ("auto", str(tmp_path))
    torch.save([RunsCode(tmp_path / "ran")], tmp_path / "images.pt")
    assert main(["inspect", str(tmp_path)]) == 2
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert "pickled code" in fault["what"] and not (tmp_path / "ran").exists()
