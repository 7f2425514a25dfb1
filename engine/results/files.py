"""Files of a result beside its safetensors: pictures, metrics and card, a folder of PNGs, the three .pt files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_map_only

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.distilled import DistilledSet
from engine.matching.synthetic import Synthetic
from engine.results.card import dataset_card
from engine.results.trio_readme import TrioFacts, trio_readme
from engine.run.checksums import sealed_json
from engine.run.data_settings import DatasetSettings
from engine.run.errors import InputError, listed
from engine.run.events import Preview
from engine.run.folder import (
    JSON_OBJECT,
    MARKER,
    STORED_IMAGES,
    TEMPORARY,
    RunFolder,
    clear_temporaries,
    folder_names,
    read_typed,
    write_atomically,
    write_json,
)
from engine.run.manifest import read_manifest
from engine.run.metrics import MetricsJson, whole_metrics

CLASSES = "classes.txt"
"""Beside every copy of a set: the name of each label. Other programs sort class folders in another order."""
TEACHER = "teacher.safetensors"
"""Beside a set whose images it labels while networks train on them."""


def read_result(folder: RunFolder, device: torch.device) -> tuple[DistilledSet, MetricsJson]:
    """The set and the metrics of a finished run; raises InputError where there are none, or they are damaged."""
    if not (folder.distilled.exists() and folder.metrics.exists()):
        raise InputError(
            "the run has no result yet", str(folder.root), f"`ltdd-tui resume {folder.cli_name}` finishes it"
        )
    distilled = DistilledSet.load(folder.distilled, device)
    metrics, faults = whole_metrics(folder)
    if faults:
        told = listed([f"{fault.where}: {fault.what}" for fault in faults], 3, "; ")
        hint = f"`ltdd-tui resume {folder.cli_name}` writes them anew"
        raise InputError(f"the metrics are damaged: {told}", str(folder.metrics), hint)
    return distilled, metrics


def write_metrics_and_card(folder: RunFolder, metrics: MetricsJson, about: dict[str, Any]) -> None:
    """Writes classes.txt, metrics.json and the card with the same figures; `about` is the set's own metadata."""
    _write_class_names(folder.result, about["class_names"])
    write_json(folder.metrics, metrics, sealed=True)
    card = dataset_card(metrics, about, folder.teacher.exists(), folder.model.exists())
    # Of one origin, the figures are those that the same settings give once more; else it has to be told.
    origins = "".join(f"- {told}\n" for told in read_manifest(folder).mixture())
    write_atomically(folder.card, card + (f"\n## Of more than one origin\n\n{origins}" if origins else ""))


def write_confusion(folder: RunFolder, class_names: list[str], final: list[list[int]] | None) -> None:
    """Writes confusion.json: test images by true (row) and predicted class, summed over the final set's networks.

    Where there is no such matrix, an earlier one goes: it would be of other networks than metrics.json.
    """
    if final is None:
        folder.confusion.unlink(missing_ok=True)
    else:
        write_atomically(folder.confusion, sealed_json({"class_names": class_names, "final": final}, indent=None))


def write_image_folder(folder: Path, distilled: DistilledSet, teacher: Path | None = None) -> None:
    """Writes <folder>/<class>/<k>.png in 8 bits, classes.txt, and distilled.json with the class folders in label order.

    `teacher`: the teacher.safetensors to copy beside them. Raises InputError where the folder holds anything but an
    earlier copy of the same set.
    """
    names = folder_names(distilled.class_names)
    _claim_folder(folder, distilled.about | {"class_folders": names})
    for c, name in enumerate(names):
        (folder / name).mkdir(exist_ok=True)
        for k in range(distilled.ipc):
            # Not atomic: syncing tens of thousands of files takes minutes, and the command can just be repeated.
            (folder / name / f"{k}.png").write_bytes(_png(distilled.pixels[c * distilled.ipc + k]))
    _copy_teacher(folder, teacher)


