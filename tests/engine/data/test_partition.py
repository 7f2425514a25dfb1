"""Mini-images: decoding is the map by way of pixels, its adjoint the transpose, and a run trains on what it decodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.partition import Partition
from engine.data.whitening import Mode, Whitening
from engine.distilled import DistilledSet
from engine.pipeline import run
from engine.results.files import write_tensor_trio
from engine.run.errors import InputError
from engine.run.folder import RunFolder, read_json
from engine.stages.initialize import initialize
from engine.training.from_scratch import fresh_network
from tests.engine.tiny_run import finish_run, tiny_context, tiny_data, tiny_set, tiny_settings

WHITENINGS: tuple[Mode, ...] = ("corrected", "normalized", "published", "none", "raw")


def pixels(count: int, side: int = 6) -> Tensor:
    noise = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, side, side, generator=noise, dtype=torch.float64)


def partition(side: int, mode: Mode, train_images: int = 150) -> tuple[Partition, Whitening]:
    """In float64. Fewer images than their 108 values leave directions without variance."""
    whitening = Whitening.fit(pixels(train_images), mode, 0.1)
    return Partition.into(side, whitening, pixels(1)), whitening


@pytest.mark.parametrize("mode", WHITENINGS)
@pytest.mark.parametrize(("side", "train_images"), [(2, 150), (3, 150), (2, 20)])
def test_decoding_goes_by_way_of_pixels(side: int, mode: Mode, train_images: int) -> None:
    one, whitening = partition(side, mode, train_images)
    stored = torch.randn_like(pixels(4))
    seen = []
    for image in whitening.to_pixels(stored):
        for rows in image.chunk(side, dim=1):
            minis = torch.stack(rows.chunk(side, dim=2))
            seen.append(F.interpolate(minis, size=6, mode="bilinear"))
    expected = whitening.train(torch.cat(seen))
    torch.testing.assert_close(one.decoded(stored), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", WHITENINGS)
def test_the_adjoint_is_the_transpose(mode: Mode) -> None:
    one, _ = partition(2, mode)
    x, y = torch.randn_like(pixels(3)), torch.randn_like(pixels(12))
    linear = one.decoded(x) - one.decoded(torch.zeros_like(x))
    assert torch.allclose((linear * y).sum(), (x * one.adjoint(y)).sum(), rtol=1e-10)


@pytest.mark.parametrize("mode", WHITENINGS)
def test_the_gain_is_the_largest_squared_singular_value(mode: Mode) -> None:
    one, _ = partition(2, mode)
    each_value = torch.eye(108, dtype=torch.float64).view(-1, 3, 6, 6)
    linear = (one.decoded(each_value) - one.decoded(torch.zeros_like(each_value))).view(108, -1)
    assert one.gain == pytest.approx(float(torch.linalg.matrix_norm(linear, 2)) ** 2, rel=1e-2)
    assert Partition().gain == 1


@pytest.mark.parametrize("mode", WHITENINGS)
def test_an_encoded_image_is_shrunken_by_area_and_comes_back_enlarged(mode: Mode) -> None:
    one, whitening = partition(3, mode)
    flat = pixels(9).mean(dim=(2, 3), keepdim=True).expand(-1, -1, 6, 6)  # of one color each
    stored = one.encoded(whitening.train(flat))
    assert stored.shape == (1, 3, 6, 6)
    torch.testing.assert_close(one.decoded(stored), whitening.train(flat))
    patches = F.avg_pool2d(pixels(9), 3)
    assert torch.allclose(whitening.to_pixels(one.encoded(whitening.train(pixels(9))))[0, :, :2, 2:4], patches[1])


def test_one_mini_image_is_the_image_itself() -> None:
    one, _ = partition(1, "corrected")
    images = pixels(2)
    assert one.decoded(images) is images and one.encoded(images) is images and one.adjoint(images) is images


def test_parts_of_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="images of 6 pixels cannot be cut into 4 equal parts a side"):
        partition(4, "none")


def test_a_set_starts_with_other_real_images_in_each_mini_image(tmp_path: Path) -> None:
    settings = tiny_settings("random", initialize={"partition": 2})
    data, context = tiny_data(settings), tiny_context(tmp_path, settings)
    network, _ = fresh_network(settings, data, "convnet")
    start = initialize(context, data, network, [])
    assert start.images.shape == (20, 1, 8, 8) and start.label_logits.shape == (80, 10) and start.ipc == 2
    assert start.label_logits.argmax(1).tolist() == [c for c in range(10) for _ in range(8)]
    head = data.whitening.to_pixels(start.images[:2]).reshape(2, 2, 4, 2, 4).transpose(2, 3).reshape(8, -1)
    assert len({tuple(mini.tolist()) for mini in head}) == 8
    shrunken = F.avg_pool2d(data.whitening.to_pixels(data.train_images), 2).flatten(1)
    assert torch.cdist(head, shrunken, p=1).min(dim=1).values.max() < 1e-4


@pytest.mark.parametrize("method", ["random", "ltdd"])
def test_a_partitioned_run_learns_and_exports_a_label_for_each_mini_image(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    evaluate = {"repeats": 1, "epochs": 1}
    matching = {"iterations": 2, "syn_steps": 2, "syn_steps_cls": 2, "max_start_epoch": 1}
    more = {"evaluate": evaluate, "matching": matching, "compile": "never"}
    settings = tiny_settings(method, initialize={"partition": 2}, **more)
    context = tiny_context(tmp_path / "run", settings)
    run(context)
    distilled = DistilledSet.load(context.folder.distilled)
    assert distilled.images.shape == distilled.pixels.shape == (20, 1, 8, 8)
    assert distilled.training_images.shape == (80, 1, 8, 8)
    assert distilled.labels.tolist() == [c for c in range(10) for _ in range(8)]
    assert distilled.soft_labels.shape == (80, 10) and distilled.ipc == 2 and distilled.about["partition"] == 2
    assert sum(len(images) for images, _ in distilled.batches()) == 80
    card = " ".join(context.folder.card.read_text().split())
    assert "Each holds 2 x 2 mini-images, which networks see enlarged, as 80 images." in card
    assert "4 times as many steps as on 20 images" in " ".join(card.split())
    if method == "ltdd":
        assert len(read_json(context.folder.previews / "000002.json")) == 20


def test_other_programs_get_the_images_that_networks_see(tmp_path: Path) -> None:
    settings = tiny_settings(initialize={"partition": 2})
    distilled = DistilledSet.load(finish_run(tmp_path / "run", settings).folder.distilled)
    write_tensor_trio(tmp_path / "trio", distilled, settings.dataset)
    images, labels = (torch.load(tmp_path / "trio" / f"{name}.pt", weights_only=True) for name in ("images", "labels"))
    assert torch.equal(images, distilled.training_images) and torch.equal(labels, distilled.label_logits)
    readme = " ".join((tmp_path / "trio" / "README.md").read_text().split())
    assert "float32 (80, 1, 8, 8)" in readme
    assert "8 in a row for each of 10 classes: rows 0 to 7 are of class 0" in readme


def test_whole_images_are_exported_as_ever(tmp_path: Path) -> None:
    distilled = DistilledSet.load(finish_run(tmp_path).folder.distilled)
    assert "mini-images" not in RunFolder(tmp_path).card.read_text()
    assert "partition" not in distilled.about and distilled.training_images is distilled.images


def test_a_set_has_as_many_images_as_labels_once_it_is_decoded() -> None:
    settings = tiny_settings(initialize={"partition": 2})
    data = tiny_data(settings)
    stored = tiny_set(data)._replace(label_logits=torch.zeros(80, 10))
    decoded = stored._replace(images=data.partition.decoded(stored.images))
    assert (stored.ipc, decoded.ipc) == (2, 8)
