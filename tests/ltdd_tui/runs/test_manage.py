"""Renaming and deleting runs: all of it or nothing, and never under a worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.folder import RunFolder, size_of
from ltdd_tui.runs import manage

HOLD = """
import sys
from engine.run.folder import RunFolder, size_of
with RunFolder(sys.argv[1]).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = manage.create("one", tmp_path / "runs", "ipc: 2\n")
    (folder.previews / "deep").mkdir(parents=True)
    (folder.previews / "deep" / "image.png").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def at_work(folder: RunFolder) -> Iterator[None]:
    """Another process holds the run, as its worker does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield
    process.communicate()


def test_the_size_is_that_of_all_files(folder: RunFolder) -> None:
    assert size_of(folder.root) == 1000 + len("ipc: 2\n")
    assert size_of(folder.root / "nowhere") == 0


def test_a_deleted_run_leaves_nothing(folder: RunFolder) -> None:
    manage.delete(folder)
    assert list(folder.root.parent.iterdir()) == []


@pytest.mark.usefixtures("at_work")
def test_a_run_at_work_is_neither_deleted_nor_renamed(folder: RunFolder) -> None:
    for ask in (lambda: manage.delete(folder), lambda: manage.rename(folder, "two")):
        with pytest.raises(InputError, match="at work"):
            ask()
    assert [path.name for path in folder.root.parent.iterdir()] == ["one"]
    assert folder.config.exists() and (folder.previews / "deep" / "image.png").exists()


def test_no_worker_starts_while_a_run_is_being_deleted(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = []

    def meanwhile(path: Path) -> None:
        # The name is free again, and the lock of what is being deleted is held.
        with pytest.raises(InputError) as refusal, RunFolder(path).held():
            pass
        refusals.append(refusal.value)
        assert not folder.root.exists()

    monkeypatch.setattr(manage.shutil, "rmtree", meanwhile)
    manage.delete(folder)
    assert len(refusals) == 1


def test_what_cannot_be_deleted_is_told_and_is_no_run_any_more(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "previews"))

    monkeypatch.setattr(manage.shutil, "rmtree", refuse)
    with pytest.raises(InputError, match="not everything could be deleted: Permission denied"):
        manage.delete(folder)
    assert not any(RunFolder(path).exists() for path in folder.root.parent.iterdir())


def test_another_run_that_took_the_place_meanwhile_is_left_alone(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RunFolder.is_running

    def swapped(self: RunFolder) -> bool:
        folder.root.rename(folder.root.with_name("away"))
        manage.create("one", folder.root.parent, "ipc: 50\n")
        return asked(self)

    monkeypatch.setattr(RunFolder, "is_running", swapped)
    with pytest.raises(InputError, match="gone"):
        manage.delete(folder)
    assert folder.config.read_text() == "ipc: 50\n"


def test_a_link_is_not_followed(folder: RunFolder) -> None:
    link = folder.root.with_name("link")
    link.symlink_to(folder.root)
    with pytest.raises(InputError, match="link"):
        manage.delete(RunFolder(link))
    assert folder.config.exists() and link.is_symlink()


def test_a_renamed_run_is_the_same_run(folder: RunFolder) -> None:
    renamed = manage.rename(folder, "two words")
    assert renamed.name == "two words" and renamed.config.read_text() == "ipc: 2\n"
    assert not folder.root.exists() and not renamed.is_running()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "last"])
def test_an_unfit_name_is_refused(folder: RunFolder, name: str) -> None:
    with pytest.raises(InputError):
        manage.rename(folder, name)
    assert folder.config.exists()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("")])
def test_a_name_that_is_taken_is_refused_also_by_an_empty_folder(folder: RunFolder, make) -> None:
    taken = folder.root.with_name("two")
    make(taken)
    with pytest.raises(InputError, match="already"):
        manage.rename(folder, "two")
    assert folder.config.exists() and taken.exists()


def test_a_run_that_is_gone_is_said_and_not_made_anew(folder: RunFolder) -> None:
    manage.delete(folder)
    for ask in (lambda: manage.delete(folder), lambda: manage.rename(folder, "two")):
        with pytest.raises(InputError, match="gone"):
            ask()
    assert list(folder.root.parent.iterdir()) == []
