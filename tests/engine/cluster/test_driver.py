"""The driver, with a Ray that does each task at once: what is submitted when, and what comes back is written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engine.cluster import driver, tasks
from engine.cluster.driver import Resources, plan, shared_keys
from engine.cluster.nodes import Node, marked
from engine.cluster.tasks import CellTask, Outcome, Place, packed
from engine.parallel import make_experts
from engine.run.errors import DONE, FAILED, STOPPED, InputError
from engine.run.expert_cache import classifier_epochs, representation_epochs
from engine.run.folder import RunFolder, cache_root, write_atomically
from engine.run.presets import dump
from engine.sweep.cells import SweepFolder, cell_status, shared_by
from engine.sweep.grid import Cell
from tests.engine.tiny_run import CPU, finish_run, tiny_context, tiny_settings


def cells_of(*methods: str) -> list[Cell]:
    """One cell a method, all of the same data and experts."""
    return [Cell(method, {"method": method}, tiny_settings(method)) for method in methods]


def finished(tmp_path: Path, cell: Cell) -> Outcome:
    """A cell that a node has finished, with the settings of the cell."""
    folder = finish_run(tmp_path / "node" / cell.name).folder
    write_atomically(folder.config, dump(cell.settings))
    return Outcome("finished", "10.0.0.2", packed(folder))


class RayError(Exception):
    pass


class Actor:
    """Does a method of an object when its reference is waited for."""

    def __init__(self, own: object) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._own, name)
        return SimpleNamespace(remote=lambda *arguments: lambda: method(*arguments))


class RayAtOnce:
    """Does a task when it is waited for, in the order of submission; a task's reference is the task itself."""

    exceptions = SimpleNamespace(RayError=RayError)

    def remote(self, function: Any) -> Any:
        ray = self

        class Task:
            def options(self, **_: object) -> Task:
                return self

            def remote(self, *arguments: object) -> Any:
                if function is driver.Board:
                    return Actor(ray.board)
                ray.submitted.append(function.__name__)
                return lambda: function(*arguments)

        return Task()

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.board, self.canceled = driver.Board(), 0

    def cancel(self, _ref: object) -> None:
        self.canceled += 1

    def get(self, ref: Any) -> Any:
        return ref()

    def put(self, value: object) -> Any:
        return lambda: value

    def wait(self, refs: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return refs[:1], refs[1:]


def drive(
    root: Path,
    cells: list[Cell],
    monkeypatch: pytest.MonkeyPatch,
    run_cell: Callable[[CellTask, Any], Outcome],
    ray: RayAtOnce | None = None,
) -> tuple[int, RayAtOnce, SweepFolder]:
    monkeypatch.setenv("LTDD_CACHE", str(root / "cache"))
    monkeypatch.setattr(driver.signal, "signal", lambda *_: None)
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    for name in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    def train_experts(*arguments: Any) -> dict[str, bytes]:
        return {f"experts/key/{number:04d}.safetensors": b"weights" for number in arguments[-1]}

    for function in (run_cell, train_experts):
        monkeypatch.setattr(driver, function.__name__, function)
    folder, ray = SweepFolder(root / "sweep"), ray or RayAtOnce()
    folder.root.mkdir(exist_ok=True)
    node = Node("id", "10.0.0.2", 2.0, 0.0, {})
    place = Place(str(folder.root), str(cache_root()), False, "key", "mark")
    own = driver._Driver(ray, folder, place, [node], Resources(1, 0, 1), "cpu")
    return own.run(cells, failed=False), ray, folder


def test_cells_follow_their_experts_and_what_comes_back_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = dict[str, list[list[str]]]()

    def run_cell(task: CellTask, _: object) -> Outcome:
        seen[task.cell.name] = sorted(list(names) for names, _ in task.parts)
        return finished(tmp_path, task.cell)

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
        return finished(tmp_path, task.cell)

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
        return finished(tmp_path, task.cell)

    cells = cells_of("random", "ltdd")
    code, _, folder = drive(tmp_path, cells, monkeypatch, run_cell)
    failed, other = (cell_status(cell, folder.run(cell)) for cell in cells)
    assert code == FAILED and other.state == "finished"
    assert failed.state == "failed" and failed.faults[0].what == "its memory was full"


def test_a_lost_cell_whose_lock_is_not_freed_is_told_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "LOCKED_SECONDS", 0.0)
    cells = cells_of("random", "ltdd", "ed")
    locks = contextlib.ExitStack()

    def run_cell(task: CellTask, _: object) -> Outcome:
        run = RunFolder(tmp_path / "sweep" / task.cell.name)
        if task.cell.name == "random":
            run.root.mkdir(parents=True, exist_ok=True)
            locks.enter_context(run.held())
            raise RayError("its node died")
        if task.cell.name == "ltdd":  # as run_cell says it
            return Outcome("running", "10.0.0.2", note="another worker holds its run folder")
        return finished(tmp_path, task.cell)

    with locks:
        code, _, folder = drive(tmp_path, cells, monkeypatch, run_cell)
    told = capsys.readouterr().err
    assert code == FAILED and cell_status(cells[2], folder.run(cells[2])).state == "finished"
    assert "random: running: its node died" in told
    assert "ltdd: waiting: another worker holds its run folder" in told


