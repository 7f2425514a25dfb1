"""Bad inputs, each with the message and the exit code that a user gets: tested, and rendered as docs/bad-input.md.

To add one, append a `BadInput` below its topic, run `python -m scripts.generate_docs` and the test
`tests/repository/test_bad_input.py`. This file holds data only and imports nothing heavy: `make` imports inside.
"""

from __future__ import annotations

import base64
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class BadInput:
    """A command in a new empty folder, what was bad about its input, and all that it says on stderr.

    command: `ltdd-tui ...` or `python -m engine ...` (the worker), split as a shell does; it runs in this process.
    files: text or bytes by relative path, written before. make: makes what `files` cannot, such as images; `given` says
    it in words. environment: variables set before; LTDD_CACHE, LTDD_HOME and LTDD_RUNS_DIR are `cache`, `home`, `runs`.
    message: exactly what stands on stderr, where paths below the folder are relative.
    """

    command: str
    message: str
    exit_code: int = 2
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    make: Callable[[Path], None] | None = None
    given: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


CHECK = "ltdd-tui presets check mine.yaml"


def mine(text: str | bytes, message: str) -> BadInput:
    """A preset of one's own, mine.yaml, that is checked."""
    return BadInput(CHECK, message, files={"mine.yaml": text})


def override(argument: str, message: str) -> BadInput:
    """The quickstart preset with one --set."""
    return BadInput(f"ltdd-tui presets check quickstart --set {argument}", message)


def swept(text: str, message: str) -> BadInput:
    """A sweep of one's own, mine.yaml."""
    return BadInput("ltdd-tui sweep mine.yaml", message, files={"mine.yaml": text})


def two_cats_and_dogs(root: Path) -> None:
    """images/train and images/test with 2 cats and 2 dogs each."""
    from PIL import Image

    for place in (root / "images" / split / name for split in ("train", "test") for name in ("cat", "dog")):
        place.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(place / f"{i}.png")


def images_to_test_on_alone(root: Path) -> None:
    """images/test without images/train."""
    two_cats_and_dogs(root)
    shutil.rmtree(root / "images/train")


def cats_alone(root: Path) -> None:
    """photos/cat and no other class."""
    two_cats_and_dogs(root)
    shutil.copytree(root / "images/train/cat", root / "photos/cat")


def begun_with(given: str, cats: int, dogs: int, classes: str, changes: str, more: str = "") -> BadInput:
    """A stopped run that began with other images than there are now."""
    record = (
        f'{{"class_names": {classes}, "train_counts": [{cats}, {dogs}], "test_images": 4, "test_counts": [2, 2],'
        ' "fingerprint": "0123456789abcdef"}'
    )
    return BadInput(
        "python -m engine run runs/mine --device cpu",
        f"error: images: the data has changed since the run began: {changes}\n"
        f"hint: put the images (and the settings of dataset) back as they were, or start a new run{more}",
        files={
            "runs/mine/config.yaml": "dataset: {name: folder, path: images}\n",
            "runs/mine/data.json": record,
            "runs/mine/checkpoint/seconds.json": "{}",
        },
        make=two_cats_and_dogs,
        given=given,
    )


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGklEQVR42mM84cTAwMDAwMDIBaEZmBjIYQAATjkBIzv87aoAAAAASUVORK5CYII="
)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims to have this size, with 1,000 pixels in it."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(own)) + kind + own + struct.pack(">I", zlib.crc32(kind + own)) for kind, own in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def in_place_of_an_image(
    given: str, content: bytes, what: str, hint: str = "take the file away, or replace it"
) -> BadInput:
    """A dry run on a folder of one's own, where data/train/cat/0.png has another content."""
    message = f"error: data/train/cat/0.png: {what}\nhint: {hint}"
    return images(message, given, lambda data: (data / "train" / "cat" / "0.png").write_bytes(content))


def images(message: str, given: str, spoil: Callable[[Path], object], more: str = "") -> BadInput:
    """A dry run on a folder of one's own, two classes of five images, that `spoil` has spoiled."""

    def make(folder: Path) -> None:
        for name in ("cat", "dog"):
            (folder / "data" / "train" / name).mkdir(parents=True)
            for number in range(5):
                (folder / "data" / "train" / name / f"{number}.png").write_bytes(PNG)
        spoil(folder / "data")

    files = {"mine.yaml": f"dataset: {{name: folder, path: data{more}}}\n"}
    return BadInput("ltdd-tui run mine.yaml --dry-run", message, files=files, make=make, given=given)


def train_list(lines: str | bytes, message: str, given: str = "") -> BadInput:
    """A dry run on ImageNet-LT's lists, of which train.txt is bad."""
    files = {"mine.yaml": "dataset: {name: imagenet-lt, path: data}\n", "data/test.txt": "cat/2.png 0\n"}
    return BadInput("ltdd-tui run mine.yaml --dry-run", message, files={**files, "data/train.txt": lines}, given=given)


def pixels(message: str, given: str, kind: str) -> BadInput:
    """A run on a folder of one's own, where one image is a TIFF with the levels 0 to 255 of this type."""

    def spoil(data: Path) -> None:
        import numpy as np
        from PIL import Image

        Image.fromarray(np.arange(256, dtype=kind).reshape(16, 16)).save(data / "train" / "cat" / "new.tif")

    files = {"runs/mine/config.yaml": "dataset: {name: folder, path: data}\n"}
    make = images("", "", spoil).make
    return BadInput("python -m engine run runs/mine --device cpu", message, files=files, make=make, given=given)


def start_set(message: str, given: str, make: Callable[[Path], object]) -> BadInput:
    """A run of digits that starts from a set made elsewhere, in the folder `set`, which `make` has made badly."""

    def in_set(folder: Path) -> None:
        (folder / "set").mkdir()
        make(folder / "set")

    files = {"runs/mine/config.yaml": "method: imported\ninitialize: {start_set: set, labels: class}\nipc: 2\n"}
    return BadInput("python -m engine run runs/mine --device cpu", message, files=files, make=in_set, given=given)


