"""The driver, with a Ray that does each task at once: what is submitted when, and what comes back is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cluster import driver, tasks
from engine.cluster.driver import Resources, plan, shared_keys
from engine.cluster.nodes import MARK, Node
from engine.cluster.tasks import CellTask, Outcome, packed, unpack
from engine.parallel import make_experts
from engine.run.errors import DONE, FAILED, InputError
from engine.run.folder import RunFolder, cache_root, write_atomically
from engine.sweep.cells import SweepFolder, cell_status
from engine.sweep.grid import Cell
from tests.engine.tiny_run import CPU, finish_run, tiny_settings


def cells_of(*methods: str) -> list[Cell]:
    """One cell a method, all of the same data and experts."""
    return [Cell(method, {"method": method}, tiny_settings(method)) for method in methods]


class RayError(Exception):
    pass


class RayAtOnce:
    """Does a task when it is waited for, in the order of submission; a task's reference is the task itself."""

    exceptions = type("exceptions", (), {"RayError": RayError})

    def remote(self, function: Any) -> Any:
        ray = self

        class Task:
            def options(self, **_: object) -> Task:
                return self

            def remote(self, *arguments: object) -> Any:
                if function is driver.Board:
                    return type("Board", (), {"read": Task2(list)})()
                ray.submitted.append(function.__name__)
                return lambda: function(*arguments)

        class Task2:
            def __init__(self, answer: Callable[[], object]) -> None:
                self._answer = answer

            def remote(self) -> Any:
                return self._answer

        return Task()

    def __init__(self) -> None:
        self.submitted: list[str] = []

    def get(self, ref: Any) -> Any:
        return ref()

    def put(self, value: object) -> Any:
        return lambda: value

    def wait(self, refs: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return refs[:1], refs[1:]


def drive(
    root: Path, cells: list[Cell], monkeypatch: pytest.MonkeyPatch, run_cell: Callable[[CellTask, Any], Outcome]
) -> tuple[int, RayAtOnce, SweepFolder]:
    monkeypatch.setenv("LTDD_CACHE", str(root / "cache"))
    monkeypatch.setattr(driver.signal, "signal", lambda *_: None)

    def train_experts(*arguments: Any) -> dict[str, bytes]:
        return {f"experts/key/{number:04d}.safetensors": b"weights" for number in arguments[-1]}

    for function in (run_cell, train_experts):
        monkeypatch.setattr(driver, function.__name__, function)
    folder, ray = SweepFolder(root / "sweep"), RayAtOnce()
    folder.root.mkdir(exist_ok=True)
    node = Node("id", "10.0.0.2", 2.0, 0.0, {})
    own = driver._Driver(ray, folder, "key", [node], Resources(1, 0, 1), "cpu")
    return own.run(cells, failed=False), ray, folder


def test_cells_follow_their_experts_and_what_comes_back_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = dict[str, list[list[str]]]()

    def run_cell(task: CellTask, _: object) -> Outcome:
        seen[task.cell.name] = sorted(list(names) for names, _ in task.parts)
        return Outcome("finished", "10.0.0.2", packed(finish_run(tmp_path / "node" / task.cell.name).folder))

    code, ray, folder = drive(tmp_path, cells_of("ltdd", "random", "ed"), monkeypatch, run_cell)
    assert code == DONE and ray.submitted == ["train_experts"] * 2 + ["run_cell"] * 3
    both = [["experts/key/0000.safetensors"], ["experts/key/0001.safetensors"]]
    assert seen == {"random": [], "ltdd": both, "ed": both}, "random images need no experts, and wait for none"
    assert (cache_root() / both[0][0]).read_bytes() == b"weights"
    assert [cell_status(cell, folder.run(cell)).state for cell in cells_of("ltdd", "random")] == ["finished"] * 2
    again, ray, _ = drive(tmp_path, cells_of("ltdd", "random", "ed"), monkeypatch, run_cell)
    assert again == DONE and ray.submitted == [], "nothing is done twice"


def test_experts_in_the_drivers_cache_are_sent_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    cells = cells_of("ltdd")
    made = make_experts(cells[0].settings, CPU, [1])
    sent = list[str]()

    def run_cell(task: CellTask, _: object) -> Outcome:
        sent.extend(name for names, _ in task.parts for name in names)
        return Outcome("finished", "10.0.0.2", packed(finish_run(tmp_path / "node" / task.cell.name).folder))

    _, ray, _ = drive(tmp_path, cells, monkeypatch, run_cell)
    assert ray.submitted == ["train_experts", "run_cell"], "number 0 alone is missing"
    names = {str(path.relative_to(cache_root())) for path in made}
    assert len(names) == 4 and names < set(sent) and "experts/key/0000.safetensors" in sent


def test_a_cell_that_no_node_survives_is_failed_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_cell(task: CellTask, _: object) -> Outcome:
        if task.cell.name == "random":
            raise RayError("The worker died.\nits memory was full")
        return Outcome("finished", "10.0.0.2", packed(finish_run(tmp_path / "node" / task.cell.name).folder))

    cells = cells_of("random", "ltdd")
    code, _, folder = drive(tmp_path, cells, monkeypatch, run_cell)
    failed, finished = (cell_status(cell, folder.run(cell)) for cell in cells)
    assert code == FAILED and finished.state == "finished"
    assert failed.state == "failed" and failed.faults[0].what == "its memory was full"


def test_what_cells_share_is_made_by_the_settings_that_need_most_of_it() -> None:
    few = tiny_settings(experts={"width": 4, "depth": 2, "num_experts": 2, "epochs": 4})
    many = few.model_copy(
        update={
            "experts": few.experts.model_copy(update={"num_experts": 4}),
            "matching": few.matching.model_copy(update={"max_start_epoch": 2}),
        }
    )
    other = tiny_settings(seed=1, teacher={"kind": "balanced_softmax", "networks": 3}, evaluate={"labels": ["online"]})
    made = plan(Cell(str(number), {}, own) for number, own in enumerate((few, many, other, tiny_settings("random"))))
    assert [(shared.count, shared.settings) for shared in made["experts"].values()] == [(4, many), (2, other)]
    assert [shared.count for shared in made["teacher"].values()] == [3]
    assert shared_keys(few)["experts"][0] == shared_keys(many)["experts"][0]
    assert shared_keys(tiny_settings("random")) == {}


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


def test_a_folder_of_the_same_path_is_not_taken_for_the_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "own"))
    place = tasks.Place(str(tmp_path / "sweep"), str(tmp_path / "cache"), True, "key", "mark")
    write_atomically(tmp_path / "sweep" / MARK, "mark")
    write_atomically(tmp_path / "cache" / MARK, "another driver's")
    with pytest.raises(FileNotFoundError, match="cache is not the driver's on"):
        place.on_this_node()
    write_atomically(tmp_path / "cache" / MARK, "mark")
    assert place.on_this_node().root == tmp_path / "sweep" and cache_root() == tmp_path / "cache"


def test_a_sweep_keeps_the_threads_of_its_first_start_and_a_stop_request_from_before_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[tuple[Resources, str]]()

    class Recorded:
        def __init__(self, *of: Any) -> None:
            started.append((of[4], of[5]))

        def run(self, *_: object) -> int:
            return DONE

    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    node = Node("id", "10.0.0.2", 2.0, 0.0, {})
    fakes = {"connected": contextlib.nullcontext, "versions_here": lambda ray: {}, "ask_nodes": lambda *_: [node]}
    for name, fake in (fakes | {"refuse_unfit": lambda *_: None, "_Driver": Recorded}).items():
        monkeypatch.setattr(driver, name, fake)
    folder = SweepFolder(tmp_path / "sweep")
    write_atomically(folder.file, "preset: quickstart\ngrid: {method: [random]}\n")
    folder.stop_request.touch()
    for threads in (2, 0):
        assert driver.run_on_cluster(folder, "local", threads) == DONE
    assert started == [(Resources(2, 0, 1), "auto"), (Resources(2, 0, 1), "cpu")] and folder.stop_request.exists()
    with pytest.raises(InputError, match="begun on cpu with 2 threads, and this would be cpu with 4 threads"):
        driver.run_on_cluster(folder, "local", 4)
