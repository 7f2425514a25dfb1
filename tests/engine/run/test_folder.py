"""Locks and atomic files say what is wrong with a file system, and leave nothing half written."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from safetensors.torch import save

from engine.run.errors import InputError, RunFailed
from engine.run.event_log import EventLog
from engine.run.events import Checkpointed, RunStopped, Stamped, decode
from engine.run.folder import (
    RunFolder,
    cache_root,
    clear_temporaries,
    expanded,
    read_json,
    write_atomically,
    write_json,
)
from engine.run.locks import LockHeld, exclusive, is_held
from engine.run.presets import load_preset
from engine.run.regular_files import read_regular
from engine.run.validation import check_runnable


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_bad_input_and_nothing_is_taken_for_running(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(InputError, match="cannot lock files: No locks available") as refused,
        RunFolder(tmp_path).held(),
    ):
        pass
    assert not isinstance(refused.value, LockHeld) and "--runs-dir" in str(refused.value)
    assert not RunFolder(tmp_path).is_running()


def test_whoever_comes_second_is_told_what_the_first_one_does(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    second = exclusive(lock, "it is read", "wait")
    with exclusive(lock, ""), pytest.raises(LockHeld, match="it is read\nhint: wait"), second:
        pass


@pytest.fixture
def my_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name has a space, a percent sign and an e with an accent as macOS writes it (NFD)."""
    folder = tmp_path / "my images 5% e\u0301"
    (folder / "train").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


PASTED = [
    "{}",
    "'{}'",
    '"{}"',
    "  {}\n",
    "'{}' ",
    "{escaped}",
    "file://{url}",
    "file://localhost{url}",
    "{nfc}",
    "'{nfc}/'",
    "file://{nfc}",
    "~/my images 5% e\u0301",
    "'~/my images 5% \u00e9'",
    "~/my\\ images\\ 5%\\ \u00e9",
]


@pytest.mark.parametrize("pasted", PASTED)
def test_a_pasted_path_is_understood(pasted: str, my_images: Path) -> None:
    text = str(my_images)
    forms = {"escaped": text.replace(" ", "\\ "), "url": quote(text), "nfc": unicodedata.normalize("NFC", text)}
    written = pasted.format(text, **forms)
    assert expanded(written).absolute() == my_images
    settings = load_preset("quickstart", ["dataset.name=folder", f"dataset.path={written}"])
    assert check_runnable(settings) == []


def test_a_path_that_is_there_as_it_stands_is_taken_as_it_stands(tmp_path: Path) -> None:
    for name in ("'quoted'", "a\\ b", " blank ", "file:", "\u00e9", "e\u0301"):
        (tmp_path / name).mkdir()
        assert expanded(str(tmp_path / name)) == tmp_path / name
    assert expanded("it's") == Path("it's") and expanded("") == Path()


def test_two_writers_with_equal_process_ids_both_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, path = os.replace, tmp_path / "expert"

    def second_writer_comes_first(*paths: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        write_atomically(path, "of the second")
        assert path.read_text() == "of the second"
        replace(*paths)

    monkeypatch.setattr(os, "replace", second_writer_comes_first)
    write_atomically(path, "of the first")
    assert path.read_text() == "of the first" and list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "fifo", tmp_path / "socket", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"no file|No such device|Is a directory"):
            read_regular(path)
        assert read_json(path) is None
        assert not is_held(path)
    with pytest.raises(OSError, match="it is a FIFO, no file"):
        read_regular(tmp_path / "fifo")


def test_files_and_folders_are_made_with_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new" / "one", "text")
        EventLog(tmp_path / "new" / "events.jsonl").__exit__()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new", *(tmp_path / "new").iterdir())}
    assert modes == {"new": 0o750, "one": 0o640, "events.jsonl": 0o640}


def test_a_limit_on_bytes(tmp_path: Path) -> None:
    (tmp_path / "four").write_bytes(b"1234")
    assert read_regular(tmp_path / "four", 4) == read_regular(tmp_path / "four") == b"1234"
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_regular(tmp_path / "four", 3)


# ---- A run that is deleted or moved while its worker writes ----


def a_run(root: Path) -> RunFolder:
    write_atomically(RunFolder(root).config, "method: random\n")
    return RunFolder(root)


