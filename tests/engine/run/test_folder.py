"""Locks and atomic files say what is wrong with a file system, and leave nothing half written."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest

from engine.run.errors import InputError
from engine.run.event_log import EventLog
from engine.run.folder import (
    LockHeld,
    RunFolder,
    exclusive,
    expanded,
    is_held,
    read_json,
    read_regular,
    write_atomically,
)
from engine.run.presets import load_preset
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
