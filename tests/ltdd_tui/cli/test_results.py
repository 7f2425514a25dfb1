"""`runs`, `show`, `evaluate` and `doctor`, and the errors for damaged files and wrong arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltdd_tui.cli.options import complete_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def finished(command: Callable, make_run: Callable) -> Path:
    root: Path = make_run("first")
    assert command("resume", "first").code == 0
    return root


def test_listing_no_runs_succeeds_and_prints_valid_json(command: Callable) -> None:
    assert command("runs").code == 0 and command("runs").out == ""
    assert json.loads(command("runs", "--json").out) == []


@pytest.mark.parametrize("arguments", [["runs"], ["show", "last"], ["watch", "first"], ["run", "quickstart"], []])
def test_a_runs_dir_that_is_a_file_exits_with_2(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    done = command(*arguments, "--runs-dir", str(file))
    assert done.code == 2 and done.out == "" and "this is a file, and no folder that holds runs" in done.err
    monkeypatch.setenv("LTDD_RUNS_DIR", str(file))
    assert command(*arguments) == done


def test_runs_lists_state_accuracy_and_cell(command: Callable, finished: Path, make_run: Callable) -> None:
    make_run("second")
    found = {run["name"]: run for run in json.loads(command("runs", "--json").out)}
    assert found["first"]["state"] == "done" and found["second"]["state"] == "waiting"
    assert found["first"]["accuracy_mean"] == 86.9 and found["first"]["imbalance_factor"] == 50.0
    table = command("runs").out.splitlines()
    assert table[1].split() == ["first", "done", "digits", "IF", "50", "IPC", "2", "ltdd", "86.9", "±", "0.7"]


def test_runs_lists_long_runs_from_both_ends_of_their_events(command: Callable, finished: Path) -> None:
    events = finished / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    step = next(line for line in lines if "matching_step" in line)
    events.write_text("".join([*lines[:5], *[step] * 5000, *lines[-2:]]))
    (run,) = json.loads(command("runs", "--json").out)
    assert (run["state"], run["dataset"], run["method"]) == ("done", "digits", "ltdd")


def test_runs_lists_a_run_with_damaged_files(command: Callable, finished: Path) -> None:
    (finished / "events.jsonl").write_bytes(b"\xff\x00{{{\n[]\n")
    (finished / "result" / "metrics.json").write_text("[1")
    (run,) = json.loads(command("runs", "--json").out)
    assert run["name"] == "first" and run["accuracy_mean"] is None
    shown = command("show", "first", "--json")
    assert shown.code == 2 and shown.out == "" and "metrics cannot be read" in shown.err


def test_show_json_prints_metrics_json_byte_for_byte(command: Callable, finished: Path) -> None:
    assert command("show", "first", "--json").out == (finished / "result" / "metrics.json").read_text()


def test_show_draws_classes_from_head_to_tail_with_bars(command: Callable, finished: Path) -> None:
    out = command("show", "last").out
    classes = [line.split() for line in out.splitlines() if line.startswith(("cat", "dog", "[eel]"))]
    assert [row[:2] for row in classes] == [["cat", "100"], ["dog", "10"], ["[eel]", "2"]]
    assert [len(row[2]) for row in classes] == [36, 32, 28] and set(classes[0][2]) == {"#"}
    assert "published 53.4" in out


def test_show_tells_test_images_and_intervals_where_these_are_few(command: Callable, finished: Path) -> None:
    assert "95 % interval" not in command("show", "last").out
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["test_counts"] = [12, 1, 0]
    metrics["final"]["per_class"] = [90.0, 100.0, None]
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    out = command("show", "last").out
    classes = [line.split() for line in out.splitlines() if line.startswith(("cat", "dog", "[eel]"))]
    assert [row[1:3] for row in classes] == [["100", "12"], ["10", "1"], ["2", "0"]]
    assert [row[-1] for row in classes] == ["90.0", "(20-100)", "-"] and classes[1][-2] == "100.0"
    assert "(low-high): 95 % interval (Wilson) of an accuracy on fewer than 10 test images" in out


def test_show_prints_estimated_times_beside_measured_ones(command: Callable, finished: Path) -> None:
    assert "estimated" not in command("show", "first").out
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["estimated"] = {"stage_seconds": {"experts": 61.0, "distill": 2.0}}
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    rows = [line.split() for line in command("show", "first").out.splitlines()]
    assert ["experts", "0.5", "s", "1:01"] in rows
    assert ["in", "all", "1.5", "s", "1:03"] in rows


def test_show_skips_invalid_metrics_and_reports_them(command: Callable, finished: Path) -> None:
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["random"]["groups"]["few"] = [metrics["class_counts"], None]
    metrics["stage_seconds"], metrics["class_counts"] = "long", {"cat": 3}
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    shown = command("show", "first")
    assert shown.code == 0 and "final" in shown.out and "random" not in shown.out
    for place in ("random.groups.few", "stage_seconds", "class_counts"):
        assert f"left out: metrics.json: {place}: " in shown.err


def test_show_prints_the_figures_so_far_of_an_unfinished_run(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("half")
    monkeypatch.setenv("FAKE_WORKER", '{"dies_at": 13}')
    command("resume", "half")
    shown = command("show", "half")
    assert shown.code == 0 and "half is crashed" in shown.err and "representation experts" in shown.out
    as_json = command("show", "half", "--json")
    assert as_json.code == 2 and as_json.out == "" and "hint: " in as_json.err


def test_a_run_is_found_by_name_by_path_and_by_last(command: Callable, finished: Path) -> None:
    by_name = command("show", "first").out
    assert command("show", str(finished)).out == by_name == command("show", "last").out


def test_a_misspelled_run_name_gets_a_suggestion(command: Callable, finished: Path) -> None:
    done = command("show", "frist")
    assert done.code == 2 and done.out == "" and "did you mean 'first'?" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("name", ["", "\0", "..", "x" * 5000])
def test_an_impossible_run_name_is_refused_without_traceback(command: Callable, finished: Path, name: str) -> None:
    done = command("show", name)
    assert done.code == 2 and "there is no run" in done.err and "Traceback" not in done.err


def test_resume_leaves_a_done_run_alone(command: Callable, finished: Path) -> None:
    before = (finished / "events.jsonl").read_text()
    done = command("resume", "first")
    assert done.code == 0 and "is done" in done.err
    assert (finished / "events.jsonl").read_text() == before


def test_stop_without_a_worker_exits_with_2(command: Callable, finished: Path) -> None:
    done = command("stop", "first")
    assert done.code == 2 and "no worker is at work" in done.err and not (finished / "stop").exists()


def test_evaluate_prints_only_the_requested_networks(command: Callable, finished: Path) -> None:
    found = json.loads(command("evaluate", "first", "--arch", "vgg11, resnet18", "--json").out)
    assert [result["arch"] for result in found] == ["vgg11", "resnet18"]
    assert found[0]["accuracy_mean"] == 75.0
    assert "final on vgg11" in command("evaluate", "first", "--arch", "vgg11").out
    fewer = json.loads(command("evaluate", "first", "--arch", "vgg11", "--repeats", "1", "--json").out)
    assert [result["repeats"] for result in fewer] == [1], "the run keeps the one over 5"


def test_scores_are_printed_with_their_parts_and_shown_from_then_on(command: Callable, finished: Path) -> None:
    assert "LRS" not in command("show", "first").out
    printed = command("scores", "first", "--repeats", "3")
    assert printed.code == 0 and "held-out training images" in printed.err
    assert "the set was made from all" in " ".join(printed.err.split())
    lines = printed.out.splitlines()
    assert lines[1].split() == ["all", "images,", "hard", "labels", "81.0", "±", "0.5", "3", "0.05", "searched"]
    assert len(lines) == 1 + 7 + 2
    assert lines[-2:] == [
        "LRS 0.244: +19.0 over random images (IOR), 31.0 below all images with hard labels (HLR);"
        " stored labels, convnet, n=3",
        "ARS 0.323: +19.0 over random images, +5.0 without augmentation; stored labels, convnet, n=3",
    ]
    shown = command("show", "first").out.splitlines()
    assert set(lines[-2:]) <= set(shown)
    as_json = json.loads(command("scores", "first", "--json").out)
    assert as_json == json.loads((finished / "result" / "scores.json").read_text()) and as_json["repeats"] == 5
    (finished / "result" / "scores.json").write_text("{}")
    damaged = command("show", "first")
    assert damaged.code == 0 and "LRS" not in damaged.out and "left out: scores.json" in damaged.err


def test_evaluate_prints_random_start_and_final_in_each_label_regime(command: Callable, finished: Path) -> None:
    asked = ("evaluate", "first", "--labels", "online,hard", "--repeats", "3")
    found = json.loads(command(*asked, "--json").out)
    sets = [("random", "convnet"), ("initialization", "convnet"), ("final", "convnet")]
    named = [(one["labels"], one["subject"], one["arch"]) for one in found]
    assert named == [(labels, *of_set) for labels in ("online", "hard") for of_set in sets]
    rows = [line.split()[:4] for line in command(*asked).out.splitlines()]
    assert rows[1] == ["random", "on", "convnet", "online"] and rows[-1] == ["final", "on", "convnet", "hard"]
    with_regimes(finished)
    rows = [line.split()[:4] for line in command(*asked).out.splitlines()]
    assert [row[:-1] for row in rows[-2:]] == [["teacher", "-", "94.5"], ["mean", "of", "teacher"]], "as in `show`"


def test_evaluate_with_repeats_alone_trains_more_networks_of_what_the_run_evaluated(
    command: Callable, finished: Path
) -> None:
    found = json.loads(command("evaluate", "first", "--repeats", "7", "--json").out)
    assert [one["subject"] for one in found] == ["random", "initialization", "final"]
    assert {(one["labels"], one["repeats"]) for one in found} == {("stored", 7)}


def with_regimes(run: Path) -> None:
    """Adds a further label regime, a teacher and stored bytes to the metrics of a run."""
    metrics = json.loads((run / "result" / "metrics.json").read_text())
    own = {name: metrics[name] for name in ("random", "initialization", "final")}
    online = {name: figures | {"accuracy_mean": 90.0 + place} for place, (name, figures) in enumerate(own.items())}
    metrics |= {"labels": "stored", "regimes": {"stored": own, "online": online}}
    metrics["teacher"] = metrics["final"] | {"kind": "glmc", "accuracy_mean": 94.5, "mean_logits": metrics["final"]}
    metrics["stored_bytes"] = {"images_float32": 307_200, "images_uint8": 76_800, "labels_float32": 4_000}
    metrics["stored_bytes"] |= {"teacher_float32": 230_000, "whitening_float32": 37_700_000}
    (run / "result" / "metrics.json").write_text(json.dumps(metrics))


def test_show_names_the_label_regime_of_every_figure_where_there_are_several(command: Callable, finished: Path) -> None:
    assert "stored" not in command("show", "first").out, "one of stored labels alone has nothing to tell apart"
    with_regimes(finished)
    shown = command("show", "first")
    rows = [line.split() for line in shown.out.splitlines()]
    for row in (["final", "stored", "86.9"], ["random", "online", "90.0"], ["final", "online", "92.0"]):
        assert row in [one[:3] for one in rows]
    assert ["teacher", "-", "94.5"] in [one[:3] for one in rows]
    assert rows[rows.index([]) + 1][-4:] == ["final", "online", "final", "stored"], "by class, with bars of stored"
    assert "stored: images 307 kB (76.8 kB as 8 bits), labels 4.0 kB, teacher 230 kB, whitening 37.7 MB" in shown.out
    assert "published 53.4" in shown.out and "here 86.9 (+33.5)" in shown.out, "beside stored labels, as published"
    assert "with stored labels; random 60.0" in shown.err


def test_a_list_with_several_label_regimes_has_a_column_for_each(
    command: Callable, finished: Path, make_run: Callable
) -> None:
    csv_before, table_before = command("runs", "--csv").out, command("runs").out
    assert "stored" not in csv_before + table_before
    make_run("second")
    with_regimes(finished)
    table = [line.split() for line in command("runs").out.splitlines()]
    assert table[0][-6:] == ["stored", "labels", "%", "online", "labels", "%"]
    assert table[1][-6:] == ["86.9", "±", "0.7", "92.0", "±", "0.7"]
    titles, first, second = (line.split(",") for line in command("runs", "--csv").out.splitlines())
    values = dict(zip(titles, first, strict=True))
    assert (values["accuracy_mean"], values["labels"]) == ("86.9", "stored")
    assert (values["stored_mean"], values["online_mean"], values["online_std"]) == ("86.9", "92.0", "0.7")
    assert dict(zip(titles, second, strict=True))["online_mean"] == ""
    assert "| stored labels % | online labels % |" in command("runs", "--markdown").out
    (run, _) = json.loads(command("runs", "--json").out)
    assert run["accuracies"] == {"stored": [86.9, 0.7], "online": [92.0, 0.7]}


def test_evaluate_and_export_need_a_result(command: Callable, make_run: Callable) -> None:
    make_run("empty")
    for arguments in (["evaluate", "empty", "--arch", "convnet"], ["scores", "empty"], ["export", "empty"]):
        done = command(*arguments)
        assert done.code == 2 and "has no result yet" in done.err


def test_the_best_set_is_only_chosen_for_a_copy(command: Callable, finished: Path) -> None:
    done = command("export", "first", "--set", "best")
    assert done.code == 2 and "--set: best copies nothing by itself" in done.err and "--pt DIR" in done.err
    assert command("export", "first", "--set", "worst", "--pt", "x").code == 2


def test_without_a_command_and_a_terminal_it_suggests_quickstart(command: Callable) -> None:
    done = command()
    assert done.code == 2 and done.out == "" and "ltdd-tui run quickstart" in done.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["runs", "--nonsense"], ["show"], ["evaluate", "x"]])
def test_wrong_usage_exits_with_2_and_leaves_stdout_empty(command: Callable, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2 and done.out == ""


def test_version_option_prints_the_version(command: Callable) -> None:
    done = command("--version")
    assert done.code == 0 and done.out.startswith("ltdd-tui ")


def test_doctor_reports_torch_without_importing_it(command: Callable) -> None:
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


def test_completion_offers_runs_and_last(finished: Path) -> None:
    assert complete_run("f") == ["first"] and complete_run("") == ["first", "last"]


@pytest.mark.parametrize("text", ["{}", '{"final": 3}', "[1"])
def test_damaged_metrics_are_reported_and_rewritten_by_resume(command: Callable, finished: Path, text: str) -> None:
    (finished / "result" / "metrics.json").write_text(text)
    assert command("runs").code == 0
    shown = command("show", "first")
    assert shown.code == 2 and "resume first" in shown.err
    command("resume", "first")
    assert command("show", "first").code == 0


def test_an_os_error_is_reported_without_traceback(command: Callable, make_run: Callable) -> None:
    (make_run("first") / "stop").mkdir()
    done = command("resume", "first")
    assert done.code == 1 and done.err.startswith("error: ") and "stop" in done.err


def test_one_network_has_no_spread_in_the_list(command: Callable, finished: Path) -> None:
    metrics = json.loads((finished / "result" / "metrics.json").read_text())
    metrics["final"] |= {"repeats": 1, "accuracy_std": 0.0}
    (finished / "result" / "metrics.json").write_text(json.dumps(metrics))
    assert "86.9" in command("runs").out and "+-" not in command("runs").out
    assert json.loads(command("runs", "--json").out)[0]["accuracy_std"] is None
