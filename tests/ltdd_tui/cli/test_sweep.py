"""`sweep`: what it costs, whom it starts, what it tells while cells end, and the table with its exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.device_profiles import cpu
from engine.run.errors import InputError
from engine.run.folder import RunFolder, verify_file
from engine.run.locks import exclusive
from engine.run.presets import user_folder
from engine.sweep.cells import SweepFolder, WorkerKind
from engine.sweep.grid import load_sweep
from ltdd_tui.cli.main import main
from ltdd_tui.launch.machine import Room
from ltdd_tui.launch.sweeps import (
    Workers,
    begin_sweep,
    checked_jobs,
    cost_of,
    jobs_here,
    known_sweeps,
    workers_here,
)
from ltdd_tui.runs import worker
from tests.ltdd_tui.recorded import let_go, record_sweep

GRID = "preset: quickstart\ngrid: {method: [ltdd, ed, random], seed: [0, 1]}\n"
# In place of the process that looks after workers: it "does" the cells that the test has recorded elsewhere.
FAKE = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True); sys.exit(int(sys.argv[3]))"


def cost(*methods: str) -> float:
    cells = [cell for cell in load_sweep("mine.yaml").cells if cell.values["method"] in methods]
    return cost_of(cells, cpu(2)).total_seconds


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ltdd-tui", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def fails(error: Exception) -> Callable[..., object]:
    def failing(*_: object) -> None:
        raise error

    return failing


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LTDD_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "mine.yaml").write_text(GRID)


def test_what_cells_share_is_counted_once() -> None:
    both, apart = cost("ltdd", "ed"), cost("ltdd") + cost("ed")
    assert both < 0.9 * apart, "experts, random images and the start are shared"
    assert cost("ltdd", "random") < cost("ltdd") + cost("random")
    cells = load_sweep("mine.yaml").cells
    whole = cost_of(cells, cpu(2))
    assert whole.total_seconds == pytest.approx(sum(whole.seconds.values())) and len(whole.seconds) == 6
    rest = cost_of(cells, cpu(2), [cells[0].name])
    assert rest.done == 1 and cells[0].name not in rest.seconds


def test_a_dry_run_tells_the_cells_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "sweep", "mine.yaml", "--dry-run", "--only", "method=ltdd,ed", "--json", "--jobs", "3") == 0
    told = json.loads(capsys.readouterr().out)
    assert [cell["name"] for cell in told["cells"]] == ["ltdd-seed0", "ltdd-seed1", "ed-seed0", "ed-seed1"]
    assert told["total_seconds"] == pytest.approx(sum(cell["seconds"] for cell in told["cells"])) and told["jobs"] == 3
    assert run(monkeypatch, "estimate", "mine.yaml", "--device", "cpu") == 0
    assert "6 cells, 0 of them finished" in capsys.readouterr().out
    assert not Path("runs").exists()


@pytest.mark.parametrize(("failed", "code"), [(False, 0), (True, 1)])
def test_cells_are_told_as_they_end_and_the_table_closes(
    failed: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures: dict[str, float | str] = {"ltdd-seed0": 50.0, "ltdd-seed1": "failed" if failed else 54.0}
    record_sweep(Path("done").absolute(), figures, load_sweep("mine.yaml").resolved)
    fake = (
        sys.executable,
        "-S",
        "-c",
        FAKE,
        str(Path("done").absolute()),
        str(Path("runs/mine").absolute()),
        str(code),
    )
    monkeypatch.setattr(worker, "SWEEP_COMMAND", fake)
    assert run(monkeypatch, "sweep", "mine.yaml", "--json") == code
    out, err = capsys.readouterr()
    told = json.loads(out)
    ltdd = told["figures"][0]
    assert (ltdd["accuracy_mean"], ltdd["n"], ltdd["cells"]) == (50.0 if failed else 52.0, 2 - failed, 2)
    assert "ltdd-seed0: 50.0 %" in err
    assert ("a matching loss is not finite" in err) == failed
    assert [cell["state"] for cell in told["cells"][2:]] == ["waiting"] * 4
    assert run(monkeypatch, "estimate", "mine.yaml", "--json") == 0
    left = json.loads(capsys.readouterr().out)
    assert "ltdd-seed0" in left["finished"] and "ltdd-seed0" not in [cell["name"] for cell in left["cells"]]
    assert run(monkeypatch, "show", "mine") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["ltdd", "50.0" if failed else "52.0"]
    (Path("mine.yaml")).write_text(GRID.replace("seed: [0, 1]", "seed: [0]"))
    assert run(monkeypatch, "sweep", "mine.yaml") == 2, "there is one of other settings"
    assert "with other settings already" in capsys.readouterr().err


def test_workers_are_as_many_as_cores_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltdd_tui.launch.sweeps.usable_cores", lambda: list(range(8)))
    monkeypatch.setattr("ltdd_tui.launch.machine.memory_gib", lambda device: 10.0)
    assert [jobs_here("auto", cpu(8), cells, gib) for cells, gib in ((100, 1.0), (100, 2.0), (3, 1.0), (9, 50.0))] == [
        8,
        4,
        3,
        1,
    ]
    assert jobs_here("5", cpu(8), 1, 1.0) == 5


def test_a_resumed_sweep_keeps_the_device_and_the_threads_of_its_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltdd_tui.launch.sweeps.usable_cores", lambda: list(range(8)))
    monkeypatch.setattr("engine.sweep.supervisor.usable_cores", lambda: list(range(8)))
    monkeypatch.setattr("ltdd_tui.launch.machine.memory_gib", lambda device: 999.0)
    sweep, folder = load_sweep("mine.yaml"), SweepFolder(Path("runs/mine"))
    started = list[str]()
    monkeypatch.setattr(worker, "launch", lambda folder, arguments, command: started.extend(arguments[1:]))
    record_sweep(folder.root, {}, sweep.resolved)
    one = sweep.cells[:1]
    assert workers_here(folder, sweep, one, "cpu") == Workers(1, "cpu", 1), "not 8 threads, which the other 5 lack"
    folder.keep_worker_kind(WorkerKind("cpu", 4))
    assert [workers_here(folder, sweep, cells, "auto").jobs for cells in (one, sweep.cells)] == [1, 2]
    assert workers_here(folder, sweep, one, "auto", "5") == Workers(5, "cpu", 4)
    begin_sweep(folder, "auto", ["method=ltdd"])
    assert started[:2] == ["--device", "cpu"] and started[-4:] == ["--jobs", "2", "--threads", "4"]
    with pytest.raises(InputError, match="begun on cpu with 4 threads, and this would be cuda with 4 threads"):
        begin_sweep(folder, "cuda")


def test_a_sweep_that_is_at_work_is_not_started_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(Path("runs/mine"))
    record_sweep(folder.root, {}, load_sweep("mine.yaml").resolved)
    with exclusive(folder.lock, "held"):
        assert run(monkeypatch, "sweep", "mine.yaml") == 2
        assert "this sweep is at work already" in capsys.readouterr().err
        assert run(monkeypatch, "stop", "mine") == 0 and folder.stop_request.exists()
    assert run(monkeypatch, "stop", "mine") == 2


def no_room(*_: object) -> list[Room]:
    return [Room("disk", "runs", 2.0, 1.0, 2.0, "make room")]


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (("ltdd_tui.launch.machine.rooms", no_room), "too little free disk"),
        (("ltdd_tui.launch.sweeps.device_here", fails(InputError("there is no such device"))), "no such device"),
        (("engine.run.folder.os.replace", fails(OSError(28, "No space left on device"))), "cannot be made: No space"),
    ],
)
def test_a_refused_sweep_leaves_no_folder(
    refusal: tuple[str, Callable[..., object]],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("runs").mkdir()
    monkeypatch.setattr(*refusal)
    assert run(monkeypatch, "sweep", "mine.yaml") == 2 and says in capsys.readouterr().err
    assert list(Path("runs").iterdir()) == []
    new = SweepFolder(Path("runs/mine"))
    with pytest.raises(InputError, match=says):
        begin_sweep(new, "cpu", new=load_sweep("mine.yaml"))
    assert list(Path("runs").iterdir()) == []


def test_a_sweep_keeps_whether_same_bytes_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "SWEEP_COMMAND", (sys.executable, "-S", "-c", "pass"))
    folder, said = SweepFolder(Path("runs/mine")), list[bool | None]()
    for command in (["sweep", "mine.yaml", "--same-bytes"], ["sweep", "mine"], ["resume", "mine", "--any-origin"]):
        run(monkeypatch, *command, "--detach", "--device", "cpu")
        said.append(folder.same_bytes)
        folder.keep_worker_kind(WorkerKind("cpu", 1))
        if said == [True]:
            assert run(monkeypatch, "sweep", "mine.yaml", "--cluster", "auto") == 2, (
                "its nodes may be of several origins"
            )
            assert "a cluster does not have this option" in capsys.readouterr().err
    assert said == [True, True, False] and verify_file(folder.workers), "it has a checksum"
    folder.workers.write_text('{"device": "cuda", "threads": 2}\n')
    assert folder.worker_kind() == WorkerKind("cuda", 2) and folder.same_bytes is None, "of an older version"


def test_of_two_that_start_at_once_the_later_says_only_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "import sys; print('error: at work already', file=sys.stderr); sys.exit(2)"
    monkeypatch.setattr(worker, "SWEEP_COMMAND", (sys.executable, "-S", "-c", said))
    assert run(monkeypatch, "sweep", "mine.yaml") == 2
    assert capsys.readouterr() == ("", "error: at work already\n")


def test_workers_that_a_dead_supervisor_has_left_are_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record_sweep(Path("runs/mine").absolute(), {"ltdd-seed0": "running"}, load_sweep("mine.yaml").resolved)
    cell = folder.root / "ltdd-seed0"
    killed, ours = list[int](), {folder.root}
    monkeypatch.setattr(worker, "has_in_command", lambda root, pid: root in ours)
    monkeypatch.setattr(worker.os, "kill", lambda pid, _: (killed.append(pid), let_go(RunFolder(cell))))
    assert run(monkeypatch, "stop", "mine") == 0 and folder.stop_request.exists()
    (cell / "lock").write_text(f"{os.uname().nodename} 4321\n")
    assert run(monkeypatch, "stop", "mine/ltdd-seed0", "--now") == 2 and not killed
    assert "`ltdd-tui stop mine --now` ends all workers" in capsys.readouterr().err
    assert run(monkeypatch, "stop", "mine", "--now") == 0 and killed == [4321]
    assert run(monkeypatch, "stop", "mine", "--now") == 2, "nobody is left"


def test_one_that_is_done_starts_nobody_and_one_cell_is_not_killed_with_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(worker, "launch", never)
    sweep = load_sweep("mine.yaml")
    folder = record_sweep(Path("runs/mine").absolute(), {cell.name: 50.0 for cell in sweep.cells}, sweep.resolved)
    assert run(monkeypatch, "sweep", "mine.yaml") == run(monkeypatch, "resume", "mine") == 0
    cell = folder.run(sweep.cells[0])
    with exclusive(folder.lock, "held"), cell.held():
        assert run(monkeypatch, "stop", "mine/ltdd-seed0", "--now") == 2
    assert "its worker does other cells of a sweep too" in capsys.readouterr().err


def test_sweeps_that_cannot_be_read_are_left_out_with_their_faults(tmp_path: Path) -> None:
    own = user_folder() / "sweeps"
    (own / "folder.yaml").mkdir(parents=True)
    (own / "gone.yaml").symlink_to("nowhere")
    (own / "mine.yaml").write_text("# two methods. And more\n")
    about, faults = known_sweeps()
    assert about["mine"] == "two methods" and "digits" in about and not {"folder", "gone"} & about.keys()
    assert [(fault.where, fault.what) for fault in faults] == [
        (str(own / "folder.yaml"), "cannot be read: Is a directory"),
        (str(own / "gone.yaml"), "cannot be read: No such file or directory"),
    ]


@pytest.mark.parametrize("asked", ["9" * 5000, "0", "-1", "1025", "²"])
def test_jobs_are_a_small_whole_number(asked: str) -> None:
    assert (checked_jobs("auto"), checked_jobs("1024")) == ("auto", "1024")
    with pytest.raises(InputError, match="auto or a number of workers is needed"):
        checked_jobs(asked)
