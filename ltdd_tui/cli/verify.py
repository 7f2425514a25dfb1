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
from typing import Annotated, Any

import typer
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from engine.run.checksums import DamagedFile, is_sealed, unsealed_json
from engine.run.compile_policy import digest_path
from engine.run.errors import FAILED, Fault, InputError, escaped, listed
from engine.run.event_log import told_since_start
from engine.run.events import Evaluated, RunStarted, Stamped, Warned, decode
from engine.run.expert_cache import experts_root
from engine.run.folder import (
    JSON_OBJECT,
    LARGEST_JSON_BYTES,
    RunFolder,
    cache_root,
    evaluations_root,
    expanded,
    read_typed,
    verify_file,
)
from engine.run.image_folder import survey
from engine.run.image_headers import opened_image
from engine.run.locks import is_held
from engine.run.manifest import DataRecord, Manifest, read_manifest
from engine.run.metrics import CHECKS, SECONDS_OF_EACH, readable_metrics, sound_metrics
from engine.run.recipes import network_results
from engine.run.regular_files import open_regular, read_regular
from engine.run.scores import read_scores
from ltdd_tui.cli.options import RunName, RunsDir
from ltdd_tui.cli.output import print_note, print_text
from ltdd_tui.formatting import size
from ltdd_tui.runs.confusion import read_confusion
from ltdd_tui.runs.find import find_run, find_sweep_folder, run_folders
from ltdd_tui.runs.live import read_settings


@dataclass
class Verified:
    """What a look through files has found; `without`: files of older versions, which have no checksum."""

    files: int = 0
    bytes: int = 0
    without: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    def look(self, path: Path, where: str) -> None:
        """Reads one file, and notes what is wrong with it; files of unknown kinds are left out."""
        if not (path.is_file() or path.is_dir()):
            self.faults.append(Fault("it is no file", where))
        if (check := READS.get(path.suffix)) is None or not path.is_file():
            return
        self.files, self.bytes = self.files + 1, self.bytes + path.stat().st_size
        try:
            if not check(path):
                self.without.append(path)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            self.faults.append(Fault(f"damaged: {_said(error)}", where))
            self.damaged.append(path)

    def summary(self, seconds: float) -> str:
        """What was looked at, in a sentence."""
        older = f", {len(self.without):,} without a checksum" if self.without else ""
        found = f"{len(self.faults):,} fault{'s' * (len(self.faults) != 1)}"
        return f"{self.files:,} files, {size(self.bytes)}, in {seconds:.1f} s{older}: {found}"


def _said(error: Exception) -> str:
    """What an error says, in a line."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        said = problem["msg"].removeprefix("Value error, ")
        return ": ".join(filter(None, [".".join(map(str, problem["loc"])), said[0].lower() + said[1:]]))
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def _check_safetensors(path: Path) -> bool:
    from safetensors import safe_open

    sealed = verify_file(path)
    with safe_open(path, framework="numpy"):  # reads the header, and compares it with the file's size
        return sealed


def _check_json(path: Path) -> bool:
    content = read_regular(path, LARGEST_JSON_BYTES)
    value = unsealed_json(content)
    if kind := next((kind for pattern, kind in KINDS.items() if path.match(pattern)), None):
        kind.validate_python(value, strict=True)
    return is_sealed(content)


def _networks(found: Any) -> Any:
    if not network_results(found):
        raise ValueError("it holds no trained networks")
    return found


KINDS: dict[str, TypeAdapter[Any]] = {
    "manifest.json": TypeAdapter(Manifest),
    "data.json": TypeAdapter(DataRecord),
    "notes.json": JSON_OBJECT,
    "checkpoint/checks.json": CHECKS,
    "checkpoint/*seconds.json": SECONDS_OF_EACH,
    "evaluations/*.json": TypeAdapter(Annotated[Any, AfterValidator(_networks)]),
    "previews/*.json": TypeAdapter(list[list[float]]),
    "experts/*/about.json": TypeAdapter(Annotated[dict[str, Any], Field(min_length=1)]),
}
"""What a JSON file of a run or of the cache holds, by the end of its path: the first that fits.

What a result holds is looked at by `_faults_of_form`.
"""


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


READS: dict[str, Callable[[Path], bool]] = {
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
    """Look for damage in the files of a run, or of a sweep's: each fault is a line, and with any the exit code is 1."""
    sweep, began, faults = find_sweep_folder(run, runs_dir), time.monotonic(), 0
    for folder in run_folders(sweep.root) if sweep else [find_run(run, runs_dir)]:
        found = _verified(folder)
        for fault in found.faults:
            place = os.path.join(folder.name * bool(sweep), fault.where)
            print_text(escaped(f"{place}: {fault.what}" if place else fault.what))
        print_note(f"{folder.name}: " * bool(sweep) + found.summary(time.monotonic() - began))
        faults += len(found.faults)
    if faults:
        raise typer.Exit(FAILED)


