"""A full disk or memory is a failure that names the file, the setting and what to do, not a traceback."""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from engine import pipeline
from engine.__main__ import main
from engine.failures import WHAT_TO_LOWER, as_failure
from engine.run.folder import RunFolder, write_atomically
from engine.run.schema import leaves


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "nothing can be written: No space left", "make room, then"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "nothing can be written: Disk quota", "make room, then"),
        (OSError(errno.EIO, "Input/output error"), "the disk failed: Input/output error", "check the disk"),
        (MemoryError(), "the memory is full", "a lower dataset.resolution"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), "the memory is full", "lower"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory is full", "end other programs"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open", "raise the limit"),
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU's memory is full", "use --device cpu"),
    ],
)
def test_what_the_system_refuses_is_a_failure_with_a_hint_and_no_traceback(
    error: Exception,
    says: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*_: object) -> None:
        raise error

    (tmp_path / "config.yaml").write_text("ipc: 1\n")
    monkeypatch.setattr(pipeline, "run", refused)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert main(["run", str(tmp_path), "--device", "cpu"]) == 1
    for number, handler in before.items():
        signal.signal(number, handler)
    told = capsys.readouterr().err
    assert says in (tmp_path / "events.jsonl").read_text() and says in told and hint in told and "Traceback" not in told


def _full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_that_of_the_file_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", _full_disk)
    for path, says in ((tmp_path / "cache" / "experts" / "0.safetensors", "LTDD_CACHE"), (tmp_path / "run" / "a", "")):
        with pytest.raises(OSError, match="No space") as full:
            write_atomically(path, b"1")
        failure = as_failure(full.value, RunFolder(tmp_path / "run"), "experts", "cpu")
        assert failure is not None and failure.faults[0].where == str(path)
        assert re.fullmatch(
            r"nothing can be written: No space left on device; 1 bytes were to be written, [\d,]+ are free on its file"
            r" system",
            failure.faults[0].what,
        )
        assert ("LTDD_CACHE" in failure.faults[0].hint) == bool(says)
        assert f"`ltdd-tui resume {tmp_path / 'run'}`" in failure.faults[0].hint, "it is not where runs lie by default"


@pytest.mark.parametrize(
    ("stage", "setting"), [("experts", "experts.batch_size"), ("distill", "matching.images_at_once")]
)
def test_full_memory_names_the_setting_of_its_stage(stage: str, setting: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**50)
    failure = as_failure(full.value, RunFolder(tmp_path), stage, "cpu")
    assert failure is not None and setting in failure.faults[0].hint
    assert all(key in leaves() for key in WHAT_TO_LOWER.values() if "," not in key)
    assert as_failure(RuntimeError("shapes differ"), RunFolder(tmp_path), stage, "cpu") is None
