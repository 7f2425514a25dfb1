"""CIFAR, Fashion-MNIST and SVHN in their own formats, written small by the test itself; missing and damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision

from engine.run.errors import InputError
from engine.run.locks import exclusive
from tests.engine.data.test_sources import everything, refused, settings, source_of


def levels(count: int, *shape: int) -> np.ndarray:
    """Images whose pixels all are 10 times their number."""
    return np.broadcast_to(10 * np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()


def test_cifar100_in_its_own_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "cifar-100-python"
    home.mkdir()
    for name in ("train", "test"):
        (home / name).write_bytes(pickle.dumps({"data": levels(4, 3072), "fine_labels": [1, 0, 1, 0]}))
    (home / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bear"]}))
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "train_list", [["train", None]])
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "test_list", [["test", None]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": None}
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "meta", meta)
    source = source_of(settings("cifar100", tmp_path))
    assert source.class_names == ["apple", "bear"]
    assert source.train.labels.tolist() == [1, 0, 1, 0] and source.train.labels.dtype == np.int64
    assert everything(source, "train")[:, 2, 5, 7].tolist() == [0, 10, 20, 30]
    assert everything(source, "test").shape == (4, 3, 32, 32)


def fashion_mnist(root: Path) -> Path:
    """The folder of the raw files, which hold two images of each class."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train", "t10k"):
        head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (20, 28, 28))
        images = head + levels(20, 28, 28).tobytes()
        labels = b"\x00\x00\x08\x01" + (20).to_bytes(4, "big") + bytes([*range(10)] * 2)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    return raw


def test_fashion_mnist_in_its_own_format(tmp_path: Path) -> None:
    fashion_mnist(tmp_path)
    source = source_of(settings("fashion_mnist", tmp_path))
    assert (len(source.class_names), source.channels, source.image_size) == (10, 1, 28)
    assert everything(source, "train")[:3, 0, 9, 9].tolist() == [0, 10, 20]
    assert source.test.labels.tolist() == [*range(10)] * 2


def test_svhn_in_its_own_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "test"):
        labels = np.array([*range(1, 11)] * 2)[:, None]
        images = levels(20, 32, 32, 3).transpose(1, 2, 3, 0)
        scipy.io.savemat(tmp_path / f"{name}_32x32.mat", {"X": images, "y": labels})
    files = {name: ["", f"{name}_32x32.mat", None] for name in ("train", "test")}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", files)
    source = source_of(settings("svhn", tmp_path, resolution=16))
    assert source.class_names == [str(digit) for digit in range(10)]
    assert source.train.labels.tolist() == [*range(1, 10), 0] * 2
    assert everything(source, "train")[:4, 1, 2, 3].tolist() == [0, 10, 20, 30]


def test_a_failed_download_says_how_to_put_the_files_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self: object) -> None:
        raise RuntimeError("Error downloading\nmore")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", no_network)
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    text = refused(settings("cifar10"))
    assert "could not be downloaded (Error downloading)" in text
    with exclusive(tmp_path / "data" / ".cifar10.lock", ""):
        assert "another run is downloading cifar10 into this folder" in refused(settings("cifar10"))
    assert "cifar-10-python.tar.gz" in text and str(tmp_path / "data") in text


def damaged(root: Path, name: str, *files: str) -> None:
    """The damaged files alone are named, with what to do about them."""
    with pytest.raises(InputError) as caught:
        source_of(settings(name, root))
    assert [(fault.where, fault.what) for fault in caught.value.faults] == [
        (str(root / file), "the file is cut or damaged") for file in files
    ]
    assert all(fault.hint.startswith("delete it") for fault in caught.value.faults)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no network")

    for module in (torchvision.datasets.cifar, torchvision.datasets.mnist):
        monkeypatch.setattr(module, "download_and_extract_archive", fails)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", fails)


@pytest.mark.usefixtures("no_network")
def test_cut_archives_and_files_are_named_instead_of_being_called_missing(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"cut")
    damaged(tmp_path, "cifar100", "cifar-100-python.tar.gz")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cut")
    damaged(tmp_path, "cifar10", "cifar-10-batches-py/data_batch_3")
    (tmp_path / "test_32x32.mat").touch()
    damaged(tmp_path, "svhn", "test_32x32.mat")
    assert "svhn is not there and could not be downloaded (no network)" in refused(settings("svhn", tmp_path / "empty"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("content", [b"", b"\0", b"\x00\x00\x08\x03\xff", np.random.RandomState(0).bytes(999)])
def test_an_empty_or_random_file_of_fashion_mnist_is_named(tmp_path: Path, content: bytes) -> None:
    fashion_mnist(tmp_path)
    files = "FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    for file in files:
        (tmp_path / file).write_bytes(content)
    damaged(tmp_path, "fashion_mnist", *files)


def test_images_and_labels_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    raw = fashion_mnist(tmp_path)
    labels = (raw / "train-labels-idx1-ubyte").read_bytes()
    (raw / "train-labels-idx1-ubyte").write_bytes(labels[:7] + bytes([9]) + labels[8:17])
    assert "20 images with 9 labels" in refused(settings("fashion_mnist", tmp_path))
