"""What a node does with what it received and what it has: the further one of two run folders, the longer expert."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save

from engine.cluster import tasks
from engine.cluster.tasks import CellTask, Outcome, Place, has_file, packed, unpack, write_files
from engine.run.folder import RunFolder, cache_root, write_atomically
from engine.sweep.grid import Cell
from tests.engine.tiny_run import tiny_settings


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CellTask:
    """A cell on a node whose files are its own, with a Ray that returns what it is given."""
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    fake = ModuleType("ray")
    vars(fake).update(get=lambda value: value)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(tasks, "node_address", lambda: "10.0.0.2")
    monkeypatch.setattr("engine.sweep_worker.forget_cell", lambda: None)
    return CellTask(
        Place("/runs/digits", "/cache", False, "key", "mark"), Cell("a", {}, tiny_settings("random")), "cpu"
    )


class Board:
    """As the actor, called at once."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.keep = SimpleNamespace(remote=self.outcomes.__setitem__)
        self.kept = SimpleNamespace(remote=self.outcomes.get)
        self.begun = SimpleNamespace(remote=lambda *_: None)


def folder_with(root: Path, events: int, name: str) -> RunFolder:
    run = RunFolder(root)
    write_atomically(run.config, f"{name}\n")
    write_atomically(run.events, "{}\n" * events)
    return run


@pytest.mark.parametrize(
    ("here", "sent", "goes_on_from"),
    [(None, 2, "sent"), (1, 2, "sent"), (2, 2, "here"), (3, 2, "here"), (1, None, "here")],
)
def test_a_cell_goes_on_from_what_is_further(
    task: CellTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: int | None,
    sent: int | None,
    goes_on_from: str,
) -> None:
    seen = list[str]()
    monkeypatch.setattr(
        "engine.sweep_worker.do_cell", lambda folder, cell, *_: seen.append(folder.run(cell).config.read_text())
    )
    if here is not None:
        folder_with(task.place.on_this_node().root / "a", here, "here")
    begun = None if sent is None else packed(folder_with(tmp_path / "driver" / "a", sent, "sent"))
    outcome = tasks.run_cell(replace(task, begun=begun), Board())
    assert seen == [f"{goes_on_from}\n"] and outcome.folder is not None
    assert not task.place.on_this_node().run(task.cell).root.exists(), "nothing is left to be taken for newer later"


def test_other_ranks_leave_the_run_folder_to_rank_0(
    task: CellTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def joined() -> Iterator[None]:
        yield

    monkeypatch.setattr("engine.distributed.joined", joined)
    monkeypatch.setattr("engine.parallel.assist", lambda *_: None)
    files = {"experts/key/about.json": b"{}"}
    parts = [({name: len(content) for name, content in files.items()}, files)]
    begun = packed(folder_with(tmp_path / "driver" / "a", 1, "sent"))
    tasks.assist(replace(task, begun=begun, parts=parts))
    assert has_file("experts/key/about.json", 2) and not task.place.on_this_node().root.exists()


def test_after_an_unknown_error_the_process_ends_and_the_next_one_returns_the_outcome(
    task: CellTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def do_cell(folder: Any, cell: Cell, *_: object) -> None:
        write_atomically(folder.run(cell).config, "begun")
        raise RuntimeError("boom")

    def end(_code: int) -> None:
        raise Ended

    monkeypatch.setattr("engine.sweep_worker.do_cell", do_cell)
    monkeypatch.setattr(os, "_exit", end)
    board = Board()
    with pytest.raises(Ended):
        tasks.run_cell(task, board)
    monkeypatch.setattr("engine.sweep_worker.do_cell", lambda *_: pytest.fail("the cell is not done twice"))
    outcome = tasks.run_cell(task, board)
    assert outcome.note == "RuntimeError: boom" and outcome.folder is not None
    of_a_gang = replace(task, cell=replace(task.cell, name="b"))
    monkeypatch.setattr("engine.sweep_worker.do_cell", do_cell)
    monkeypatch.setattr(tasks, "_interface_of", lambda _: "lo")
    assert tasks.run_cell(replace(of_a_gang, environment={"RANK": "0"}), board).note == "RuntimeError: boom"


def expert_of(epochs: int) -> bytes:
    return save({"weights": torch.full((epochs + 2, 3), float(epochs))})


@pytest.mark.parametrize(
    ("there", "stays"),
    [
        (None, False),
        (expert_of(3), True),
        (expert_of(2), False),
        (expert_of(4), True),
        (expert_of(4)[:-1], False),
        (b"\0" * 1000, False),
    ],
)
def test_an_expert_stays_where_it_is_whole_and_has_the_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes | None, stays: bool
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    name = "experts/key/0000.safetensors"
    if there is not None:
        write_atomically(cache_root() / name, there)
    assert has_file(name, len(expert_of(3))) == stays
    write_files({name: expert_of(3)})
    assert (tmp_path / name).read_bytes() == (there if stays else expert_of(3))


def test_a_run_folder_travels_whole_without_what_is_of_one_machine(tmp_path: Path) -> None:
    before, after = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    for folder in (before, after):
        for name in ("config.yaml", "checkpoint/sets/000001.safetensors", "lock", "stop"):
            write_atomically(folder.root / name, f"{name} of {folder.name}")
    write_atomically(after.root / "result" / "old", "")
    unpack(packed(before), after)
    names = sorted(str(path.relative_to(after.root)) for path in after.root.rglob("*") if path.is_file())
    assert names == ["checkpoint/sets/000001.safetensors", "config.yaml"]
    assert after.config.read_text() == "config.yaml of a"
