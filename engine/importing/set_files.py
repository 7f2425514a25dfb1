"""Sets made elsewhere: what their files hold, as their maker left it.

Read are: a result of ltdd-tui; images.pt with labels.pt and lr.pt (the MTT family, DATM, DD-Ranking); a torch dict
`data` = [[images, labels], ...] (DC, DM); a folder of images a class (SRe2L, RDED). No file is unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from engine.data.decoding import read_images
from engine.data.whitening import MODES, Whitening
from engine.distilled import DistilledSet
from engine.run.errors import InputError, listed, shortened
from engine.run.folder import JSON_OBJECT, MARKER, STORED_IMAGES, RunFolder, read_typed
from engine.run.image_folder import class_files
from engine.run.image_headers import common_size
from engine.run.regular_files import natural_order, open_regular
from engine.run.settings import StartSpace

SUFFIXES = (".pt", ".pth", ".tar")
KNOWN_FORMS = "a run's folder, its distilled.safetensors, images.pt, or a folder of images a class"
LIKE_ONE_HOT, SUMS_TO_ONE = 1e-6, 1e-2
"""How far a row of labels may be from one-hot, or its sum from 1, to count as such."""
READ_TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


NO_FILE = (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG)
"""Why a path that a person gave is none that can be read; other faults are the disk's."""


@dataclass(frozen=True)
class ImportedSet:
    """A set as its maker left it, S images, of float32 (S, channels, H, W).

    `labels`: logits (S, C) of float32, class numbers (S,) of int64, or None. `learning_rate`: SGD's, or None.
    `space`: what the values of the images are; auto where only the maker knows. `whitening`: of a set of ours.
    `about`: where it comes from, in plain JSON values (`describe`); `partition` there: of how many mini-images a side
    each image consists, which labels then are of.
    """

    images: Tensor
    labels: Tensor | None
    learning_rate: float | None
    space: StartSpace
    whitening: Whitening | None
    about: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """What a person should know of it before it is used, in plain JSON values."""
        soft = self.labels is not None and self.labels.ndim == 2
        classes = None if self.labels is None else self.labels.shape[1] if soft else int(self.labels.max()) + 1
        return self.about | {
            "shape": list(self.images.shape),
            "soft_labels": soft,
            "classes": classes,
            "gray": bool((self.images == self.images[:, :1]).all()),
            "learning_rate": self.learning_rate,
            "space": self.space,
            "range": [float(self.images.min()), float(self.images.max())],
            "mean": float(self.images.mean()),
            "std": float(self.images.std()),
        }


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_imported_set(path: Path) -> ImportedSet:
    """The set in a file or a folder; raises InputError where there is none, or one that cannot be used."""
    if RunFolder(path).exists():
        path = RunFolder(path).distilled
        if not path.is_file():
            raise InputError("the run has no result yet", str(path.parent.parent), "`ltdd-tui resume` finishes it")
    if path.is_dir():
        images = _images_file(path)
        imported = _read_trio(images) if images else _read_image_folder(path)
    elif path.suffix == ".safetensors":
        imported = _read_ours(path)
    elif path.suffix in SUFFIXES:
        imported = _read_trio(path)
    elif path.exists():
        raise InputError("this is no file of a set", str(path), f"give {KNOWN_FORMS}")
    else:
        raise InputError("there is no such file or folder", str(path), f"give {KNOWN_FORMS}")
    if not imported.images.isfinite().all():
        raise InputError("some values of the images are NaN or infinite", str(path), "the set cannot be used")
    digest = hashlib.sha256(imported.images.numpy().tobytes()).hexdigest()
    imported.about.update(source=str(path.absolute()), images_sha256=digest)
    return imported


