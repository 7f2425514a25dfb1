"""What the system refuses a worker, a full disk or memory, as failures that say which setting or folder mends them."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from pathlib import Path

import torch

from engine.run.errors import RunFailed
from engine.run.folder import FULL_DISK, RunFolder, cache_root

# How the C++ half of torch says it; on a CPU it has no error of its own for it.
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory|bad_alloc")
WHAT_TO_LOWER = {
    "experts": "experts.batch_size",
    "classifier_experts": "classifier_experts.batch_size",
    "teacher": "teacher.batch_size",
    "validation": "evaluate.batch_size",
    "baselines": "evaluate.batch_size",
    "distill": "matching.images_at_once, then matching.batch_syn",
    "evaluate": "evaluate.batch_size",
    "bounds": "teacher.batch_size",
}
"""The setting that a stage's memory grows with most; of the other stages it is the size of the images."""


def as_failure(error: BaseException, folder: RunFolder, stage: str, device: torch.device | str) -> RunFailed | None:
    """The error as a RunFailed with a hint, or None where the system is not to blame.

    stage: the one that was under way, or "".
    """
    if isinstance(error, torch.OutOfMemoryError):
        return _memory_full("the GPU's memory is full", stage, f"{device}", "use --device cpu, ")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | OSError) and NO_MEMORY.search(str(error))):
        return _memory_full("the memory is full", stage, "cpu", "")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "end other programs, or raise the limit (`ulimit -n 4096`), and resume"
        return RunFailed("too many files are open", f"stage {stage}" if stage else "", hint)
    if isinstance(error, OSError):
        return _disk_failure(error, folder)
    return None


def _memory_full(what: str, stage: str, device: str, instead: str) -> RunFailed:
    lower = WHAT_TO_LOWER.get(stage, "dataset.resolution")
    hint = f"end other programs and resume, {instead}or start a new run with a lower {lower}"
    return RunFailed(what, f"{device}, stage {stage}" if stage else device, hint)


def _disk_failure(error: OSError, folder: RunFolder) -> RunFailed | None:
    """A full disk, one that fails, or a cache that cannot be used; None for any other error of a file."""
    place, cache = Path(str(error.filename or folder.root)), cache_root()
    in_cache = error.filename is not None and (place.is_relative_to(cache) or cache.is_relative_to(place))
    goes_on = f"`ltdd-tui resume {folder.cli_name}` goes on from the last checkpoint"
    if folder.metrics.exists():  # it was being evaluated
        goes_on = "the same command goes on with what is left"
    if error.errno in FULL_DISK:
        another = "or name another cache folder with LTDD_CACHE, " if in_cache else ""
        hint = f"make room, {another}then {goes_on}"
        return RunFailed(f"nothing can be written: {error.strerror}{_free(place)}", str(place), hint)
    if error.errno == errno.EIO:
        hint = f"check the disk, or the network drive, then {goes_on}"
        return RunFailed(f"the disk failed: {error.strerror}", str(place), hint)
    if in_cache and place.is_absolute():
        hint = "LTDD_CACHE names the folder where experts are kept; choose one that can be written"
        return RunFailed(f"the cache cannot be used: {error.strerror}", str(place), hint)
    return None


def _free(place: Path) -> str:
    """How much is free on the file system of a file; of a quota nobody tells."""
    with contextlib.suppress(OSError, StopIteration):
        folder = next(folder for folder in place.parents if folder.exists())
        return f", {shutil.disk_usage(folder).free:,} are free on its file system"
    return ""