@pytest.mark.parametrize("when", ["before", "replaced by another run", "in a write", "in a write, made anew"])
def test_a_run_that_is_moved_is_not_made_anew(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, moved, replace = a_run(tmp_path / "runs" / "one"), tmp_path / "elsewhere", os.replace
    paths = [run.checkpoint / "sets" / "000001.safetensors", run.manifest, run.checkpoint / "checks.json"]

    def after_moving(source: Path, target: Path) -> None:
        run.root.rename(moved)
        if when == "in a write, made anew":
            target.parent.mkdir(parents=True)
            source = moved / source.relative_to(run.root)
        replace(source, target)

    with run.held(), EventLog(run.events) as log:
        write_atomically(paths[0], b"")
        if "in a write" in when:
            monkeypatch.setattr(os, "replace", after_moving)
        else:
            run.root.rename(moved)
        if when == "replaced by another run":
            run.root.mkdir()
        for path in paths:
            with pytest.raises(RunFailed, match="the run's folder was deleted or moved"):
                write_atomically(path, b"")
        with ThreadPoolExecutor(1) as other, pytest.raises(RunFailed, match="the run's folder was deleted or moved"):
            other.submit(write_atomically, paths[0], b"").result()
        with pytest.raises(RunFailed, match="the run's folder was deleted or moved"):
            log.emit(Checkpointed(1))
        log.emit(RunStopped("distill"))
    assert sorted((tmp_path / "runs").rglob("*")) == [run.root] * (when == "replaced by another run")
    assert '"type":"run_stopped"' in RunFolder(moved).events.read_text()


def test_what_was_written_while_a_run_was_being_deleted_goes_with_its_worker(tmp_path: Path) -> None:
    run = a_run(tmp_path / "one")
    with run.held(), EventLog(run.events):
        write_json(run.checkpoint / "checks.json", {})
        write_json(run.manifest, {})
        run.config.unlink()
        run.events.unlink()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="there is no such run"), run.held():
        pass
    assert list(tmp_path.iterdir()) == []


# ---- Event lines are written whole ----


def test_a_line_that_is_written_in_parts_is_completed_and_one_that_cannot_be_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write, room = tmp_path / "events.jsonl", os.write, 40

    def short_write(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, data[: min(7, room)])
        room -= written
        return written

    with EventLog(path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short_write)
            with pytest.raises(OSError, match="No space left") as full:
                log.emit(Checkpointed(1))
            assert full.value.filename == str(path) and path.read_bytes() == b""
            room = 10_000
            log.emit(Checkpointed(2))
        log.emit(Checkpointed(3))
    read = [decode(line) for line in path.read_text().splitlines()]
    assert [item.event for item in read if isinstance(item, Stamped)] == [Checkpointed(2), Checkpointed(3)]


def test_events_that_cannot_be_opened_fail_the_run_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFailed, match="cannot be opened: ") as failed:
        EventLog(tmp_path / "file" / "events.jsonl")
    assert failed.value.faults[0].where.endswith("events.jsonl") and failed.value.faults[0].hint


def test_a_result_of_another_form_is_damaged_also_without_a_checksum(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.result.mkdir()
    for content, damaged in (
        (save({"images": torch.ones(2)}), False),
        (b"{}", True),
        (b"", True),
        (b"[1, 2, 3]", True),
    ):
        folder.distilled.write_bytes(content)
        assert bool(folder.damaged_result()) == damaged, content


def test_what_writers_that_died_left_unfinished_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    left = tmp_path / "sets" / f".000001.safetensors.{dead.pid}-0123abcd.tmp"
    names = f".a.{os.getppid()}-0123abcd.tmp", ".b.tmp", f"c.{dead.pid}-0123abcd.tmp"
    others = [tmp_path / name for name in names]
    left.parent.mkdir()
    for path in (left, *others):
        path.touch()
    clear_temporaries(tmp_path, older_than_seconds=60)
    assert left.exists(), "on another machine its writer may be alive"
    clear_temporaries(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_a_run_is_called_by_its_name_where_runs_lie_by_default_else_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own, elsewhere = RunFolder(tmp_path / "runs" / "one"), RunFolder(tmp_path / "my runs" / "one")
    monkeypatch.delenv("LTDD_RUNS_DIR", raising=False)
    assert (own.cli_name, elsewhere.cli_name) == ("one", f"'{tmp_path}/my runs/one'")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LTDD_RUNS_DIR", "~/my runs")
    assert (own.cli_name, elsewhere.cli_name) == (f"{tmp_path}/runs/one", "one")
    monkeypatch.setenv("LTDD_CACHE", "~/my cache")
    assert cache_root() == tmp_path / "my cache"