def pickled_code(folder: Path) -> None:
    """images.pt that asks for `print` to be called when it is read."""
    import torch

    class Prints:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("code of a file was run",)

    torch.save(Prints(), folder / "images.pt")


def tensors(**content: object) -> Callable[[Path], None]:
    """A maker of .pt files: zeros of these shapes, or the numbers in a list."""

    def make(folder: Path) -> None:
        import torch

        for name, value in content.items():
            tensor = torch.zeros(value) if isinstance(value, tuple) else torch.tensor(value)
            torch.save(tensor, folder / f"{name}.pt")

    return make


def unequal_folders(folder: Path) -> None:
    """Two images of a class and one of another."""
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PNG)


BAD_INPUTS: dict[str, list[BadInput]] = {
    "Settings: values": [
        mine("ipc: 0\n", "error: mine.yaml:1: ipc: must be >= 1, this is 0\nhint: synthetic images per class (IPC)"),
        mine(
            "matching:\n  image_lr: fast\n",
            "error: mine.yaml:2: matching.image_lr: a number is needed, this is the text 'fast'\n"
            "hint: step size of the synthetic images; of mini-images divided by their gain",
        ),
        mine(
            "matching:\n  image_lr: '1e2'\n",
            "error: mine.yaml:2: matching.image_lr: a number is needed, this is the text '1e2'\n"
            "hint: write it without quotes: 1e2",
        ),
        override(
            "dataset.imbalance_factor=0.01",
            "error: --set: dataset.imbalance_factor: must be >= 1 or natural, this is 0.01\n"
            "hint: it is the largest class over the smallest: use 100",
        ),
        override(
            "dataset.imbalance_factor=1/100",
            "error: --set: dataset.imbalance_factor: a number or natural is needed, this is the text '1/100'\n"
            "hint: it is the largest class over the smallest: use 100",
        ),
        override(
            "method=ltdp",
            "error: --set: method: 'ltdp' is not known; known: ltdd-plus, ltdd, dam, ed, datm, mtt, dm, idm, rldd,"
            " random, k-center, herding, graph-cut, confident, imported\n"
            "hint: did you mean ltdd?",
        ),
        mine(
            "evaluate: {arch: resnet18}\n",
            "error: mine.yaml:1: evaluate.arch: a list is needed, this is the text 'resnet18'\nhint: write [resnet18]",
        ),
        mine(
            "evaluate: {arch: [resnet81]}\n",
            "error: mine.yaml:1: evaluate.arch.0: the text 'resnet81' is not known\nhint: did you mean resnet18?",
        ),
        mine(
            "evaluate: {labels: [soft]}\n",
            "error: mine.yaml:1: evaluate.labels.0: the text 'soft' is not known\nhint: known: hard, stored, online",
        ),
    ],
    "Settings: numbers that are not decimal": [
        mine(
            "ipc: 1:30\n",
            "error: mine.yaml:1: ipc: a whole number is needed, this is the text '1:30'\n"
            "hint: synthetic images per class (IPC)",
        ),
        mine(
            "ipc: 0x10\n",
            "error: mine.yaml:1: ipc: a whole number is needed, this is the text '0x10'\n"
            "hint: write it in decimal digits: 16",
        ),
        mine(
            "matching: {iterations: 1_000}\n",
            "error: mine.yaml:1: matching.iterations: a whole number is needed, this is the text '1_000'\n"
            "hint: write it in decimal digits: 1000",
        ),
        mine("ipc: !!int 0o10\n", "error: mine.yaml:1: ipc: this is no value: '0o10' is no decimal number"),
        override(
            "dataset.imbalance_factor=0b1010",
            "error: --set: dataset.imbalance_factor: a number or natural is needed, this is the text '0b1010'\n"
            "hint: write it in decimal digits: 10",
        ),
        mine(
            "seed: 2026-11-28\n",
            "error: mine.yaml:1: seed: a whole number is needed, this is the text '2026-11-28'\n"
            "hint: the one seed; every stage draws its own generator from it",
        ),
        override(
            "initialize.images=kcenter",
            "error: --set: initialize.images: 'kcenter' is not known; known: correct, real, noise, crops, confident,"
            " herding, k-center, graph-cut\nhint: did you mean k-center?",
        ),
        mine(
            "method: off\n",
            "error: mine.yaml:1: method: 'off' is not known; known: ltdd-plus, ltdd, dam, ed, datm, mtt, dm, idm, rldd,"
            " random, k-center, herding, graph-cut, confident, imported\n"
            "hint: how the set is made: by matching experts (ltdd-plus; ltdd and its ablations dam and ed; datm, mtt)"
            " or features (dm, idm), from a teacher's statistics (rldd), of chosen real images (random, k-center,"
            " herding, graph-cut, confident), or elsewhere (imported)",
        ),
        mine(
            "<<: {ipc: 3}\n",
            "error: mine.yaml:1: <<: there is no such setting\n"
            "hint: `ltdd-tui presets show quickstart` shows all settings",
        ),
    ],
    "Settings: values that do not fit together": [
        override(
            "dataset.whitening=published",
            "error: --set: dataset.whitening: published takes the mean and std of CIFAR-10's three channels,"
            " dataset.name digits has 1\nhint: use corrected",
        ),
        override(
            "dataset.class_order=text",
            "error: --set: dataset.class_order: text sorts the classes of dataset.name tiny-imagenet alone, this is"
            " digits\nhint: use label, or count",
        ),
        override(
            "experts.depth=4",
            "error: --set: experts.depth: 4 blocks (experts.depth) halve images of 8 pixels (dataset.name,"
            " dataset.resolution) to nothing\n"
            "hint: experts.depth at most 3, or raise dataset.resolution",
        ),
        mine(
            "extends: quickstart\nexperts:\n  epochs: 10\n",
            "error: mine.yaml:3: experts.epochs: matching.max_start_epoch 20 + matching.expert_epochs 2 reaches past"
            " experts.epochs 10\n"
            "hint: change one of them",
        ),
        override(
            "matching.sequential_from=30",
            "error: --set: matching.sequential_from: matching.sequential_from 30 lies above matching.max_start_epoch"
            " 20\n"
            "hint: the bound of start epochs grows: lower it, or leave it empty",
        ),
        override(
            "evaluate.optimizer=adamw",
            "error: --set: evaluate.optimizer: the step size that trajectory matching learns is one of SGD,"
            " evaluate.optimizer is adamw\n"
            "hint: set evaluate.learning_rate to about 0.001, and evaluate.real_learning_rate too",
        ),
        BadInput(
            "ltdd-tui presets check quickstart --set method=rldd --set initialize.partition=2",
            "error: --set: initialize.partition: initialize.partition must be 1 for method rldd, which recovers whole"
            " images\nhint: change one of them",
        ),
        BadInput(
            "ltdd-tui presets check quickstart --set method=mtt --set initialize.labels=teacher",
            "error: --set: initialize.labels: initialize.labels teacher would not be matched: method mtt has the"
            " classes as labels\nhint: write class, or use method datm, which learns soft labels",
        ),
        BadInput(
            "ltdd-tui presets check quickstart --set method=rldd --set initialize.labels=class",
            "error: --set: initialize.labels: initialize.labels class would not be used: method rldd has the"
            " teacher's labels\nhint: write teacher",
        ),
        BadInput(
            "ltdd-tui presets check quickstart --set method=random --set initialize.images=crops",
            "error: --set: initialize.images: initialize.images crops would not be used: method random chooses"
            " its own images\nhint: write real, or use a method that distills",
        ),
        override(
            "initialize.partition=3",
            "error: --set: initialize.partition: images of 8 pixels (dataset.name, dataset.resolution) cannot be cut"
            " into 3 equal parts a side\n"
            "hint: choose a divisor of 8, or another dataset.resolution",
        ),
    ],
    "Settings: keys and files": [
        mine(
            "matching:\n  imag_lr: 3.0\n",
            "error: mine.yaml:2: matching.imag_lr: there is no such setting\nhint: did you mean matching.image_lr?",
        ),
        mine(
            "ipc: 3\nseed: 1\nipc: 4\n",
            "error: mine.yaml:3: ipc: this key stands here a second time, first in line 1\nhint: keep one of the two",
        ),
        mine(
            "extends: quickstrt\n",
            "error: mine.yaml:1: extends: there is no preset 'quickstrt'\nhint: did you mean quickstart?",
        ),
        mine(b"\xff\xfe\x00", "error: mine.yaml: cannot be read: it is not UTF-8 text"),
        mine(
            "ipc: *one\n",
            "error: mine.yaml:1: aliases (*name) are not taken\nhint: write it out, or share settings with `extends`",
        ),
        override("=", "error: --set: '=' is no KEY=VALUE\nhint: for example: matching.iterations=500"),
        override("ipc=[", "error: --set: ipc: '[' is no value: while parsing a flow node"),
        override("ipc=*one", "error: --set: ipc: '*one' is no value: aliases (*name) are not taken"),
        BadInput(
            CHECK,
            "error: other.yaml:1: extends: mine.yaml extends this file in turn: a circle\n"
            "hint: let one of them stand alone",
            files={"mine.yaml": "extends: other.yaml\n", "other.yaml": "extends: mine.yaml\n"},
        ),
        BadInput(
            CHECK,
            "error: mine.yaml: cannot be read: it has more than 1,000,000 bytes",
            make=lambda folder: (folder / "mine.yaml").write_text("# nothing\n" * 10**6),
            given="a preset of 10 MB",
        ),
        BadInput(
            CHECK,
            "\n".join(
                f"error: mine.yaml:{line}: key_{line}: there is no such setting\n"
                "hint: `ltdd-tui presets show quickstart` shows all settings"
                for line in range(1, 21)
            )
            + "\nerror: 9,980 more like these",
            make=lambda folder: (folder / "mine.yaml").write_text("".join(f"key_{i}: 1\n" for i in range(1, 10_001))),
            given="a preset of 10,000 unknown keys",
        ),
        BadInput(
            CHECK,
            "error: mine.yaml:1: brackets or blocks are nested too deep\nhint: no setting needs that",
            make=lambda folder: (folder / "mine.yaml").write_text("ipc: " + 5000 * "["),
            given="a preset of 5,000 brackets",
        ),
        BadInput(
            CHECK,
            "error: mine.yaml: cannot be read: it is a FIFO, no file",
            make=lambda folder: os.mkfifo(folder / "mine.yaml"),
            given="mine.yaml is a FIFO",
        ),
        BadInput("ltdd-tui presets check /dev/zero", "error: /dev/zero: cannot be read: it is a device, no file"),
        BadInput(
            "ltdd-tui presets check mine.yaml",
            "error: mine.yaml: this is a folder, no preset\nhint: `ltdd-tui new mine.yaml` writes one for it",
            make=lambda folder: (folder / "mine.yaml").mkdir(),
            given="mine.yaml is a folder",
        ),
        mine(
            '"\\e[2J": 1\n',
            r"error: mine.yaml:1: \x1b[2J: there is no such setting"
            "\nhint: `ltdd-tui presets show quickstart` shows all settings",
        ),
        override("matching", "error: --set: 'matching' is no KEY=VALUE\nhint: for example: matching.iterations=500"),
    ],
    "Paths": [
        BadInput(
            "ltdd-tui run quickstart --dry-run --json --set dataset.name=folder --set \"dataset.path='file:///no/such'\"",
            "error: dataset.path 'file:///no/such': there is no such folder\nhint: give the folder that holds the data",
        ),
        BadInput(
            "ltdd-tui runs --runs-dir mine.yaml",
            "error: mine.yaml: this is a file, and no folder that holds runs\n"
            "hint: --runs-dir or LTDD_RUNS_DIR names another place",
            files={"mine.yaml": ""},
        ),
        BadInput(
            "ltdd-tui cache prune",
            "error: prune: nothing is chosen\nhint: give --unused, --older-than DAYS or --to GB",
        ),
    ],
    "Sets made elsewhere": [
        override(
            "method=imported",
            "error: --set: method: method imported needs initialize.start_set\n"
            "hint: `ltdd-tui import PATH` and `run --from` set it",
        ),
        override(
            "method=random --set initialize.start_set=sets/images.pt",
            "error: --set: method: method random chooses its own images, and takes no initialize.start_set\n"
            "hint: use method imported, or one that distills",
        ),
        BadInput(
            "ltdd-tui run quickstart --set initialize.start_set=sets/images.pt",
            "error: initialize.start_set sets/images.pt: there is no such set\n"
            "hint: give a run's folder, a file, or a folder of images a class",
        ),
        BadInput(
            "ltdd-tui run quickstart --set experts.imported=ab12",
            "error: experts.imported ab12: there are no such experts in cache/experts\n"
            "hint: `ltdd-tui import-experts PATH` imports them, and names them",
        ),
        start_set(
            "error: set/images.pt: the file holds pickled code (print), which was not run: only tensors are"
            " read\nhint: where you trust it, open it yourself and save its tensors:"
            " torch.save(images.detach().cpu(), FILE)",
            "images.pt holds code that would run when it is unpickled",
            pickled_code,
        ),
        start_set(
            "error: set: the folder holds no set\n"
            "hint: give a run's folder, its distilled.safetensors, images.pt, or a folder of images a class",
            "the folder is empty",
            lambda folder: None,
        ),
        start_set(
            "error: set: the classes have different numbers of images: dog 1, cat 2\n"
            "hint: every class needs the same number (IPC)",
            "one of two class folders has an image less",
            unequal_folders,
        ),
        start_set(
            "error: set/labels.pt: class 1 has no image\nhint: every class needs the same number (IPC)",
            "labels.pt leaves out a class",
            tensors(images=(4, 1, 8, 8), labels=[0, 0, 2, 2]),
        ),
        start_set(
            "error: set/labels.pt: bool tensors are not read\n"
            "hint: only dense ones of real or whole numbers are:"
            " torch.save(images.detach().cpu().contiguous(), FILE)",
            "labels.pt holds true and false",
            tensors(images=(2, 1, 8, 8), labels=[False, True]),
        ),
        BadInput(
            "ltdd-tui import ''",
            "error: no path is given\nhint: name a run, a file of a set, or a folder of images a class",
        ),
        start_set(
            "error: set/images.pt: these are no images: a tensor of shape (20, 64)\n"
            "hint: images are (count, channels, height, width) with 1 or 3 channels",
            "images.pt is flat",
            tensors(images=(20, 64)),
        ),
        start_set(
            "error: set/labels.pt: 10 labels for 20 images\nhint: each image needs one: export both anew",
            "labels.pt has a label for every second image",
            tensors(images=(20, 1, 8, 8), labels=list(range(10))),
        ),
        start_set(
            "error: set/lr.pt: the learning rate must be one float32 above 0, this is a tensor of shape (2,)\n"
            "hint: delete the file, and the settings' rate is taken",
            "lr.pt holds two rates",
            tensors(images=(20, 1, 8, 8), lr=[0.1, 0.2]),
        ),
        start_set(
            "error: set: the images are 1 x 4 x 4, those of the data set 1 x 8 x 8\n"
            "hint: choose the data set, and dataset.resolution, that the set was made of",
            "the images are smaller than the data set's",
            tensors(images=(20, 1, 4, 4)),
        ),
        start_set(
            "error: set: nothing tells what the values of the images are\n"
            "hint: set initialize.start_space (--space): whitened, normalized or pixels",
            "nothing tells whether the images are whitened",
            tensors(images=(20, 1, 8, 8)),
        ),
    ],
    "Damaged runs": [
        BadInput(
            "ltdd-tui show old",
            "error: runs/old/result/metrics.json: the file is damaged: its content does not match its checksum\n"
            "hint: `ltdd-tui resume old` writes it anew",
            files={
                "runs/old/config.yaml": "ipc: 1\n",
                "runs/old/result/metrics.json": '{"checksum": "crc32:01234567", "final": {"accuracy_mean": 99.9}}',
            },
        ),
        BadInput(
            "python -m engine export runs/old",
            "error: runs/old/result/distilled.safetensors: the file is damaged: its content does not match its"
            " checksum\n"
            "hint: export it, or download it, anew",
            files={
                "runs/old/config.yaml": "ipc: 1\n",
                "runs/old/result/metrics.json": "{}",
                "runs/old/result/distilled.safetensors": b'{"__metadata__":{"checksum":"crc32:01234567"}}',
            },
        ),
        BadInput(
            "ltdd-tui watch old",
            "warning: a line that is no event was skipped\nhint: a crash may have cut it short\n"
            "error: runs/old/events.jsonl: 13 bytes hold no start of a run\nhint: its file of events is damaged",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/events.jsonl": b"\x00\xff no events\n"},
        ),
        BadInput(
            "ltdd-tui show old",
            "error: runs/old/result/metrics.json: the metrics hold no final figures\n"
            "hint: `ltdd-tui resume old` writes it anew",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/result/metrics.json": "{}"},
        ),
        BadInput(
            "ltdd-tui show new",
            "error: runs/new: made by a newer version (manifest.json has schema 9; this one reads up to 1)\n"
            "hint: update ltdd-tui",
            files={"runs/new/config.yaml": "ipc: 1\n", "runs/new/manifest.json": '{"schema": 9}'},
        ),
        BadInput(
            "python -m engine evaluate runs/old --arch convnet --device cpu",
            "error: runs/old/config.yaml: the settings were changed since the run began\n"
            "hint: put them back, or start a new run from this file: `ltdd-tui run FILE --name ANOTHER`",
            files={
                "runs/old/config.yaml": "ipc: 1\n",
                "runs/old/manifest.json": '{"settings_hash": "0123456789abcdef"}',
                "runs/old/result/distilled.safetensors": "",
            },
        ),
        BadInput(
            "ltdd-tui evaluate old --arch ConvNet",
            "error: --arch: there is no network 'ConvNet'; known: convnet, resnet18, vgg11, alexnet\n"
            "hint: did you mean convnet?",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/result/distilled.safetensors": ""},
        ),
        BadInput(
            "ltdd-tui evaluate old --labels soft",
            "error: --labels: there is no label regime 'soft'; known: hard, stored, online\nhint: name one of these",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/result/distilled.safetensors": ""},
        ),
        BadInput(
            "ltdd-tui evaluate old",
            "error: evaluate: nothing to evaluate is named\n"
            "hint: --arch names networks, --labels label regimes: hard, stored, online; --repeats: more of the run's"
            " own",
        ),
        BadInput(
            "ltdd-tui scores old",
            "error: runs/old: the run has no result yet\nhint: `ltdd-tui resume old` finishes it",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
        BadInput(
            "ltdd-tui export old",
            "error: runs/old: the run has no result yet\nhint: `ltdd-tui resume old` finishes it",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
        BadInput(
            "ltdd-tui predict old photo.jpg",
            "error: runs/old/result/model.pt2: the run has no model\n"
            "hint: `ltdd-tui export old --model` trains and writes one",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
        BadInput(
            "ltdd-tui predict old photo.jpg",
            "error: photo.jpg: there is no such file or folder",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/result/model.pt2": ""},
        ),
        BadInput(
            "python -m engine run runs/old",
            "error: runs/old/config.yaml:1: ipc: must be >= 1, this is 0\nhint: synthetic images per class (IPC)",
            files={"runs/old/config.yaml": "ipc: 0\n"},
        ),
        BadInput(
            "ltdd-tui stop old",
            "error: runs/old: no worker is at work on this run\nhint: `ltdd-tui runs` lists those that run",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
    ],
    "Data: test folds": [
        override(
            "dataset.test_fold=1",
            "error: --set: dataset.test_fold: dataset.test_fold must lie below dataset.test_folds\n"
            "hint: set dataset.test_folds, the number of folds, as well",
        ),
        override(
            "dataset.test_folds=3",
            "error: --set: dataset.test_folds: dataset.name digits has test images of its own\n"
            "hint: leave it empty: folds are of a folder without test/",
        ),
        override(
            "dataset.test_groups=track",
            "error: --set: dataset.test_groups: dataset.name digits has no groups of files\n"
            "hint: leave it empty: groups are of a folder of images",
        ),
        images(
            "error: mine.yaml:1: dataset.test_groups: 'track' has no group in parentheses, where one is needed\n"
            "hint: for example track(\\d+)_ for files such as track12_003.png",
            "a pattern without a group",
            lambda folder: None,
            ", test_groups: track",
        ),
        images(
            "error: dataset.test_groups: the pattern 'track(.)' matches no file\n"
            "hint: it is searched for in paths such as cat/0.png",
            "files without tracks in their names",
            lambda folder: None,
            ", test_groups: track(.)",
        ),
        images(
            "error: data/train/cat: all images of this class are of one group, so none can be held out\n"
            "hint: add images of other groups, or a test/ folder, or change dataset.test_groups",
            "one group has all images of a class",
            lambda folder: None,
            ', test_groups: "(cat|dog/.)"',
        ),
        BadInput(
            "ltdd-tui run mine.yaml --dry-run",
            "error: dataset.test_folds: images/test is there, so no fold is held out\nhint: leave it empty",
            files={"mine.yaml": "extends: quickstart\ndataset: {name: folder, path: images, test_folds: 2}\n"},
            make=two_cats_and_dogs,
            given="images/ has a test/",
        ),
        BadInput(
            "ltdd-tui run mine.yaml --dry-run",
            "error: dataset.test_groups: the pattern 'track(.)' matches no file\n"
            "hint: it is searched for in paths such as cat/0.png",
            files={"mine.yaml": "extends: quickstart\ndataset: {name: folder, path: images, test_groups: track(.)}\n"},
            make=two_cats_and_dogs,
            given="images/ has a test/",
        ),
        images(
            "error: dataset.test_folds: test_folds 6 is more than the 5 images of class cat\n"
            "hint: at most 5, so that each fold tests every class",
            "two classes of five images",
            lambda data: None,
            ", test_folds: 6",
        ),
    ],
    "Data: a preset for a folder": [
        BadInput(
            "ltdd-tui new nothing",
            "error: nothing: there is no such folder\n"
            "hint: give a folder that holds a folder of images for each class, or train/<class>/* and test/<class>/*",
        ),
        BadInput(
            "ltdd-tui new images/train/cat/0.png",
            "error: images/train/cat/0.png: this is a file, and no folder\n"
            "hint: give a folder that holds a folder of images for each class, or train/<class>/* and test/<class>/*",
            make=two_cats_and_dogs,
        ),
        BadInput(
            "ltdd-tui new images/train/cat",
            "error: images/train/cat: the images lie in the folder itself, and not in a folder for each class\n"
            "hint: give a folder that holds a folder of images for each class, or train/<class>/* and test/<class>/*",
            make=two_cats_and_dogs,
        ),
        BadInput(
            "ltdd-tui new images",
            "error: images: there is test/ with images to test on, and no train/\n"
            "hint: put those to train on into train/, a folder for each class",
            make=images_to_test_on_alone,
            given="images/ has a test/ alone",
        ),
        BadInput(
            "ltdd-tui new photos",
            "error: photos: at least 2 classes are needed, and there is 1 class folder\n"
            "hint: put the images of each class into a folder of its own",
            make=cats_alone,
            given="photos/ has one folder with images",
        ),
        BadInput(
            "ltdd-tui new images -o /proc/mine.yaml",
            "error: /proc: nothing can be written here: No such file or directory\n"
            "hint: name a file in another folder with -o",
            make=two_cats_and_dogs,
        ),
        override(
            "validation.candidates=[random,random]",
            "error: --set: validation.candidates: must name each one once, this names one twice\n"
            "hint: starts that are tried beside that of initialize, with the teacher's labels where labels are learnt;"
            " also plain selections of whole images, which a verdict compares with the set",
        ),
        BadInput(
            "ltdd-tui new images -o mine.yaml",
            "error: mine.yaml: this file is there already\nhint: -o OTHER.yaml, or delete it",
            files={"mine.yaml": "extends: quickstart\n"},
            make=two_cats_and_dogs,
        ),
        BadInput(
            "ltdd-tui new images -o mine.txt",
            "error: mine.txt: a preset's file ends in .yaml\nhint: -o mine.txt.yaml",
            make=two_cats_and_dogs,
        ),
        BadInput(
            "ltdd-tui new images --minutes 0",
            "error: --minutes: minutes must be above 0 and at most 43,200\nhint: for example: 10",
            make=two_cats_and_dogs,
        ),
        BadInput(
            "ltdd-tui run images",
            "error: images: this is a folder, no preset\nhint: `ltdd-tui new images` writes one for it",
            make=two_cats_and_dogs,
            given="a folder in place of a preset",
        ),
        BadInput(
            "python -m engine run runs/mine",
            "error: runs/mine/config.yaml: auto is for presets, a run needs a number: experts.epochs\n"
            "hint: `ltdd-tui run` and `sweep` write numbers there",
            files={"runs/mine/config.yaml": "experts: {epochs: auto}\n"},
        ),
    ],
    "Data: changed since the run began": [
        begun_with("images were added", 1, 2, '["cat", "dog"]', "train/cat: 2, was 1"),
        begun_with("a class was renamed", 2, 2, '["cat", "wolf"]', "class dog is new; class wolf is gone"),
        begun_with(
            "an image was replaced",
            2,
            2,
            '["cat", "dog"]',
            "same counts, other pixels",
            "; another machine or version of Pillow may decode a file differently",
        ),
    ],
    "Runs and presets": [
        BadInput(
            "ltdd-tui presets check quickstat", "error: there is no preset 'quickstat'\nhint: did you mean quickstart?"
        ),
        BadInput(
            "ltdd-tui show nothing",
            "error: runs: there is no run 'nothing'\nhint: `ltdd-tui runs` lists them; --runs-dir looks elsewhere",
        ),
        BadInput(
            "ltdd-tui run quickstart --after nothing",
            "error: runs: there is no run 'nothing'\nhint: `ltdd-tui runs` lists them; --runs-dir looks elsewhere",
        ),
        BadInput(
            "ltdd-tui resume one --after one",
            "error: --after: a run cannot wait for itself\nhint: name another run",
            files={"runs/one/config.yaml": "method: ltdd\n"},
        ),
        BadInput(
            "ltdd-tui run quickstart --name a/b",
            "error: --name: 'a/b' cannot be a run's name\n"
            "hint: a plain name such as cifar10-ipc10; --runs-dir says where it lies",
        ),
    ],
    "Sweeps": [
        BadInput(
            "ltdd-tui sweep digit",
            "error: there is no sweep 'digit'\nhint: known: ablation, cross-architecture, digits, lambda,"
            " paper-cifar10-lt, paper-cifar100-lt, paper-tiny, robustness; or a file",
        ),
        BadInput(
            "ltdd-tui sweep quickstart",
            "error: there is no sweep 'quickstart'\nhint: it is a preset: `ltdd-tui run quickstart` runs it",
        ),
        BadInput(
            "ltdd-tui sweep digits --only method=ltd,ipc=1",
            "error: --only: method has no value 'ltd'\nhint: it has ltdd-plus, ltdd, dam, ed, datm, mtt, dm, idm, rldd,"
            " random, k-center, herding, graph-cut, confident",
        ),
        BadInput(
            "ltdd-tui sweep digits --set seed=3",
            "error: --set: seed: seed is in the grid of the sweep\nhint: --only takes some of its values",
        ),
        BadInput(
            "ltdd-tui sweep digits --ranks 2",
            "error: --ranks: it is an option of a cluster\nhint: add --cluster local, auto or an address",
        ),
        BadInput(
            "ltdd-tui sweep digits --cluster auto --jobs 2",
            "error: --jobs: a cluster does not have this option\nhint: as many cells run at a time as the cluster has"
            " room for; --threads says how many CPUs each takes",
        ),
        BadInput(
            "ltdd-tui sweep digits --cluster auto --after digits",
            "error: --after: a cluster does not have this option\nhint: start it when the other run is over:"
            " `ltdd-tui watch` waits for that",
        ),
        BadInput(
            "ltdd-tui sweep digits --cluster auto --same-bytes",
            "error: --same-bytes: a cluster does not have this option\n"
            "hint: its nodes may be of several origins; --any-origin takes what they make, and tells it",
        ),
        BadInput(
            "ltdd-tui sweep digits --jobs ٣",
            "error: --jobs: auto or a number of workers is needed, this is '٣'\nhint: at most 1,024",
        ),
        BadInput(
            "ltdd-tui sweep digits --device foo",
            "error: --device: there is no device 'foo'\nhint: auto, cpu, cuda, or cuda:1",
        ),
        BadInput(
            "ltdd-tui sweep digits --dry-run --name ../x",
            "error: --name: '../x' cannot be a run's name\n"
            "hint: a plain name such as cifar10-ipc10; --runs-dir says where it lies",
        ),
        BadInput("ltdd-tui sweep digits --dry-run --name ''", "error: --name: a run's name must not be empty"),
        BadInput("ltdd-tui run digits", "error: digits: this is a sweep\nhint: `ltdd-tui sweep digits` runs it"),
        BadInput(
            "ltdd-tui sweep mine.yaml",
            "error: runs/mine: there is a sweep 'mine' with other settings already\n"
            "hint: `ltdd-tui resume mine` goes on with that one; another --name starts a new one",
            files={"mine.yaml": "preset: quickstart\ngrid: {seed: [0]}\n", "runs/mine/sweep.yaml": b"caf\xe9"},
            given="a sweep mine has begun, and its sweep.yaml is not UTF-8 text",
        ),
        swept(
            "grid: {seed: [0, 1]}\noverrides:\n  - {where: {seed: 2}, set: {ipc: 1}}\n  - {set: {seed: 3}}\n",
            "error: mine.yaml:2: overrides: entry 1: no cell of the grid fits seed: 2\nhint: the grid has 0, 1\n"
            "error: mine.yaml:2: overrides: entry 2: seed is in the grid of the sweep\n"
            "hint: every cell keeps its value of the grid; make two sweeps of it",
        ),
        swept(
            "grid: {seed: [0]}\nset:\n  matching.iterations: 6\n  matching: {iterations: 4}\n",
            "error: mine.yaml:4: set: matching.iterations stands here a second time\nhint: keep one of the two",
        ),
        swept(
            "ipc: 10\n",
            "error: grid: this key is missing\n"
            "hint: a sweep has preset, set, grid, overrides and published (docs/sweeps.md)\n"
            "error: mine.yaml:1: ipc: there is no such key in a sweep\n"
            "hint: a sweep has preset, set, grid, overrides and published (docs/sweeps.md)",
        ),
        swept(
            "grid:\n  metod: [ltdd]\n  ipc: [1, 1]\n",
            "error: mine.yaml:2: grid.metod: there is no such setting\nhint: did you mean method?\n"
            "error: mine.yaml:3: grid.ipc: a value stands here a second time\nhint: write it once",
        ),
        swept(
            "grid:\n  method: [ltdd, random]\n  ipc: [1, 0]\n",
            "error: cell ltdd-ipc0 and 1 more: mine.yaml:3: ipc: must be >= 1, this is 0\n"
            "hint: synthetic images per class (IPC)",
        ),
        swept("grid:\n  ipc: 3\n", "error: mine.yaml:2: grid.ipc: a list is needed\nhint: write [a, b]"),
        swept(
            "grid: 3\n",
            "error: mine.yaml:1: grid: settings are needed, each as `name: value`\n"
            "hint: a sweep has preset, set, grid, overrides and published (docs/sweeps.md)",
        ),
        swept(
            "preset: 3\ngrid:\n  ipc: [1]\n",
            "error: mine.yaml:1: preset: the name of a preset is needed, or settings\nhint: such as preset: quickstart",
        ),
    ],
    "Reports": [
        BadInput(
            "ltdd-tui report nothing",
            "error: runs: there is no run 'nothing'\nhint: `ltdd-tui runs` lists them; --runs-dir looks elsewhere",
        ),
        BadInput(
            "ltdd-tui report empty",
            "error: empty: there is no run yet\nhint: `ltdd-tui sweep` and `ltdd-tui run` make some",
            files={"runs/empty/sweep.yaml": "preset: quickstart\ngrid: {seed: [0, 1]}\n"},
            given="a sweep without a run",
        ),
        BadInput(
            "ltdd-tui report empty -o ''",
            "error: -o: the name of a folder is needed\nhint: -o names the folder of the report",
        ),
        BadInput(
            "ltdd-tui report empty -o file",
            "error: file: this is a file, and no folder\nhint: -o names the folder of the report",
            files={"file": ""},
        ),
        BadInput(
            "ltdd-tui report empty -o mine",
            "error: mine/report.md: this file is not of an earlier report\nhint: --force replaces it",
            files={"mine/report.md": "My own words\n"},
        ),
    ],
    "Tags and tables": [
        BadInput(
            "ltdd-tui tag mine paper a:b",
            "error: 'a:b' cannot be a tag\nhint: letters, digits and _ . / + -, 40 at most",
            files={"runs/mine/config.yaml": "{}"},
        ),
        BadInput(
            "ltdd-tui tag mine paper",
            "error: runs/mine/notes.json: the notes are damaged\nhint: mend it, or delete it",
            files={"runs/mine/config.yaml": "{}", "runs/mine/notes.json": "{"},
        ),
        BadInput("ltdd-tui runs --csv --json", "error: runs: only one of --json, --csv and --markdown can be printed"),
    ],
    "Folders of images": [
        images(
            "error: data/train/bird: the target of this link is missing\nhint: mend the link, or take it away",
            "data/train/bird is a link to a folder that is gone",
            lambda data: (data / "train" / "bird").symlink_to("gone"),
        ),
        images(
            r"error: data/train/caf\xe9: the name is not UTF-8 text" "\nhint: rename it; convmv renames many",
            "a class folder with a name in Latin-1",
            lambda data: os.mkdir(os.fsencode(data) + b"/train/caf\xe9"),
        ),
        images(
            r"error: data/train/a\nb\x1b[31m: the name of this class has control characters" "\nhint: rename it",
            "a class folder whose name has a line break and an escape sequence",
            lambda data: (data / "train" / "cat").rename(data / "train" / "a\nb\x1b[31m"),
        ),
        images(
            r"error: data/train/cat/a\nb\x1b[31m.png: "
            "the target of this link is missing\n"
            "hint: mend the link, or take it away",
            "an image whose name has a line break and an escape sequence is a broken link",
            lambda data: (data / "train" / "cat" / "a\nb\x1b[31m.png").symlink_to("gone"),
        ),
        images(
            "error: data/train2: this folder holds classes of train/, but it would not be used\n"
            "hint: move its images into train/ or test/, or take it out of this folder",
            "data/train2/cat holds images, too",
            lambda data: shutil.copytree(data / "train", data / "train2"),
        ),
        images(
            "note: images that are not used lie beside train/: logo.png, more/\n"
            "error: data/eval: this folder holds classes of train/, but it would not be used\n"
            "hint: move its images into train/ or test/, or take it out of this folder",
            "data/eval/part1/cat holds images, too; data/more other ones, and data/logo.png is one",
            lambda data: [
                shutil.copytree(data / "train", data / "eval" / "part1"),
                shutil.copytree(data / "train" / "cat", data / "more"),
                (data / "logo.png").write_bytes(PNG),
            ],
        ),
        images(
            "error: data/test: this has the name of a split, but it is a file\n"
            "hint: rename it, or make it a folder that holds a folder of images for each class",
            "data/test is a file",
            lambda data: (data / "test").write_text("later"),
        ),
        images(
            "note: val/ is the test set, as there is no test/\n"
            "error: data/val/dog: this class has no images\nhint: add some, or remove the class",
            "data/val holds one of the two classes, and there is no data/test",
            lambda data: shutil.copytree(data / "train" / "cat", data / "val" / "cat"),
        ),
        images(
            "error: data/train/cat/notes.txt: this is no image that can be read\n"
            "hint: take the file away, or replace it",
            "a text file among the images of a class",
            lambda data: (data / "train" / "cat" / "notes.txt").write_text("no image"),
        ),
        images(
            "error: data/train/cat/-.png: this is neither a file nor a folder\nhint: take it away",
            "a FIFO among the images of a class",
            lambda data: os.mkfifo(data / "train" / "cat" / "-.png"),
        ),
        images(
            "error: data/train/cat/-.png: this is neither a file nor a folder\nhint: take it away",
            "an image is a link to /dev/zero",
            lambda data: (data / "train" / "cat" / "-.png").symlink_to("/dev/zero"),
        ),
        images(
            "error: data/train/cat/a.png: this link leads back to itself\nhint: mend the link, or take it away\n"
            "error: data/train/cat/b.png: this link leads back to itself\nhint: mend the link, or take it away",
            "two links that lead to each other",
            lambda data: [(data / "train" / "cat" / f"{a}.png").symlink_to(f"{b}.png") for a, b in ("ab", "ba")],
        ),
        images(
            "error: data/train/cat/loop: a folder inside a class\nhint: images lie directly in their class folder",
            "a link inside a class that leads back to data/train",
            lambda data: (data / "train" / "cat" / "loop").symlink_to(data / "train"),
        ),
        images(
            "error: data/train/bird: this class has no images\nhint: add some, or remove the class",
            "an empty class",
            lambda data: (data / "train" / "bird").mkdir(),
        ),
        images(
            "error: data/train: at least 2 classes are needed, and there is 1 class folder\n"
            "hint: put the images of each class into a folder of its own",
            "one class alone",
            lambda data: shutil.rmtree(data / "train" / "dog"),
        ),
        images(
            "error: data/train/cat: one image is too few to train and to test\nhint: add images, or a test/ folder",
            "a class of one image, and there is no data/test",
            lambda data: [(data / "train" / "cat" / f"{i}.png").unlink() for i in range(1, 5)],
        ),
        in_place_of_an_image("an image of no byte", b"", "the file is empty"),
        in_place_of_an_image("an image of 0 x 0 pixels", png_of_size(0, 0), "this is no image that can be read"),
        in_place_of_an_image(
            "an image of 30,000 x 30,000 pixels",
            png_of_size(30_000, 30_000),
            "the image has too many pixels to be read",
            "scale it down, or take it away",
        ),
        in_place_of_an_image(
            "an image that ends in its header",
            PNG[:20],
            "this is no image that can be read: Truncated File Read",
        ),
        in_place_of_an_image(
            "a program for Ghostscript (EPS) with the name of an image",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(stolen) (w) file\n%%EOF\n",
            "this is no image that can be read",
        ),
        images(
            "error: data/train/1.png: this image is in no class folder\n"
            "hint: move it into the folder of its class, or take it away",
            "an image lies in data/train itself",
            lambda data: (data / "train" / "1.png").write_bytes(PNG),
        ),
    ],
    "Pixels": [
        pixels(
            "error: data/train/cat/new.tif: float pixels from 0 to 255, where 0 is black and 1 white\n"
            "hint: scale the pixels to this range, or save the image with 8 bits",
            "a TIFF of floats from 0 to 255",
            "float32",
        ),
        pixels(
            "error: data/train/cat/new.tif: signed 32-bit pixels up to 255 only: all would be black, as 2,147,483,647"
            " is white\nhint: scale the pixels to the full range, or save the image with 8 bits",
            "a TIFF of 32-bit whole numbers from 0 to 255",
            "int32",
        ),
    ],
    "Lists of images": [
        train_list(
            "cat/1.png 0 7\n",
            "error: data/train.txt:1: this line is no path and label\n"
            "hint: a line is a path and a label, for example: train/n01440764/1.JPEG 0",
        ),
        train_list(
            "cat/1.png 20261128\n",
            "error: data/train.txt:1: the label 20261128 is too large: at most 10,000 classes\n"
            "hint: labels are 0, 1, 2, ... without a gap",
        ),
        train_list(
            "cat/1.png 0\n".encode("utf-16"),
            "error: data/train.txt: the list is UTF-16 text\nhint: save it as UTF-8",
            "data/train.txt is UTF-16 text",
        ),
        train_list(
            "cat/1.png 0\n",
            "error: data/cat/1.png: the image is missing\nhint: put it there, or take it out of the list\n"
            "error: data/cat/2.png: the image is missing\nhint: put it there, or take it out of the list",
        ),
    ],
}
