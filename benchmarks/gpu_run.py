"""The runs of benchmarks/gpu.sh, gone on with where they were stopped: python -m benchmarks.gpu_run FOLDER cell|memory

cell: CIFAR-10-LT, IF 100, IPC 10 from data to report. memory: a few steps of CIFAR-100-LT at IPC 50.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.image_folders import make_random_images
from engine.data.sources import load_torchvision_set
from engine.run.data_settings import DatasetSettings
from engine.run.datasets import class_counts
from engine.run.errors import InputError
from engine.run.folder import RunFolder, cache_root, write_json

FEW_STEPS = (
    "experts.num_experts=1",
    "experts.epochs=2",
    "classifier_experts.epochs=2",
    "matching.iterations=3",
    "matching.min_start_epoch=0",
    "matching.max_start_epoch=1",
    "evaluate.epochs=2",
    "evaluate.repeats=1",
)
# As the official code has it: PyTorch's convolutions take it unasked.
TF32 = ("experts.precision=tf32", "matching.precision=tf32")
DRY = (*FEW_STEPS, "dataset.imbalance_factor=4", "matching.syn_steps=2", "matching.syn_steps_cls=2", "experts.width=8")


class Planned(NamedTuple):
    """A run: its preset, what is set on it, its data set and where a folder of its images is told."""

    preset: str
    sets: tuple[str, ...]
    dataset: Literal["cifar10", "cifar100"]
    variable: str


PLANNED = {
    "cell": Planned("cifar10-lt-if100-ipc10", TF32, "cifar10", "DATA"),
    "memory": Planned("cifar100-lt-if10-ipc50", FEW_STEPS, "cifar100", "DATA100"),
}


def main() -> None:
    """Becomes `ltdd-tui run` or `ltdd-tui resume`, so that an interrupt reaches it."""
    folder, name = Path(sys.argv[1]).absolute(), sys.argv[2]
    planned, dry = PLANNED[name], bool(os.environ.get("DRY"))
    runs = ["--runs-dir", str(folder / "runs"), "--device", os.environ.get("DEVICE", "cuda")]
    if RunFolder(folder / "runs" / name).exists():
        # A call that had to end its run may have left the worker at work.
        stop = [sys.executable, "-m", "ltdd_tui", "stop", name, "--wait", *runs[:2]]
        subprocess.run(stop, stderr=subprocess.DEVNULL, check=False)
        words = ["resume", name]
    else:
        sets = (*DRY, "ipc=2") if dry else planned.sets
        sets = (*sets, *_images(planned, folder, dry), *os.environ.get("SET", "").split())
        words = ["run", "quickstart" if dry else planned.preset, "--name", name, *(f"--set={text}" for text in sets)]
    # Experts of its own: the time is from data to report.
    environment = os.environ | {"LTDD_CACHE": str(folder / "cache")}
    os.execve(sys.executable, [sys.executable, "-m", "ltdd_tui", *words, *runs, "--plain"], environment)


def _images(planned: Planned, folder: Path, dry: bool) -> list[str]:
    """Settings that say where the images are; what they are is noted for the table."""
    own, made_up = os.environ.get(planned.variable), folder / "images" / planned.dataset
    size = ["dataset.name=folder", "dataset.resolution=32"]
    if own and not dry:
        kind, sets = "images of a folder", [*size, f"dataset.path={Path(own).absolute()}"]
    elif not dry and _torchvision_has(planned.dataset):
        kind, sets = "torchvision's images", [f"dataset.path={cache_root() / 'data'}"]
    else:
        kind, sets = (
            "random images: its time and memory are real, its accuracy says nothing",
            [*size, f"dataset.path={made_up}"],
        )
        if not made_up.is_dir():
            classes, most = (10, 5000) if planned.dataset == "cifar10" else (100, 500)
            train = [20, 10, 5] if dry else class_counts(most, 10, classes)
            make_random_images(made_up, train, [2] * len(train) if dry else [10_000 // classes] * classes, side=32)
    write_json(folder / f"{planned.dataset}.json", {"images": kind})
    return sets


def _torchvision_has(dataset: Literal["cifar10", "cifar100"]) -> bool:
    """Whether the data set is there, or could be downloaded."""
    try:
        load_torchvision_set(DatasetSettings(name=dataset))
    except InputError as error:
        print(error, file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main()
