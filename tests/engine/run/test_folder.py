"""Locks and atomic files say what is wrong with a file system, and leave nothing half written."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.folder import LockHeld, RunFolder, exclusive


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