def write_tensor_trio(
    folder: Path, distilled: DistilledSet, dataset: DatasetSettings, teacher: Path | None = None
) -> None:
    """Writes classes.txt, images.pt, labels.pt and lr.pt, bare tensors that torch.load reads with weights_only=True.

    Beside them whitening.pt, the tensors of `Whitening.test_map`, and README.md, which says how to use all of them.
    Of a set with mini-images, images.pt holds each of these enlarged, and stored_images.pt the images that are stored.

    Images are whitened, as these evaluators train on them unchanged. Labels are logits (S, C), not probabilities: the
    field's soft cross-entropy (DATM's, DD-Ranking's) takes their softmax itself. A set with hard labels gives class
    indices (S,) int64. `teacher`: the teacher.safetensors to copy beside them. Raises InputError where the folder holds
    anything but an earlier copy of the same set.
    """
    _claim_folder(folder, distilled.about)
    seen = distilled.training_images
    _save(folder / "images.pt", seen)
    if len(seen) > len(distilled.images):
        # The hash tells an import whether images.pt was replaced by hand.
        digest = hashlib.sha256(seen.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        _save(folder / STORED_IMAGES, {"images": distilled.images, "images_pt_sha256": digest})
    _save(folder / "labels.pt", distilled.label_logits if distilled.has_soft_labels else distilled.labels)
    _save(folder / "lr.pt", torch.tensor(distilled.learning_rate))
    _save(folder / "whitening.pt", distilled.whitening.test_map())
    _copy_teacher(folder, teacher)
    rate, epsilon = distilled.learning_rate, distilled.whitening.epsilon
    facts = TrioFacts(distilled.about, distilled.has_soft_labels, epsilon, rate)
    write_atomically(folder / "README.md", trio_readme(facts, dataset, teacher is not None))


def _copy_teacher(folder: Path, teacher: Path | None) -> None:
    """Copies the file, or removes the one of an earlier copy."""
    if teacher is None:
        (folder / TEACHER).unlink(missing_ok=True)
    else:
        write_atomically(folder / TEACHER, teacher.read_bytes())


def _claim_folder(folder: Path, about: dict[str, Any]) -> None:
    """Creates the folder, with the marks of a copy of this set; raises InputError where it holds anything else."""
    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file", str(folder), "name a new or an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder cannot be made: {error.strerror}", str(folder), "name another place") from None

    def identity(about: dict[str, Any]) -> dict[str, Any]:
        # The PNGs and the .pt files may share a folder, and only the former list class folders.
        return {key: value for key, value in about.items() if key != "class_folders"}

    # A copy that was killed at its first file holds what it left of that, and may be repeated.
    others = any(not TEMPORARY.fullmatch(path.name) for path in folder.iterdir())
    if others and identity(read_typed(folder / MARKER, JSON_OBJECT) or {}) != identity(about):
        raise InputError("the folder holds something else", str(folder), "name a new or an empty folder")
    clear_temporaries(folder)
    write_json(folder / MARKER, about)
    _write_class_names(folder, about["class_names"])


def _write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Writes classes.txt: one name a line, in label order; a line end in a name becomes a blank."""
    write_atomically(folder / CLASSES, "".join(" ".join(name.splitlines()) + "\n" for name in names))


def _png(pixels: Tensor) -> bytes:
    """A PNG of an image (channels, H, W) in [0, 1]."""
    levels = (pixels * 255).round().to(torch.uint8).cpu()
    file = io.BytesIO()
    # Pillow wants gray images without a channel axis.
    Image.fromarray(levels.permute(1, 2, 0).squeeze(-1).contiguous().numpy()).save(file, "PNG")
    return file.getvalue()


def _save(path: Path, tensors: Tensor | dict[str, Any]) -> None:
    file = io.BytesIO()
    # Cloned: torch.save writes the whole storage that a view looks at.
    plain = tree_map_only(Tensor, lambda tensor: tensor.detach().cpu().clone(), tensors)
    torch.save(plain, file)
    write_atomically(path, file.getvalue())


# --- Pictures ---------------------------------------------------------------------------------------------------------


def save_preview(context: Context, data: LongTailedData, synthetic: Synthetic, iteration: int) -> None:
    """Writes previews/<iteration>.png (a row for each class, IPC columns) and .json (soft labels); emits Preview."""
    png, labels = (context.folder.previews / f"{iteration:06d}{ending}" for ending in (".png", ".json"))
    write_atomically(png, grid_png(data.whitening.to_pixels(synthetic.images), synthetic.ipc))
    # Of mini-images, the mean of their labels stands for the image that holds them.
    soft = synthetic.label_logits.softmax(dim=1).view(len(synthetic.images), -1, data.num_classes).mean(dim=1)
    write_json(labels, [[round(q, 4) for q in row] for row in soft.tolist()], sealed=True)
    context.emit(
        Preview(
            iteration,
            str(png.relative_to(context.folder.root)),
            str(labels.relative_to(context.folder.root)),
            data.num_classes,
            synthetic.ipc,
            data.image_size,
        )
    )


def grid_png(pixels: Tensor, columns: int) -> bytes:
    """A PNG of images (S, channels, H, W) in a grid, row by row; values are clamped to [0, 1], gray becomes RGB."""
    count, channels, height, width = pixels.shape
    rows = pixels.clamp(0, 1).view(count // columns, columns, channels, height, width)
    grid = rows.permute(2, 0, 3, 1, 4).reshape(channels, count // columns * height, columns * width)
    return _png(grid.expand(3, -1, -1))
