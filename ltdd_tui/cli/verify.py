"""`verify RUN` and `cache verify`: whether any of their files is damaged, by checksums and forms.

What a run writes has a checksum (engine/run/checksums.py), or is of a kind that has them itself: PNG and zip.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.run.checksums import DamagedFile
from engine.run.compile_policy import digest_path
from engine.run.errors import FAILED, Fault, InputError, escaped
from engine.run.events import Warned, decode
from engine.run.expert_cache import experts_root
from engine.run.folder import (
    RunFolder,
    cache_root,
    evaluations_root,
    expanded,
    read_json,
    read_sealed_json,
    verify_file,
)
from engine.run.image_folder import survey
from engine.run.image_headers import opened_image
from engine.run.locks import is_held
from engine.run.metrics import readable_metrics, sound_metrics
from engine.run.regular_files import open_regular
from engine.run.scores import read_scores
from ltdd_tui.cli.options import RunName, RunsDir
from ltdd_tui.cli.output import print_note, print_text
from ltdd_tui.formatting import size
from ltdd_tui.runs.confusion import read_confusion
from ltdd_tui.runs.find import find_run
from ltdd_tui.runs.live import read_settings


@dataclass
class Verified:
    """What a look through files has found; `without`: files of older versions, which have no checksum."""

    files: int = 0
    bytes: int = 0
    without: int = 0
    faults: list[Fault] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    def look(self, path: Path, where: str) -> None:
        """Reads one file, and notes what is wrong with it; files of unknown kinds are left out."""
        if (check := CHECKS.get(path.suffix)) is None or not path.is_file():
            return
        self.files, self.bytes = self.files + 1, self.bytes + path.stat().st_size
        try:
            self.without += not check(path)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            what = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
            self.faults.append(Fault(f"damaged: {what}", where))
            self.damaged.append(path)

    def summary(self, seconds: float) -> str:
        """What was looked at, in a sentence."""
        older = f", {self.without:,} without a checksum" if self.without else ""
        found = f"{len(self.faults):,} fault{'s' * (len(self.faults) != 1)}"
        return f"{self.files:,} files, {size(self.bytes)}, in {seconds:.1f} s{older}: {found}"


def _check_safetensors(path: Path) -> bool:
    from safetensors import safe_open

    sealed = verify_file(path)
    with safe_open(path, framework="numpy"):  # reads the header, and compares it with the file's size
        return sealed


def _check_json(path: Path) -> bool:
    read_sealed_json(path)
    return verify_file(path)


def _check_zip(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        if file.testzip():
            raise DamagedFile
    return True


def _check_png(path: Path) -> bool:
    with opened_image(path, ["PNG"]) as image:
        image.load()  # its parts have checksums
    return True


def _check_library(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        digest = digest_path(path).read_text()
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DamagedFile
        return True
    return False


CHECKS: dict[str, Callable[[Path], bool]] = {
    ".safetensors": _check_safetensors,
    ".json": _check_json,
    ".pt2": _check_zip,
    ".png": _check_png,
    ".so": _check_library,
}
"""How a file is read, by the end of its name: whether it has a checksum; whatever it raises is damage."""


def verify_cache(
    remove: Annotated[
        bool, typer.Option("--remove", help="delete what is damaged: runs make it again, but for imported experts")
    ] = False,
) -> None:
    """Look for damaged files in the cache: each is named, and the exit code is 1 if there are any."""
    found, began = Verified(), time.monotonic()
    for folder in (experts_root(), evaluations_root(), cache_root() / "native", cache_root() / "calibration"):
        for path in sorted(folder.rglob("*")):
            found.look(path, os.path.relpath(path, cache_root()))
    for fault in found.faults:
        print_text(escaped(f"{fault.where}: {fault.what}"))
    for path in found.damaged if remove else ():
        path.unlink(missing_ok=True)
    print_note(found.summary(time.monotonic() - began) + (", deleted" if remove and found.damaged else ""))
    if found.faults and not remove:
        raise typer.Exit(FAILED)


def verify_run(run: RunName, runs_dir: RunsDir) -> None:
    """Look for damage in a run's files: each fault is a line, and the exit code is 1 if there are any."""
    folder, found, began = find_run(run, runs_dir), Verified(), time.monotonic()
    if is_held(folder.lock):
        print_note("a worker is at work on this run: what it writes meanwhile may be told as damaged")
    for path in sorted(folder.root.rglob("*")):
        found.look(path, os.path.relpath(path, folder.root))
    found.faults += [*_faults_of_form(folder), *_faults_of_events(folder), *_faults_of_images(folder)]
    for fault in found.faults:
        print_text(escaped(f"{fault.where}: {fault.what}" if fault.where else fault.what))
    print_note(found.summary(time.monotonic() - began))
    if found.faults:
        raise typer.Exit(FAILED)


def _faults_of_form(folder: RunFolder) -> Iterator[Fault]:
    """What is missing of a finished run, and what its files hold that makes no sense."""
    yield from read_settings(folder.config)[1]
    if not folder.metrics.exists():
        return
    if not folder.distilled.exists():
        yield Fault("it is missing, and the run has metrics", "result/distilled.safetensors")
    if metrics := readable_metrics(folder):
        yield from sound_metrics(metrics)[1]
    else:
        yield Fault("it holds no final figures", "result/metrics.json")
    if folder.confusion.exists() and read_confusion(folder.confusion) is None:
        yield Fault("it holds no confusion matrix", "result/confusion.json")
    yield from read_scores(folder)[1]


def _faults_of_events(folder: RunFolder) -> Iterator[Fault]:
    if not folder.events.exists():
        return
    with open_regular(folder.events) as file:
        odd = [
            number
            for number, line in enumerate(file, 1)
            if isinstance(decode(line.decode("utf-8", errors="replace")), Warned)
        ]
    if odd:
        yield Fault(f"{len(odd):,} lines are no events, the first is line {odd[0]}", "events.jsonl")


def _faults_of_images(folder: RunFolder) -> Iterator[Fault]:
    """Whether the classes of a folder of images are still those that the run began with (data.json)."""
    settings, began_with = read_settings(folder.config)[0], read_json(folder.data)
    if settings is None or settings.dataset.path is None or not isinstance(began_with, dict):
        return
    place = settings.dataset.path
    if settings.dataset.name != "folder":
        if not expanded(place).exists():
            yield Fault("the images are gone", place)
        return
    try:
        now = survey(settings.dataset)
    except InputError as error:
        yield from error.faults
        return
    names, tests = began_with.get("class_names"), began_with.get("test_counts")
    if names != list(now.names):
        yield Fault(
            f"its classes are {json.dumps(list(now.names))}, the run began with {json.dumps(names)}"[:500], place
        )
    elif now.test_counts and tests and tests != list(now.test_counts):
        yield Fault("it has other numbers of test images than the run began with", place)