def _verified(folder: RunFolder) -> Verified:
    found = Verified()
    if is_held(folder.lock):
        print_note("a worker is at work on this run: what it writes meanwhile may be told as damaged")
    for path in sorted(folder.root.rglob("*")):
        found.look(path, os.path.relpath(path, folder.root))
    faults = [*_faults_of_form(folder), *_faults_of_events(folder), *_faults_of_images(folder)]
    # Of a damaged file it need not be said again that it holds nothing.
    found.faults += [fault for fault in faults if folder.root / fault.where not in found.damaged]
    if _began_with_checksums(folder):
        # A person may write the notes, a set that a run starts from was made elsewhere, and previews are only shown.
        never = (folder.notes, folder.start_set)
        bare = [path for path in found.without if path not in never and path.parent != folder.previews]
        names, told = [os.path.relpath(path, folder.root) for path in bare], {fault.where for fault in found.faults}
        found.faults += [Fault("it has no checksum any more", name) for name in names if name not in told]
    return found


def _began_with_checksums(folder: RunFolder) -> bool:
    """Whether the run began with a version whose files all have checksums: one that it resumed later has older ones."""
    with contextlib.suppress(OSError), open_regular(folder.events) as file:
        return b',"crc32":"' in file.readline(LARGEST_JSON_BYTES)
    return False


def _faults_of_form(folder: RunFolder) -> Iterator[Fault]:
    """What is missing of a run that has begun or is finished, and what its files hold that makes no sense."""
    yield from read_settings(folder.config)[1]
    manifest = read_manifest(folder)
    if _has_begun(folder) and not manifest.settings_hash:
        yield Fault("it names no settings, and the run has begun", folder.manifest.name)
    if manifest.workers and not folder.data.exists():  # older versions wrote neither
        yield Fault("it is missing, and the run has begun", folder.data.name)
    if not folder.metrics.exists():
        return
    if not folder.distilled.is_file():
        yield Fault("it is missing, and the run has metrics", "result/distilled.safetensors")
    if metrics := readable_metrics(folder):
        yield from sound_metrics(metrics)[1]
    else:
        yield Fault("it holds no final figures", "result/metrics.json")
    if folder.confusion.exists() and read_confusion(folder.confusion) is None:
        yield Fault("it holds no confusion matrix", "result/confusion.json")
    yield from read_scores(folder)[1]


def _has_begun(folder: RunFolder) -> bool:
    """Whether a worker has made something: before that it has noted who it is, and told that the run begins."""
    return any(path.exists() for path in (folder.checkpoint, folder.distilled, folder.metrics))


def _faults_of_events(folder: RunFolder) -> Iterator[Fault]:
    odd, begins = list[int](), False
    with contextlib.suppress(FileNotFoundError), open_regular(folder.events) as file:
        for number, line in enumerate(file, 1):
            item = decode(line.decode("utf-8", errors="replace"))
            if isinstance(item, Warned):
                odd.append(number)
            begins = begins or (isinstance(item, Stamped) and isinstance(item.event, RunStarted))
    if odd:
        yield Fault(f"{len(odd):,} lines are no events, the first is line {odd[0]}", folder.events.name)
    if not begins and _has_begun(folder):
        yield Fault("no event tells that the run began, and it has begun", folder.events.name)
    checked = [event.iteration for event in told_since_start(folder.events, Evaluated) if event.subject == "check"]
    known = read_typed(folder.checkpoint / "checks.json", CHECKS) or {}
    # The latest is told a moment before it is noted there: a worker may have been killed in between.
    lost = [str(at) for at in checked[:-1] if at is not None and str(at) not in known]
    if lost and folder.checkpoint.exists():
        yield Fault(f"it lacks the checks of iterations {listed(lost)}, which events tell", "checkpoint/checks.json")


def _faults_of_images(folder: RunFolder) -> Iterator[Fault]:
    """Whether the classes of a folder of images are still those that the run began with (data.json)."""
    settings, began_with = read_settings(folder.config)[0], read_typed(folder.data, DataRecord)
    if settings is None or settings.dataset.path is None or began_with is None:
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
    names, tests = began_with.class_names, began_with.test_counts
    if names != list(now.names):
        yield Fault(
            f"its classes are {json.dumps(list(now.names))}, the run began with {json.dumps(names)}"[:500], place
        )
    elif now.test_counts and tests and tests != list(now.test_counts):
        yield Fault("it has other numbers of test images than the run began with", place)
