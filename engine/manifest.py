"""manifest.json: the settings, code, versions and device that a run was made with."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from engine.context import Context
from engine.run.compile_policy import cpp_compiler
from engine.run.device_profiles import processor
from engine.run.errors import InputError, listed
from engine.run.events import Warned
from engine.run.folder import RunFolder
from engine.run.manifest import SCHEMA, Origin, Worker, change_manifest, read_manifest
from engine.run.metrics import Estimated
from engine.run.settings import RunSettings, settings_hash

_CODE = Path(__file__).parents[1]


def write_manifest(
    folder: RunFolder,
    settings: RunSettings,
    device: torch.device,
    estimate: Callable[[], dict[str, Any] | None] = lambda: None,
    imported_sources: dict[str, Any] | None = None,
) -> None:
    """Writes manifest.json for the worker that begins now.

    `created`, `forms`, `workers` and `estimate` stay those of the workers before: an estimate made after an
    interruption would leave out what is already done, and could not be compared with the whole run. So `estimate` is
    called for the first worker only. `imported_sources`: what the run takes that it did not make
    (`engine.importing.imported_sets`).
    """
    now = _now()
    before = read_manifest(folder)
    if "estimate" not in before.model_fields_set:
        promised = estimate()
        change_manifest(folder, estimate=promised and Estimated.model_validate(promised))
    change_manifest(
        folder,
        schema_version=SCHEMA,
        created=before.created or now,
        updated=now,
        settings_hash=settings_hash(settings),
        seed=settings.seed,
        commit=commit(),
        versions=versions(),
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        # Added to while the run goes on, where it is decided what is compiled (engine/compilation.py).
        forms=before.forms,
        platform=platform.platform(),
        argv=sys.argv,
        made_elsewhere=imported_sources or {},
        workers=before.made_by if folder.checkpoint.exists() else [],
    )


def note(folder: RunFolder, **changes: Any) -> None:
    """Changes a part of manifest.json, where the run has one: what is only a part of a run has none."""
    if folder.manifest.exists():
        change_manifest(folder, **changes)


def estimated_seconds(folder: RunFolder) -> dict[str, float]:
    """Seconds that each stage was estimated to take before the run began; empty without an estimate.

    Checks are counted to the stage during which they are made, and not to `evaluate`.
    """
    estimate = read_manifest(folder).estimate or Estimated()
    seconds, checks = dict(estimate.stage_seconds), estimate.check_seconds
    if checks and {"distill", "evaluate"} <= seconds.keys():
        seconds["distill"] += checks
        seconds["evaluate"] -= checks
    return seconds


def versions() -> dict[str, str]:
    """The versions of the tool itself, Python, torch and torchvision."""
    # torch.__version__, unlike its package's version, also names the build, such as +cpu or +cu132.
    return {
        "ltdd-tui": _version("ltdd-tui"),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "python": platform.python_version(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the widest vectors that torch uses: `Intel(R) Xeon(R), AVX512`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str | None:
    """The commit of the checkout that runs, with -dirty where files differ from it; None outside of a checkout."""
    # An installed package may lie inside another repository: only our own has .git right beside the package.
    if not (_CODE / ".git").exists():
        return None
    command = ["git", "-C", str(_CODE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


# ---- Origins ----


def origin_here(device: torch.device, compiled: bool = True) -> Origin:
    """The origin of what this process computes on a device; `compiled`: whether a C++ compiler has a part in it."""
    compiler = _compiler_version() if compiled else ""
    return Origin(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        versions=versions(),
        compiler=compiler,
    )


@functools.cache
def _compiler_version() -> str:
    if (compiler := cpp_compiler()) is None:
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([compiler, "--version"], capture_output=True, timeout=10, check=True).stdout
        return said.decode(errors="replace").partition("\n")[0].strip()
    return compiler


def record_worker(context: Context) -> None:
    """Adds this worker to those that made the run: from here on it writes into the run folder."""
    here, manifest = origin_here(context.device), read_manifest(context.folder)
    # A finished run of an older version, which is evaluated, names its last worker alone.
    workers = manifest.made_by if context.folder.metrics.exists() else manifest.workers
    own = Worker(**vars(here), began=_now(), host=os.uname().nodename, commit=commit())
    note(context.folder, workers=[*workers, own])


def check_workers(context: Context) -> None:
    """Emits Warned where a part of the run was made by a worker of another origin; raises InputError as `_tell`."""
    manifest, here = read_manifest(context.folder), origin_here(context.device)
    if not {*manifest.forms.values()} - {"eager"}:
        here = here.model_copy(update={"compiler": None})  # it had no part in the run
    others = [differences for worker in manifest.made_by if (differences := worker.differences(here))]
    if others:
        _tell(context, f"an earlier worker of this run was of another origin: {listed(others[-1])}")


def check_cached(context: Context, what: str, origins: Sequence[Origin | None], here: Origin) -> None:
    """Emits Warned, once for all, where cached `what` are of other origins; raises InputError as `_tell`.

    origins: None where an older version has not written it.
    """
    others = [own.differences(here) if own else ["not known"] for own in origins]
    others = [differences for differences in others if differences]
    if not others:
        return
    how = f"{len(others)} of {len(origins)} are of another origin: "
    how += listed([*dict.fromkeys(map(listed, others))], 3, "; or ")
    _tell(context, f"{what} from the cache: {how}")
    note(context.folder, other_origins=read_manifest(context.folder).other_origins | {what: how})


def _tell(context: Context, what: str) -> None:
    """Emits Warned of another origin; raises InputError where the run promises the same bytes."""
    if read_manifest(context.folder).same_bytes:
        allow = f"`ltdd-tui resume {context.folder.cli_name} --any-origin` allows it"
        hint = f"go on where the run began; or {allow}; LTDD_CACHE=NEW_FOLDER trains all experts here"
        raise InputError(f"--same-bytes: {what}", str(context.folder.root), hint)
    context.emit(Warned(what, "another origin rounds otherwise, and may end in other bytes; --same-bytes refuses it"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
