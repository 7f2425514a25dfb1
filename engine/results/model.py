"""result/model.pt2: a network trained on the final set, with its whitening; written, read, and asked about images.

program = torch.export.load("model.pt2")  # PyTorch alone is needed
logits = program.module()(pixels)         # (N, C) of uint8 (N, channels, H, W)
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.data.decoding import read_images
from engine.data.whitening import Whitening
from engine.run.checksums import DamagedFile
from engine.run.data_settings import WITHOUT_ZCA
from engine.run.errors import Fault, InputError
from engine.run.folder import RunFolder, write_atomically
from engine.run.regular_files import natural_order

ABOUT = "about.json"
"""Inside the file: the metadata of the set, as of `engine.distilled.describe`, with class_names and image_size."""
IMAGES_AT_ONCE = 256
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601), as Pillow has it."""


class PixelClassifier(nn.Module):
    """Logits (N, C) of pixels uint8 (N, channels, H, W): whitens them as test images, then asks the network."""

    channel_mean: Tensor
    channel_std: Tensor
    mean: Tensor
    basis: Tensor
    scales: Tensor
    outside: Tensor

    def __init__(self, network: nn.Module, whitening: Whitening) -> None:
        super().__init__()
        self.network = network
        self.whitens = whitening.mode not in WITHOUT_ZCA
        for name, value in whitening.test_map().items():
            self.register_buffer(name, value.clone(memory_format=torch.contiguous_format))
        # One of a low rank has no digits beyond float16.
        if torch.equal(self.basis.half().float(), self.basis):
            self.basis = self.basis.half()

    def forward(self, pixels: Tensor) -> Tensor:
        """As README.md of exported .pt files writes it down (`Whitening.test_map`)."""
        images = (pixels.float() / 255 - self.channel_mean) / self.channel_std
        if self.whitens:
            basis, centered = self.basis.float(), images.flatten(1) - self.mean
            images = ((centered @ basis * self.scales) @ basis.T + centered * self.outside).view_as(images)
        logits: Tensor = self.network(images)
        return logits


def write_model(path: Path, network: nn.Module, whitening: Whitening, about: dict[str, Any]) -> None:
    """Writes the network, for images whitened so, as a program of torch.export; `about`: the metadata of its set."""
    module = PixelClassifier(copy.deepcopy(network), whitening).cpu().eval().requires_grad_(False)
    pixels = torch.zeros(2, about["channels"], about["image_size"], about["image_size"], dtype=torch.uint8)
    program = torch.export.export(module, (pixels,), dynamic_shapes=({0: torch.export.Dim("images", min=1)},))
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(about)})
    write_atomically(path, file.getvalue())


def read_model(folder: RunFolder) -> tuple[torch.export.ExportedProgram, dict[str, Any]]:
    """The program of a run, and the metadata of its set; raises InputError where there is none, or it is damaged."""
    hint = f"`ltdd-tui export {folder.cli_name} --model` trains and writes one"
    if not folder.model.is_file():
        raise InputError("the run has no model", str(folder.model), hint)
    extra = {ABOUT: ""}
    try:
        # It is a zip file, whose checksums torch does not compare.
        with zipfile.ZipFile(folder.model) as file:
            if file.testzip():
                raise DamagedFile
        program = torch.export.load(folder.model, extra_files=extra)
        return program, json.loads(extra[ABOUT])
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"the model cannot be read: {what}", str(folder.model), hint) from None


def write_onnx(folder: RunFolder) -> None:
    """Writes result/model.onnx from model.pt2; raises InputError where the packages for it are missing."""
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        what = f"packages for ONNX are not installed: {', '.join(missing)}"
        raise InputError(what, "--onnx", "pip install 'ltdd-tui[onnx]'")
    program, about = read_model(folder)
    written = torch.onnx.export(program, input_names=["pixels"], output_names=["logits"], verbose=False)
    assert written is not None, "without a file name the program is returned"
    proto = written.model_proto
    for key in ("class_names", "image_size"):
        proto.metadata_props.add(key=key, value=json.dumps(about[key]))
    write_atomically(folder.onnx, proto.SerializeToString())


# --- What it says of images -------------------------------------------------------------------------------------------


def predictions_of(folder: RunFolder, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """For each image file, also below folders, its classes in JSON values, the likeliest three; or what is wrong."""
    program, about = read_model(folder)
    model, names = program.module(), about["class_names"]
    files = [file for path in paths for file in _image_files(path)]
    for start in range(0, len(files), IMAGES_AT_ONCE):
        some = files[start : start + IMAGES_AT_ONCE]
        read = _read_each(some, about)
        likely: Iterator[tuple[list[int], list[float]]] = iter(())
        if good := [pixels for pixels in read if isinstance(pixels, Tensor)]:
            with torch.no_grad():
                best = model(torch.stack(good)).softmax(dim=1).topk(min(3, len(names)), dim=1)
            likely = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        for file, own in zip(some, read, strict=True):
            if isinstance(own, Fault):
                yield {"file": str(file), "fault": vars(own)}
                continue
            classes, shares = next(likely)
            named = [[names[c], round(share, 4)] for c, share in zip(classes, shares, strict=True)]
            yield {"file": str(file), "classes": named}


def _image_files(path: Path) -> list[Path]:
    """The file, or all files below the folder but hidden ones."""
    if not path.is_dir():
        return [path]
    files = [Path(at, name) for at, _, names in os.walk(path) for name in names if not name.startswith(".")]
    if not files:
        raise InputError("the folder holds no files", str(path), "name images, or a folder of images")
    return sorted(files, key=lambda file: natural_order(str(file)))


def _read_each(files: Sequence[Path], about: dict[str, Any]) -> list[Tensor | Fault]:
    """Pixels uint8 (channels, H, W) of each file, decoded and fitted as the set's images were; or what is wrong."""
    try:
        pixels = read_images(files, about["image_size"], fit=about.get("fit", "crop"))
    except InputError as error:
        if len(files) == 1:
            return list(error.faults[:1])
        # Each alone: one bad file among thousands keeps no other from its answer.
        return [own for file in files for own in _read_each([file], about)]
    if about["channels"] == 1:
        weights = torch.tensor(LUMINANCE)[:, None, None]
        pixels = (pixels.float() * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
    return list(pixels)