def load_tensors(path: Path) -> Any:
    """What a file of torch.save holds; raises InputError for a damaged one, and for one with more than tensors.

    A pickle can run any code when it is read, so that only tensors, numbers, texts, lists and dicts are. The tensors
    are dense, of real or whole numbers, each of which is in the file.
    """
    begin = b""
    try:
        with open_regular(path) as file:
            begin = file.read(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        odd = next((odd for tensor in _tensors_in(content, set()) if (odd := _oddity(tensor))), None)
    except FileNotFoundError:
        raise InputError("there is no such file", str(path), "check the path, or export the set anew") from None
    except Exception as error:
        # What torch raises for a damaged file is whatever comes up while it is read.
        if isinstance(error, OSError) and error.errno in NO_FILE:
            what = f"the file cannot be read: {error.strerror}"
            raise InputError(what, str(path), "a regular file is needed, which you may read") from None
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        is_pickle = begin == b"PK" or begin[:1] == pickle.PROTO
        if is_pickle and (refused or isinstance(error, pickle.UnpicklingError)):
            called = f" ({refused[1]})" if refused else ""
            what = f"the file holds pickled code{called}, which was not run: only tensors are read"
            hint = "where you trust it, open it yourself and save its tensors: torch.save(images.detach().cpu(), FILE)"
        else:
            what, hint = "the file is damaged, or is no file of torch.save", "download it, or make it, anew"
        raise InputError(what, str(path), hint) from None
    if odd:
        hint = "only dense ones of real or whole numbers are: torch.save(images.detach().cpu().contiguous(), FILE)"
        raise InputError(f"{odd} tensors are not read", str(path), hint)
    return content


def _tensors_in(content: Any, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor; a list is looked into once, as lists that each hold the one before twice never end."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, dict | list | tuple) and id(content) not in seen:
        seen.add(id(content))
        for part in content.values() if isinstance(content, dict) else content:
            yield from _tensors_in(part, seen)


def _oddity(tensor: Tensor) -> str:
    """Why a tensor is not read, "" where it is."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse or nested"
    if tensor.device.type != "cpu":
        return f"{tensor.device.type} (without values)"
    if tensor.dtype not in READ_TYPES:
        return str(tensor.dtype).removeprefix("torch.")
    # One number in the file can stand for more than fits into memory.
    return "expanded" if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() else ""


class _MadeWith(BaseModel):
    """What of the metadata of a set of ours is used, by type."""

    class_names: list[str] = []
    class_folders: list[str] = []
    partition: int = Field(1, ge=1, strict=True)
    network: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    hard: dict[str, Any] = {}
    online: dict[str, Any] = {}


def _made_with(folder: Path) -> dict[str, Any]:
    """What our own export lays beside its copies, {} where there is none; raises InputError where it is damaged."""
    about = read_typed(folder / MARKER, JSON_OBJECT)
    return _checked(about, folder / MARKER, "delete it, or export the set anew") if about else {}


def _checked(about: dict[str, Any], path: Path, hint: str) -> dict[str, Any]:
    try:
        _MadeWith.model_validate(about)
    except ValidationError as error:
        places = listed([".".join(map(str, fault["loc"])) for fault in error.errors()])
        raise InputError(f"the set's metadata have values of another type: {places}", str(path), hint) from None
    return about


def _read_ours(path: Path) -> ImportedSet:
    """distilled.safetensors, which holds all of it."""
    ours = DistilledSet.load(path)
    made_with, soft = _checked(ours.about, path, "export it anew"), ours.has_soft_labels
    labels, kind = (ours.label_logits, "soft, stored as logits") if soft else (ours.labels, "class numbers")
    partition = made_with.get("partition", 1)
    about = {"form": "result of ltdd-tui", "labels": kind, "made_with": made_with, "partition": partition}
    return ImportedSet(ours.images, labels, ours.learning_rate, "whitened", ours.whitening, about)


def _images_file(folder: Path) -> Path | None:
    """The images*.pt of a folder, None where there is none; images_zca_* are copies for the eye. May raise InputError.

    Of several, images.pt and then images_best.pt is taken.
    """
    files = [file for file in sorted(folder.glob("images*.pt")) if not file.name.startswith("images_zca")]
    for name in ("images.pt", "images_best.pt"):
        if folder / name in files:
            return folder / name
    if len(files) > 1:
        names = listed([file.name for file in files])
        raise InputError(f"the folder holds {len(files)} sets: {names}", str(folder), "name one of these files")
    return files[0] if files else None


def _read_trio(path: Path) -> ImportedSet:
    """images.pt with the labels*.pt and lr*.pt of the same ending beside it; or a dict `data` of DC and DM."""
    content, labels, rate = load_tensors(path), None, None
    ending = path.stem.removeprefix("images") if path.stem.startswith("images") else None
    beside = {} if ending is None else {name: path.with_name(f"{name}{ending}.pt") for name in ("labels", "lr")}
    if isinstance(content, dict) and "data" in content:
        try:
            content, labels = content["data"][0][:2]
        except (TypeError, ValueError, IndexError, KeyError):
            what = "`data` in this file is no list of [images, labels]"
            raise InputError(what, str(path), "DC and DM write such a list") from None
    elif beside:
        # A link to nothing is no missing file: without its labels, images would be labelled by their order.
        labels, rate = (load_tensors(file) if os.path.lexists(file) else None for file in beside.values())
    if not isinstance(content, Tensor) or content.ndim != 4 or content.shape[1] not in (1, 3) or not content.numel():
        shape = f"a tensor of shape {tuple(content.shape)}" if isinstance(content, Tensor) else "no tensor"
        hint = "images are (count, channels, height, width) with 1 or 3 channels"
        raise InputError(f"these are no images: {shape}", str(path), hint)
    images = content.detach().float().contiguous()
    space: StartSpace = "auto"
    if content.dtype == torch.uint8:
        images, space = images / 255, "pixels"
    labels_file = beside.get("labels", path)
    if labels is not None and not (isinstance(labels, Tensor) and labels.ndim and labels.numel()):
        hint = "class numbers (count,), or soft labels (count, classes)"
        raise InputError("there is no tensor of labels in this file", str(labels_file), hint)
    if labels is not None and len(labels) != len(images):
        what, hint = f"{len(labels)} labels for {len(images)} images", "each image needs one: export both anew"
        raise InputError(what, str(labels_file), hint)
    numbers, kind = _labels(labels, labels_file)
    about: dict[str, Any] = {"form": "tensors", "labels": kind}
    # What our own export lays beside the three.
    made_with, whitening = _made_with(path.parent) if path.name == "images.pt" else {}, None
    if made_with.get("whitening") in MODES:
        about["made_with"] = made_with
        file = path.with_name("whitening.pt")
        try:
            whitening = Whitening.from_test_map(made_with["whitening"], load_tensors(file))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
            raise InputError("these are no tensors of a whitening", str(file), "export the set anew") from None
        space = "whitened"
        images, about["partition"] = _stored_images(path, images, made_with.get("partition", 1))
    return ImportedSet(images, numbers, _rate(rate, beside.get("lr", path)), space, whitening, about)


def _stored_images(path: Path, seen: Tensor, partition: int) -> tuple[Tensor, int]:
    """The images that hold the mini-images of images.pt, `seen`, and how many along a side; else `seen` and 1."""
    file = path.with_name(STORED_IMAGES)
    if partition == 1 or not os.path.lexists(file):
        return seen, 1
    stored = load_tensors(file)
    digest = hashlib.sha256(seen.numpy().tobytes()).hexdigest()
    # An images.pt that was replaced by hand is taken as it is.
    images = stored.get("images") if isinstance(stored, dict) else None
    if not isinstance(images, Tensor) or images.ndim != 4 or stored.get("images_pt_sha256") != digest:
        return seen, 1
    return images.float().contiguous(), partition


def _rate(value: Any, path: Path) -> float | None:
    if value is None:
        return None
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    single = torch.finfo(torch.float32)
    if isinstance(value, bool) or not isinstance(value, int | float) or not single.tiny <= value <= single.max:
        given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else shortened(repr(value))
        raise InputError(
            f"the learning rate must be one float32 above 0, this is {given}",
            str(path),
            "delete the file, and the settings' rate is taken",
        )
    return float(value)


def _labels(labels: Tensor | None, path: Path) -> tuple[Tensor | None, str]:
    """Logits (S, C), class numbers (S,) or None; and which of them it is, with the reason."""
    if labels is None:
        return None, "none: images are taken class by class"
    labels = labels.detach()
    rows = labels.squeeze(1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    values = rows.double()
    if not rows.float().isfinite().all():
        raise InputError("some labels are NaN or infinite in float32", str(path), "the set cannot be used")
    if rows.ndim == 1 and bool((values == values.round()).all()) and 0 <= values.min() <= values.max() < 2**31:
        return _equally_many(rows.long(), path), "class numbers"
    if rows.ndim != 2:
        what = f"these are no labels: a tensor of shape {tuple(labels.shape)}"
        raise InputError(what, str(path), "class numbers (count,), or soft labels (count, classes)")
    if values.min() < -LIKE_ONE_HOT or (values.sum(1) - 1).abs().max() > SUMS_TO_ONE:
        return rows.float().contiguous(), "soft, as logits: their rows do not sum to 1"
    if (values.amax(1) - 1).abs().max() < LIKE_ONE_HOT:
        return _equally_many(values.argmax(1), path), "class numbers, as one-hot rows"
    tiny = torch.finfo(torch.float32).tiny
    return values.clamp(min=tiny).log().float(), "soft, as probabilities: their rows sum to 1"


def _equally_many(numbers: Tensor, path: Path) -> Tensor:
    """The class numbers; raises InputError where a class up to the last has no image, or another number of them."""
    counted = Counter(numbers.tolist())
    # Of more classes than there are images, one of the first has none.
    counts = [counted[number] for number in range(1 + min(max(counted), len(numbers)))]
    if set(counts) != {counts[-1]} or not counts[-1]:
        raise unequal_counts([str(number) for number in range(len(counts))], counts, str(path))
    return numbers


def _read_image_folder(folder: Path) -> ImportedSet:
    """<folder>/<class>/<images>; classes in natural order of their names, or as our distilled.json lists them."""
    made_with, there = _made_with(folder), [entry.name for entry in folder.iterdir() if entry.is_dir()]
    names: list[str] = made_with.get("class_folders") or [
        name for name in sorted(there, key=natural_order) if not name.startswith(".")
    ]
    if missing := [name for name in names if name not in there]:
        what = f"class_folders names what is no folder beside it: {listed(missing)}"
        raise InputError(what, str(folder / MARKER), "delete it, or export the set anew")
    files = [class_files(folder / name) for name in names]
    if not any(files):
        raise InputError("the folder holds no set", str(folder), f"give {KNOWN_FORMS}")
    counts = [len(own) for own in files]
    if len(set(counts)) > 1:
        raise unequal_counts(names, counts, str(folder))
    side = common_size([file for own in files for file in own])
    if side is None:
        raise InputError("the images have several sizes, or are not square", str(folder), "resize them to one size")
    pixels = read_images([file for own in files for file in own], side)
    about: dict[str, Any] = {"form": "image folder", "labels": "class numbers, by folder", "class_folders": names}
    if "class_folders" in made_with:
        about |= {"made_with": made_with, "partition": made_with.get("partition", 1)}
    labels = torch.arange(len(names)).repeat_interleave(counts[0])
    return ImportedSet(pixels.float().contiguous() / 255, labels, None, "pixels", None, about)


def unequal_counts(names: Sequence[str], counts: Sequence[int], where: str) -> InputError:
    """The error of a set whose classes have different numbers of images."""
    usual = Counter(counts).most_common(1)[0][0]
    # Those that differ first: of a hundred classes only some are told.
    odd_first = sorted(zip(names, counts, strict=True), key=lambda named: named[1] == usual)
    what = f"the classes have different numbers of images: {listed([f'{name} {count}' for name, count in odd_first])}"
    if empty := [name for name, count in zip(names, counts, strict=True) if not count]:
        what = f"class {empty[0]} has no image" if len(empty) == 1 else f"classes {listed(empty)} have no image"
    return InputError(what, where, "every class needs the same number (IPC)")