def test_a_stop_cancels_what_waits_and_receives_what_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, cells = list[Place](), [Cell(name, {}, tiny_settings("random")) for name in ("random", "waits")]

    def run_cell(task: CellTask, _: object) -> Outcome:
        asked.extend([task.place] * (tmp_path / "sweep" / "stop").exists())
        return Outcome("stopped", "10.0.0.2", packed(tiny_context(tmp_path / "node", tiny_settings()).folder))

    class Stopped(RayAtOnce):
        def wait(self, refs: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
            self.board.begun("random", "10.0.0.2")
            write_atomically(tmp_path / "sweep" / "stop", "")
            return ([], refs) if len(refs) > 1 else (refs, [])

    code, ray, folder = drive(tmp_path, cells, monkeypatch, run_cell, Stopped())
    assert code == STOPPED and len(asked) == 1 and ray.canceled == 1
    assert ray.submitted == ["run_cell", "run_cell", "request_stop"], "the nodes see no file of the driver's"
    assert [folder.run(cell).exists() for cell in cells] == [True, False]


@pytest.mark.parametrize("seen", [("sweep", "cache"), ("sweep",)])
def test_files_are_shared_where_every_node_sees_both_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(driver, "versions_here", lambda _: {})
    monkeypatch.setattr(driver, "connected", lambda _: contextlib.nullcontext(RayAtOnce()))
    monkeypatch.setattr(driver._Driver, "run", lambda own, *_: places.append(own._place) or DONE)
    places = list[Place]()

    def ask_nodes(*_: object) -> list[Node]:
        sees = [[str(tmp_path / name) for name in names] for names in (("sweep", "cache"), seen)]
        return [Node("id", "10.0.0.2", 2.0, 0.0, {}, sees=own) for own in sees]

    monkeypatch.setattr(driver, "ask_nodes", ask_nodes)
    for root in (tmp_path / "sweep", tmp_path / "other" / "sweep"):
        write_atomically(root / "sweep.yaml", "grid: {method: [random]}\n")
        driver.run_on_cluster(SweepFolder(root), "auto")
    first, second = places
    assert first.shared == (len(seen) == 2) and not second.shared
    assert first.key != second.key, "two drivers of sweeps with the same name and settings do not meet"


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
    assert [(shared.count, shared.settings.seed) for shared in made["experts"].values()] == [(4, 0), (2, 1)]
    assert [shared.count for shared in made["teacher"].values()] == [3]
    assert shared_keys(few)["experts"][0] == shared_keys(many)["experts"][0]
    assert shared_keys(tiny_settings("random")) == {}
    # With images set apart for validation the experts are others, in a local sweep too.
    apart = few.model_copy(update={"validation": few.validation.model_copy(update={"share": 0.1})})
    later = apart.model_copy(update={"validation": apart.validation.model_copy(update={"patience": 1})})
    keys = [(shared_by(Cell("", {}, own)), shared_keys(own)["experts"]) for own in (few, apart, later)]
    assert keys[1] == keys[2] and keys[0][0] != keys[1][0] and keys[0][1] != keys[1][1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_experts_that_cells_share_have_the_epochs_that_any_cell_reads(order: tuple[int, int]) -> None:
    experts = {"width": 4, "depth": 2, "num_experts": 2, "epochs": 60}
    short = {"max_start_epoch": 2, "expert_epochs": 5}
    long = {"max_start_epoch": 40, "expert_epochs": 1}
    for methods in (("ltdd", "datm"), ("datm", "ltdd"), ("ltdd", "ltdd"), ("datm", "datm")):
        cells = [
            Cell(
                str(number),
                {},
                tiny_settings(method, experts=experts, matching=matching, classifier_experts={"epochs": 9}),
            )
            for number, (method, matching) in enumerate(zip(methods, (short, long), strict=True))
        ]
        (made,) = plan(cells[number] for number in order)["experts"].values()
        assert representation_epochs(made.settings) == 40
        read = [classifier_epochs(cell.settings) for cell in cells if cell.settings.trains_classifier_experts]
        assert made.settings.trains_classifier_experts == bool(read)
        assert not read or classifier_epochs(made.settings) == max(read)


def test_a_folder_of_the_same_path_is_not_taken_for_the_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "own"))
    sweep, cache = tmp_path / "sweep", tmp_path / "cache"
    with marked([sweep], "key") as mark, marked([cache], "another"):
        place = Place(str(sweep), str(cache), True, "key", mark)
        with pytest.raises(FileNotFoundError, match="cache is not the driver's on"):
            place.on_this_node()
        write_atomically(cache / ".cluster-key", "what a killed driver left")
        with pytest.raises(FileNotFoundError, match="cache is not the driver's on"):
            place.on_this_node()
    with marked([sweep, cache], "key") as mark:
        place = Place(str(sweep), str(cache), True, "key", mark)
        assert place.on_this_node().root == sweep and cache_root() == cache


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
