"""Names of runs, and a worker that is started where it should be and nowhere else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.folder import STARTING_SECONDS, RunFolder, write_atomically
from ltdd_tui.runs import manage, worker
from ltdd_tui.runs.console import printed
from ltdd_tui.runs.feed import events_size
from ltdd_tui.runs.live import replayed
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.runs.worker import WorkerHandle


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "..", ".", "/abs", "last", "-x", ".hidden", "a\nb", "a\\b", "x" * 101]
)
def test_a_name_that_is_a_path_or_nothing_is_refused_before_anything_is_made(runs_dir: Path, name: str) -> None:
    with pytest.raises(InputError) as refusal:
        manage.create(name, runs_dir, "")
    assert refusal.value.exit_code == 2
    assert not runs_dir.exists()


@pytest.mark.parametrize("name", ["quickstart", "moles natural", "cifar10-ipc10.v2", "\u00e9tude"])
def test_plain_names_are_taken(runs_dir: Path, name: str) -> None:
    assert manage.create(name, runs_dir, "ipc: 2\n").config.read_text() == "ipc: 2\n"


def test_a_taken_name_is_refused_and_left_as_it_is(runs_dir: Path) -> None:
    manage.create("one", runs_dir, "ipc: 2\n")
    with pytest.raises(InputError, match="already"):
        manage.create("one", runs_dir, "ipc: 9\n")
    assert RunFolder(runs_dir / "one").config.read_text() == "ipc: 2\n"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        manage.create("one", tmp_path / "file" / "below", "")


def test_free_names_count_on(runs_dir: Path) -> None:
    names = []
    for _ in range(3):
        names.append(manage.free_name("cell", runs_dir))
        manage.create(names[-1], runs_dir, "")
    assert names == ["cell", "cell-2", "cell-3"]


def test_an_old_stop_request_does_not_stop_a_new_worker(runs_dir: Path, command: Callable) -> None:
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    worker.request_stop(folder)
    assert command("resume", "one").code == 0


def test_a_folder_that_is_held_gets_no_second_worker(runs_dir: Path) -> None:
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    with folder.held(), pytest.raises(InputError, match="at work"):
        worker.start(folder, "cpu")
    assert not folder.is_running()


def test_the_console_of_a_worker_is_kept(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"mute": true}')
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    assert worker.start(folder, "cpu").process.wait(30) == 3
    assert printed(folder.console) == ("Segmentation fault of sorts",)


def test_what_an_earlier_worker_printed_is_not_the_last_ones_word(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"mute": true}')
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    folder.console.write_text("error: one: stopped on request\n")
    assert worker.start(folder, "cpu").process.wait(30) == 3
    assert printed(folder.console) == ("Segmentation fault of sorts",)
    (earlier,) = folder.older_consoles()
    assert "stopped on request" in earlier.read_text()
    assert worker.start(folder, "cpu").process.wait(30) == 3
    assert [path.name for path in folder.older_consoles()] == ["console-2.log", "console-1.log"]


def test_a_file_in_place_of_the_folder_of_runs_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a file"):
        manage.create("one", tmp_path / "file", "")


def test_a_run_whose_settings_cannot_be_written_does_not_keep_its_name(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manage, "write_atomically", full)
    with pytest.raises(InputError, match="No space left"):
        manage.create("one", runs_dir, "")
    assert list(runs_dir.iterdir()) == []


def test_asking_whether_a_run_is_at_work_writes_nothing(runs_dir: Path) -> None:
    folder = manage.create("one", runs_dir, "")
    assert not folder.is_running() and not folder.lock.exists()
    with folder.held():
        assert folder.is_running()


def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_two_workers_that_start_at_the_same_moment_print_to_a_file_each(runs_dir: Path) -> None:
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    with folder.open_console() as first, folder.open_console() as second:
        first.write(b"one\n")
        second.write(b"two\n")
    assert printed(folder.console) == ("two",)
    assert [printed(console) for console in folder.older_consoles()] == [("one",)]


def test_a_console_that_an_older_version_appended_to_shows_the_latest_worker_only(runs_dir: Path) -> None:
    folder = RunFolder(runs_dir / "old")
    folder.root.mkdir(parents=True)
    start = "--- a worker starts ---"
    folder.console.write_text(f"{start}\nerror: the first broke\n{start}\nthe second speaks\n")
    assert printed(folder.console) == ("the second speaks",)
    folder.console.write_text(f"error: the first broke\n{start}\n")
    assert printed(folder.console) == ()


def test_a_worker_that_does_not_stop_can_be_ended_at_once(
    runs_dir: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = manage.create("one", runs_dir, "method: ltdd\n")
    monkeypatch.setenv("FAKE_WORKER", '{"pause": 0.02, "iterations": 400, "deaf": true}')
    process = worker.start(folder, "cpu").process
    while events_size(folder) < 3000:
        assert process.poll() is None
        time.sleep(0.02)
    assert command("stop", "one").code == 0 and process.poll() is None
    done = command("stop", "one", "--now")
    assert done.code == 0 and "one is stopped" in done.err and process.wait(5) == -signal.SIGKILL
    state = replayed(folder)
    assert state.status == "stopped" and state.checkpoint >= 10 and not folder.stop_request.exists()


@pytest.mark.parametrize(
    "holder",
    ["elsewhere 1", f"{os.uname().nodename} {os.getpid()}", "", "odd"],
    ids=["elsewhere", "here", "empty", "odd"],
)
def test_a_process_that_is_not_the_runs_worker_is_never_ended(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, holder: str
) -> None:
    folder = manage.create("one", runs_dir, "method: ltdd\n")
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("something was ended"))
    with folder.held():
        folder.lock.write_text(holder)
        with pytest.raises(InputError, match="its worker"):
            worker.stop_now(folder)


def test_a_worker_that_has_just_ended_is_no_other_process(runs_dir: Path) -> None:
    folder = manage.create("one", runs_dir, "method: ltdd\n")
    with folder.held():
        pass
    with pytest.raises(InputError, match="no worker is at work on this run any more"):
        worker.stop_now(folder)


@pytest.mark.parametrize("linux", [True, False])
def test_a_worker_is_that_of_the_run_whose_whole_path_it_was_given(
    linux: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["python", "-m", "engine", "run", str(tmp_path / "ab"), "--device", "cpu"]

    def read(path: Path) -> bytes:
        if not linux:
            raise FileNotFoundError
        return b"".join(os.fsencode(word) + b"\0" for word in words)

    answer = subprocess.CompletedProcess([], 0, os.fsencode(" ".join(words)) + b"\n")
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpgid", lambda pid: pid)
        patched.setattr(Path, "read_bytes", read)
        patched.setattr(subprocess, "run", lambda *_, **__: answer)
        found = [worker._is_worker_of(RunFolder(tmp_path / name), 7) for name in ("ab", "a", "b")]
    assert found == [True, False, False]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_of_the_file_server_that_is_off_says_starting_no_longer_than_usual(
    hours: int, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = manage.create("one", runs_dir, "ipc: 2\n")
    os.utime(folder.config, (time.time() + 3600 * hours,) * 2)
    handle, first_look = WorkerHandle(folder, "cpu"), time.monotonic()
    monkeypatch.setattr(worker.time, "monotonic", lambda: first_look + STARTING_SECONDS + 1)
    assert not handle.is_starting(RunView(folder, RunState(), None, [], gone=False, version=0))
