"""A worker does cell after cell to the same bytes as each alone, goes on where one was killed, and repeats nothing."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import sweep_worker
from engine.__main__ import main
from engine.run.errors import STOPPED, InputError, RunFailed
from engine.run.event_log import EventLog
from engine.run.events import Checkpointed, ExpertDone, RunStarted
from engine.run.folder import RunFolder, write_atomically, write_json
from engine.run.manifest import read_manifest
from engine.run.presets import dump
from engine.stages import evaluate as stage
from engine.sweep import supervisor
from engine.sweep.cells import SweepFolder, WorkerKind, cell_status
from engine.sweep.supervisor import supervise
from engine.sweep_worker import START_AGAIN, forget_cell, work_on_sweep

TINY = """
preset: quickstart
set:
  compile: never
  experts: {num_experts: 2, epochs: 2, width: 4}
  classifier_experts.epochs: 2
  matching: {iterations: 2, max_start_epoch: 1, syn_steps: 2, syn_steps_cls: 2}
  evaluate: {repeats: 2, epochs: 2, every: 2}
grid: {method: [random], seed: [0, 1]}
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, and the signal handlers of before."""
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def sweep_in(root: Path, text: str = TINY) -> SweepFolder:
    write_atomically(root / "sweep.yaml", text)
    return SweepFolder(root)


def states(folder: SweepFolder) -> dict[str, str]:
    return {cell.name: cell_status(cell, folder.run(cell)).state for cell in folder.sweep().cells}


def count(folder: SweepFolder, kind: str) -> int:
    files = [folder.run(cell).events for cell in folder.sweep().cells]
    return sum(file.read_text().count(f'"type":"{kind}"') for file in files if file.exists())


def interrupt(run: RunFolder, begun: int = 1) -> None:
    """Leaves of a finished run what a killed worker leaves, in each of so many starts: no end, and no result."""
    lines = run.events.read_text().splitlines()
    first = next(line for line in lines if '"type":"run_started"' in line)
    run.events.write_text("\n".join([*[first] * begun, ""]))
    run.metrics.unlink()


def test_cells_have_the_bytes_of_runs_alone_and_no_network_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, real = list[str](), stage.train_from_scratch

    def counted(*arguments: object, **named: object) -> object:
        trained.extend(map(str, arguments[4]))  # type: ignore[call-overload]
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "train_from_scratch", counted)
    folder = sweep_in(tmp_path / "sweep", TINY.replace("[random], seed: [0, 1]", "[ltdd, ed, random]"))
    assert work_on_sweep(folder, "cpu") == 0
    assert set(states(folder).values()) == {"finished"}
    random = [name for name in trained if "'random'" in name]
    assert len(random) == 2, "two networks, whatever the method"
    starts = [name for name in trained if "'set', 0" in name]
    assert len(starts) == 2 * 2, "ltdd and ed start alike; a selection ends where it starts"
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr("engine.run.folder.evaluations_root", lambda: tmp_path / "none")
    for cell in folder.sweep().cells[1:]:  # one that is distilled after another one, too
        run = RunFolder(tmp_path / "alone" / cell.name)
        write_atomically(run.config, dump(cell.settings))
        assert main(["run", str(run.root), "--device", "cpu"]) == 0
        of_sweep = folder.run(cell)
        assert run.distilled.read_bytes() == of_sweep.distilled.read_bytes()
        figures = [json.loads(one.metrics.read_text()) for one in (run, of_sweep)]
        assert figures[0]["final"] == figures[1]["final"] and figures[0]["random"] == figures[1]["random"]
        assert of_sweep.console.exists() and of_sweep.config.read_text() == run.config.read_text()


def test_an_interrupted_cell_goes_on_and_none_that_is_finished_begins_again(tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "sweep")
    work_on_sweep(folder, "cpu")
    assert count(folder, "run_started") == count(folder, "run_finished") == 2
    cells = folder.sweep().cells
    before = folder.run(cells[0]).distilled.read_bytes()
    interrupt(folder.run(cells[0]))
    assert states(folder)[cells[0].name] == "stopped"
    assert work_on_sweep(folder, "cpu") == 0
    assert count(folder, "run_started") == 2 + 1 and set(states(folder).values()) == {"finished"}
    assert folder.run(cells[0]).distilled.read_bytes() == before
    interrupt(folder.run(cells[1]), begun=3)
    assert work_on_sweep(folder, "cpu") == 0
    status = cell_status(cells[1], folder.run(cells[1]))
    assert status.state == "failed" and "died 3 times" in status.faults[0].what
    assert work_on_sweep(folder, "cpu") == 0 and states(folder)[cells[1].name] == "failed"
    assert work_on_sweep(folder, "cpu", failed=True) == 0 and set(states(folder).values()) == {"finished"}


def test_a_cell_that_fails_stops_nothing_and_is_tried_again_only_when_asked(tmp_path: Path) -> None:
    text = TINY.replace("[random], seed: [0, 1]", "[ltdd, random], experts.learning_rate: [1.0e+30]")
    folder = sweep_in(tmp_path / "sweep", text)
    assert work_on_sweep(folder, "cpu") == 0
    assert states(folder) == {"ltdd-learning_rate1e30": "failed", "random-learning_rate1e30": "finished"}
    cell = folder.sweep().cells[0]
    assert "not finite" in cell_status(cell, folder.run(cell)).faults[0].what
    for failed in (False, True):
        work_on_sweep(folder, "cpu", failed=failed)
        assert count(folder, "run_broke") == 1 + failed


def test_after_an_unknown_error_another_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    folder = sweep_in(tmp_path / "sweep")
    with monkeypatch.context() as patch:
        patch.setattr(sweep_worker, "do_run", broken)
        assert work_on_sweep(folder, "cpu") == START_AGAIN
    first = folder.run(folder.sweep().cells[0])
    assert "ZeroDivisionError: a bug" in first.events.read_text() and first.console.exists()
    assert work_on_sweep(folder, "cpu", since=0.0) == 0
    assert list(states(folder).values()) == ["failed", "finished"]


def test_a_stop_request_stops_the_cell_and_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sweep_in(tmp_path / "sweep")
    real = stage.train_from_scratch

    def stop(*arguments: object, **named: object) -> object:
        folder.stop_request.touch()
        return real(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stage, "train_from_scratch", stop)
        assert work_on_sweep(folder, "cpu") == 130
    assert sorted(states(folder).values()) == ["stopped", "waiting"]
    assert count(folder, "run_stopped") == 1
    folder.stop_request.unlink()
    assert work_on_sweep(folder, "cpu") == 0 and set(states(folder).values()) == {"finished"}


@pytest.mark.parametrize("deleted", ["cell", "sweep"])
def test_a_cell_that_is_deleted_is_not_made_anew_and_a_deleted_sweep_ends_its_worker(
    deleted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep_in(tmp_path / "sweep")
    first, second = (folder.run(cell) for cell in folder.sweep().cells)
    train = stage.train_from_scratch

    def deletes(*arguments: object, **named: object) -> object:
        if first.exists() and not second.exists():
            shutil.rmtree(first.root if deleted == "cell" else folder.root)
        return train(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "train_from_scratch", deletes)
    if deleted == "cell":
        assert work_on_sweep(folder, "cpu") == 0
        assert not first.root.exists() and states(folder)[second.name] == "finished"
    else:
        with pytest.raises(RunFailed, match="the sweep's folder was deleted or moved"):
            work_on_sweep(folder, "cpu")
        assert not folder.root.exists()


def test_a_cell_that_another_worker_does_is_left_to_it(tmp_path: Path) -> None:
    folder = sweep_in(tmp_path / "sweep")
    first, second = folder.sweep().cells
    folder.run(first).root.mkdir()
    with folder.run(first).held():
        assert work_on_sweep(folder, "cpu") == 0
        assert states(folder) == {first.name: "running", second.name: "finished"}


def test_a_full_disk_ends_the_worker_with_its_message_and_no_cell_is_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tried = sweep_in(tmp_path / "sweep"), list[str]()

    def full(run: RunFolder, *_: object) -> None:
        tried.append(run.name)
        raise OSError(errno.ENOSPC, "No space left on device", str(run.metrics))

    monkeypatch.setattr(sweep_worker, "do_run", full)
    with monkeypatch.context() as patch:
        patch.setattr(sweep_worker.EventLog, "emit", full_disk)
        with pytest.raises(RunFailed, match="nothing can be written: No space left"):
            work_on_sweep(folder, "cpu")
    assert tried == ["random-seed0"]
    assert work_on_sweep(folder, "cpu") == 0 and tried[1:] == ["random-seed0", "random-seed1"], "it could tell it"


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_all_workers_of_a_sweep_compute_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_worker, "do_run", lambda *_: None)
    folder = sweep_in(tmp_path / "sweep")
    assert folder.worker_kind() is None
    folder.keep_worker_kind(WorkerKind("cpu", 1024))
    with pytest.raises(InputError, match=r"begun on cpu with 1024 threads, and this would be cpu with \d+ thread"):
        work_on_sweep(folder, "cpu")
    assert set(states(folder).values()) == {"waiting"}
    folder.workers.unlink()
    opened = len(os.listdir("/dev/fd"))
    assert work_on_sweep(folder, "cpu") == 0
    assert len(os.listdir("/dev/fd")) == opened, "the events of both cells are closed"
    kept = folder.worker_kind()
    assert kept and kept.device == "cpu" and kept.threads == torch.get_num_threads()


def test_cells_promise_what_their_sweep_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_worker, "do_run", lambda *_: None)
    folder = sweep_in(tmp_path / "sweep")
    runs = [folder.run(cell) for cell in folder.sweep().cells]
    work_on_sweep(folder, "cpu")
    assert not any(run.manifest.exists() for run in runs), "nobody has asked for anything"
    for promise in (True, False):
        folder.promise_same_bytes(promise)
        assert work_on_sweep(folder, "cpu") == 0
        assert [read_manifest(run).same_bytes for run in runs] == [promise] * 2
    folder.workers.write_bytes(folder.workers.read_bytes().replace(b"cpu", b"cpv"))
    for asked in (folder.worker_kind, lambda: folder.same_bytes, lambda: folder.promise_same_bytes(True)):
        with pytest.raises(InputError, match="what the sweep was begun with is not known"):
            asked()
    assert b"cpv" in folder.workers.read_bytes(), "it is not written over"


def test_deaths_are_counted_only_where_nothing_was_reached_in_between(tmp_path: Path) -> None:
    cell = sweep_in(tmp_path / "sweep").sweep().cells[0]
    run, begins = RunFolder(tmp_path / "run"), RunStarted("", "ltdd", "", 1.0, 1, 0, "", "cpu", [], 1, "", 7)
    write_atomically(run.config, dump(cell.settings))
    expert, found = ExpertDone("representation", 0, False, 50.0, [], []), list[int]()
    with EventLog(run.events) as log:
        for event in (begins, begins, Checkpointed(5), begins, expert, begins, replace(expert, cached=True), begins):
            log.emit(event)
            found.append(cell_status(cell, run).deaths)
    assert found == [1, 2, 1, 1, 1, 1, 1, 2]
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.emit(begins)


@pytest.mark.parametrize(("dies", "starts", "code"), [(1, 2, 1), (99, 3, 1)])
def test_a_worker_that_dies_is_replaced_unless_it_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: int, starts: int, code: int
) -> None:
    folder, tally = sweep_in(tmp_path / "sweep"), tmp_path / "tally"
    tell = f"import os; t = {str(tally)!r}; open(t, 'a').write('x')"
    fake = f"{tell}; os.stat(t).st_size > {dies} or os.kill(os.getpid(), 9)"
    monkeypatch.setattr(supervisor, "WORKER", (sys.executable, "-S", "-c", fake))
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.01)
    assert supervise(folder, 1, "cpu") == code, "no cell is finished"
    assert os.path.getsize(tally) == starts


def test_a_stop_request_from_before_the_workers_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sweep_in(tmp_path / "sweep")
    monkeypatch.setattr(supervisor, "WORKER", (sys.executable, "-S", "-c", ""))
    folder.stop_request.touch()
    assert supervise(folder, 1, "cpu") == STOPPED and folder.stop_request.exists()


def test_a_worker_that_has_finished_cells_and_dies_between_two_was_not_fruitless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep_in(tmp_path / "sweep")
    monkeypatch.setattr(supervisor, "WORKER", (sys.executable, "-S", "-c", ""))
    slot = supervisor._Slot(folder, (), 1)
    slot.process.wait()
    run = folder.run(folder.sweep().cells[0])
    write_json(run.metrics, {"final": {"accuracy_mean": 50.0, "accuracy_std": 1.0}, "stage_seconds": {}})
    write_atomically(run.distilled, b"")
    write_atomically(run.config, dump(folder.sweep().cells[0].settings))
    with run.held():
        pass
    assert states(folder)[run.name] == "finished" and not slot._has_begun_a_cell(), "this process did that cell"
    run.lock.write_text(f"{os.uname().nodename} {slot.process.pid}\n")
    assert slot._has_begun_a_cell()


def test_what_later_cells_leave_is_still_collected() -> None:
    gc.unfreeze()  # as a worker begins; conftest.py has frozen what the tests import
    forget_cell()
    frozen, left = gc.get_freeze_count(), [[number] for number in range(10_000)]
    forget_cell()
    assert frozen and gc.get_freeze_count() < frozen + len(left)
