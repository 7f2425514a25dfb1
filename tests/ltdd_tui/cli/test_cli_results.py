"""Looking at runs: lists, figures, what is asked of a finished run, and what is said to somebody who mistypes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def finished(command: Callable, make_run: Callable) -> Path:
    root: Path = make_run("first")
    assert command("resume", "first").code == 0
    return root


def test_no_runs_is_no_error_and_valid_json(command: Callable) -> None:
    assert command("runs").code == 0 and command("runs").out == ""
    assert json.loads(command("runs", "--json").out) == []


@pytest.mark.parametrize("arguments", [["runs"], ["show", "last"], ["watch", "first"], ["run", "quickstart"], []])
def test_a_file_in_place_of_the_folder_of_runs_is_bad_input(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    done = command(*arguments, "--runs-dir", str(file))
    assert done.code == 2 and done.out == "" and "this is a file, and no folder that holds runs" in done.err
    monkeypatch.setenv("LTDD_RUNS_DIR", str(file))
    assert command(*arguments) == done


def test_runs_tells_how_each_one_stands(command: Callable, finished: Path, make_run: Callable) -> None:
    make_run("second")
    found = {run["name"]: run for run in json.loads(command("runs", "--json").out)}
    assert found["first"]["state"] == "done" and found["second"]["state"] == "waiting"
    assert found["first"]["accuracy_mean"] == 86.9 and found["first"]["imbalance_factor"] == 50.0
    table = command("runs").out.splitlines()
    assert table[1].split() == ["first", "done", "digits", "IF", "50", "IPC", "2", "ltdd", "86.9", "+-", "0.7"]


def test_a_list_of_long_runs_reads_only_the_ends(command: Callable, finished: Path) -> None:
    events = finished / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    step = next(line for line in lines if "matching_step" in line)
    events.write_text("".join([*lines[:5], *[step] * 5000, *lines[-2:]]))
    (run,) = json.loads(command("runs", "--json").out)
    assert (run["state"], run["dataset"], run["method"]) == ("done", "digits", "ltdd")


def test_broken_files_do_not_break_the_list(command: Callable, finished: Path) -> None:
    (finished / "events.jsonl").write_bytes(b"\xff\x00{{{\n[]\n")
    (finished / "result" / "metrics.json").write_text("[1")
    (run,) = json.loads(command("runs", "--json").out)
    assert run["name"] == "first" and run["accuracy_mean"] is None
    shown = command("show", "first", "--json")
    assert shown.code == 2 and shown.out == "" and "metrics cannot be read" in shown.err


def test_show_json_is_the_file_to_the_byte(command: Callable, finished: Path) -> None:
    assert command("show", "first", "--json").out == (finished / "result" / "metrics.json").read_text()


def test_show_draws_classes_from_head_to_tail_with_bars(command: Callable, finished: Path) -> None:
    out = command("show", "last").out
    classes = [line.split() for line in out.splitlines() if line.startswith(("cat", "dog", "[eel]"))]
    assert [row[:2] for row in classes] == [["cat", "100"], ["dog", "10"], ["[eel]", "2"]]
    assert [len(row[2]) for row in classes] == [36, 32, 28] and set(classes[0][2]) == {"#"}
    assert "published 53.4" in out


def test_show_holds_the_estimate_against_what_happened(command: Callable, finished: Path) -> None:
    assert "estimated" not in command("show", "first").out
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["estimated"] = {"stage_seconds": {"experts": 61.0, "distill": 2.0}}
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    rows = [line.split() for line in command("show", "first").out.splitlines()]
    assert ["experts", "0.5", "s", "1:01"] in rows
    assert ["in", "all", "1.5", "s", "1:03"] in rows


def test_show_leaves_out_what_a_foreign_file_holds_and_says_so(command: Callable, finished: Path) -> None:
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["random"]["groups"]["few"] = [metrics["class_counts"], None]
    metrics["stage_seconds"], metrics["class_counts"] = "long", {"cat": 3}
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    shown = command("show", "first")
    assert shown.code == 0 and "final" in shown.out and "random" not in shown.out
    for place in ("random.groups.few", "stage_seconds", "class_counts"):
        assert f"left out: metrics.json: {place}: " in shown.err


def test_show_of_an_unfinished_run_shows_the_figures_so_far(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("half")
    monkeypatch.setenv("FAKE_WORKER", '{"dies_at": 13}')
    command("resume", "half")
    shown = command("show", "half")
    assert shown.code == 0 and "half is crashed" in shown.err and "representation experts" in shown.out
    as_json = command("show", "half", "--json")
    assert as_json.code == 2 and as_json.out == "" and "hint: " in as_json.err


def test_a_run_goes_by_name_by_path_and_by_last(command: Callable, finished: Path) -> None:
    by_name = command("show", "first").out
    assert command("show", str(finished)).out == by_name == command("show", "last").out


def test_a_name_nearly_right_gets_a_suggestion(command: Callable, finished: Path) -> None:
    done = command("show", "frist")
    assert done.code == 2 and done.out == "" and "did you mean 'first'?" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("name", ["", "\0", "..", "x" * 5000])
def test_a_name_that_cannot_be_one_is_refused_without_traceback(command: Callable, finished: Path, name: str) -> None:
    done = command("show", name)
    assert done.code == 2 and "there is no run" in done.err and "Traceback" not in done.err


def test_a_done_run_is_not_run_again(command: Callable, finished: Path) -> None:
    before = (finished / "events.jsonl").read_text()
    done = command("resume", "first")
    assert done.code == 0 and "is done" in done.err
    assert (finished / "events.jsonl").read_text() == before


def test_stop_where_nothing_runs_is_bad_input(command: Callable, finished: Path) -> None:
    done = command("stop", "first")
    assert done.code == 2 and "no worker is at work" in done.err and not (finished / "stop").exists()


def test_evaluate_gives_the_networks_asked_for(command: Callable, finished: Path) -> None:
    found = json.loads(command("evaluate", "first", "--arch", "vgg11, resnet18", "--json").out)
    assert [result["arch"] for result in found] == ["vgg11", "resnet18"]
    assert found[0]["accuracy_mean"] == 75.0
    assert "final on vgg11" in command("evaluate", "first", "--arch", "vgg11").out


def test_evaluate_and_export_need_a_result(command: Callable, make_run: Callable) -> None:
    make_run("empty")
    for arguments in (["evaluate", "empty", "--arch", "convnet"], ["export", "empty"]):
        done = command(*arguments)
        assert done.code == 2 and "has no result yet" in done.err


def test_alone_it_says_what_to_use_instead(command: Callable) -> None:
    done = command()
    assert done.code == 2 and done.out == "" and "ltdd-tui run quickstart" in done.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["runs", "--nonsense"], ["show"], ["evaluate", "x"]])
def test_misuse_exits_with_2_and_says_nothing_on_stdout(command: Callable, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2 and done.out == ""


def test_version(command: Callable) -> None:
    done = command("--version")
    assert done.code == 0 and done.out.startswith("ltdd-tui ")


def test_doctor_finds_torch_without_loading_it_here(command: Callable) -> None:
    program = (
        "import sys; from ltdd_tui.cli.main import main; sys.argv[:] = ['ltdd-tui', 'doctor', '--json']\n"
        "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout)
    assert found["torch"] and found["disks"][0]["free_gib"] >= 0 and isinstance(found["devices"], list)
    assert found["calibrations"] == []


def test_completion_knows_the_runs(finished: Path) -> None:
    from ltdd_tui.cli.options import complete_run

    assert complete_run("f") == ["first"] and complete_run("") == ["first", "last"]


@pytest.mark.parametrize("text", ["{}", '{"final": 3}', "[1"])
def test_damaged_metrics_are_said_and_written_anew_by_resume(command: Callable, finished: Path, text: str) -> None:
    (finished / "result" / "metrics.json").write_text(text)
    assert command("runs").code == 0
    shown = command("show", "first")
    assert shown.code == 2 and "resume first" in shown.err
    command("resume", "first")
    assert command("show", "first").code == 0


def test_a_file_that_cannot_be_touched_is_told_without_traceback(command: Callable, make_run: Callable) -> None:
    (make_run("first") / "stop").mkdir()
    done = command("resume", "first")
    assert done.code == 1 and done.err.startswith("error: ") and "stop" in done.err
