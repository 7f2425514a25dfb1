"""`presets`, `estimate` and new runs: settings are written as asked for, and all errors come at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from ltdd_tui.cli.options import complete_preset
from ltdd_tui.runs import worker

TOY = """\
dataset: {name: digits, imbalance_factor: 50}
ipc: 2
experts: {num_experts: 8, epochs: 40, width: 32, depth: 2}
expected: {accuracy: 87.0, source: "[R] ours"}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return str(path)


def test_a_run_is_named_after_its_preset_and_method_with_a_number_if_taken(
    command: Callable, runs_dir: Path, toy: str
) -> None:
    for arguments in ([], [], ["--set", "method=datm"], ["--name", "mine"]):
        assert command("run", toy, *arguments).code == 0
    assert sorted(path.name for path in runs_dir.iterdir()) == ["mine", "toy", "toy-2", "toy-datm"]


def test_config_holds_every_setting_with_overrides_applied(command: Callable, runs_dir: Path, toy: str) -> None:
    assert command("run", toy, "--set", "matching.iterations=7", "--detach").code == 0
    config = yaml.safe_load((runs_dir / "toy" / "config.yaml").read_text())
    assert config["matching"]["iterations"] == 7 and config["experts"]["width"] == 32
    assert config["evaluate"]["momentum"] == 0.9, "defaults are written too"
    again = command("presets", "check", str(runs_dir / "toy" / "config.yaml"))
    assert again.code == 0


def test_a_relative_data_path_is_stored_as_absolute(
    command: Callable, runs_dir: Path, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for place in range(2):
            (tmp_path / "images" / "train" / name / f"{place}.png").touch()
    monkeypatch.chdir(tmp_path)
    natural = "dataset.imbalance_factor=natural"
    asks = ["--set", "dataset.name=folder", "--set", "dataset.path=images", "--set", natural]
    assert command("run", toy, *asks, "--detach").code == 0
    config = yaml.safe_load((runs_dir / "toy" / "config.yaml").read_text())
    assert config["dataset"]["path"] == str(tmp_path / "images")


def test_a_setting_of_an_older_version_is_a_warning_on_stderr(command: Callable, toy: str) -> None:
    shown = command("presets", "show", toy, "--set", "matching.keep_gib=2")
    assert shown.code == 0 and "keep_gib" not in shown.out
    assert shown.err.startswith("warning: --set: matching.keep_gib is no longer a setting")


def test_all_invalid_settings_are_reported_at_once_and_no_run_is_created(
    command: Callable, runs_dir: Path, toy: str
) -> None:
    done = command(
        "run",
        toy,
        "--set",
        "ipc=0",
        "--set",
        "method=foo",
        "--set",
        "matching.iteration=3",
        "--set",
        "experts.epochs=many",
        "--set",
        "dataset.imbalance_factor=0.5",
    )
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    for key in ("ipc", "method", "matching.iteration", "experts.epochs", "dataset.imbalance_factor"):
        assert key in done.err
    assert not runs_dir.exists()


@pytest.mark.parametrize("name", ["a/b", "", "..", "toy"])
def test_a_bad_or_taken_name_is_refused(command: Callable, runs_dir: Path, toy: str, name: str) -> None:
    assert command("run", toy).code == 0
    done = command("run", toy, "--name", name)
    assert done.code == 2 and ("hint: " in done.err or name == "")
    planned = command("run", toy, "--name", name, "--dry-run")
    assert (planned.code, planned.out, planned.err) == (2, "", done.err)
    assert [path.name for path in runs_dir.iterdir()] == ["toy"]


def test_a_name_taken_by_another_file_is_refused_and_not_called_a_run(
    command: Callable, runs_dir: Path, toy: str
) -> None:
    (runs_dir / "notes").mkdir(parents=True)
    (runs_dir / "gone").symlink_to("nowhere")
    for name in ("notes", "gone"):
        refused = [command("run", toy, "--name", name, *more) for more in ((), ("--dry-run",))]
        assert [done.code for done in refused] == [2, 2]
        assert all(f"something else is named '{name}'" in done.err for done in refused)


@pytest.mark.parametrize("value", ["1e308", "!!bool maybe", "!!int ''", "[&a 1, *a]"])
def test_an_override_with_an_invalid_value_exits_with_2(command: Callable, value: str) -> None:
    done = command("estimate", "quickstart", "--no-calibrate", "--set", f"ipc={value}")
    assert done.code == 2 and "ipc" in done.err and "Traceback" not in done.err


def test_an_unknown_preset_exits_with_2(command: Callable) -> None:
    done = command("run", "no-such-preset")
    assert done.code == 2 and "there is no preset 'no-such-preset'" in done.err


def test_a_dry_run_prints_every_value_with_its_origin_and_starts_nothing(
    command: Callable, runs_dir: Path, toy: str
) -> None:
    done = command("run", toy, "--dry-run", "--set", "ipc=3", "--device", "cpu")
    assert done.code == 0 and not runs_dir.exists()
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    assert rows["ipc"] == ["3", "--set"]
    assert rows["experts.width"][0] == "32" and "toy.yaml" in rows["experts.width"][1]
    assert rows["evaluate.momentum"] == ["0.9", "default"]
    assert "memory" in rows and "disk" in rows
    plan = json.loads(command("run", toy, "--dry-run", "--json", "--set", "ipc=3").out)
    assert {"key": "ipc", "value": 3, "origin": "--set"} in plan["settings"]
    assert plan["estimate"]["total_seconds"] > 0


def test_a_dry_run_reports_every_invalid_image_of_a_folder_data_set(
    command: Callable, toy: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for place in range(4):
            Image.new("RGB", (8, 8), (20 * place, 0, 0)).save(tmp_path / "images" / "train" / name / f"{place}.png")
    asks = ["run", toy, "--dry-run", "--set", "dataset.name=folder", "--set", f"dataset.path={tmp_path / 'images'}"]
    assert command(*asks, "--set", "dataset.imbalance_factor=natural").code == 0
    tail = command(*asks, "--set", "dataset.imbalance_factor=9")
    assert tail.code == 2 and "leaves no image for 1 classes" in tail.err
    train = tmp_path / "images" / "train"
    (train / "empty").mkdir()
    (train / "a" / "notes.txt").write_text("no image")
    (train / "b" / "0.png").write_bytes((train / "b" / "1.png").read_bytes()[:20])
    done = command(*asks)
    assert done.code == 2 and "ipc" in done.out, "the plan is printed all the same"
    for what in ("empty: this class has no images", "notes.txt: this is no image", "0.png: this is no image"):
        assert what in done.err
    assert done.err.count("error: ") == 3


def test_an_estimate_has_only_stages_that_take_time(command: Callable, toy: str) -> None:
    asked = ("estimate", toy, "--device", "cpu", "--no-calibrate", "--set", "method=random")
    own = command(*asked).out
    assert "baselines" in own and not any(stage in own for stage in ("bounds", "distill", "experts", "teacher"))
    assert "bounds" in command(*asked, "--set", "bounds.losses=[plain]").out


def test_the_matching_estimate_is_proportional_to_iterations(command: Callable, toy: str) -> None:
    def seconds(*more: str) -> float:
        found = json.loads(command("estimate", toy, "--json", "--device", "cpu", "--no-calibrate", *more).out)
        return float(found["matching_seconds"])

    assert seconds("--set", "matching.iterations=2000") == pytest.approx(
        2 * seconds("--set", "matching.iterations=1000"), rel=0.01
    )


def test_the_machine_is_calibrated_once_unless_asked_again(command: Callable, toy: str) -> None:
    rough = command("estimate", toy, "--device", "cpu", "--no-calibrate")
    assert "rough: nothing was timed on this machine" in rough.err
    first = command("estimate", toy, "--device", "cpu")
    assert "measuring this machine" in first.err and "timed on this machine at 2026-01-02" in first.err
    second = command("estimate", toy, "--device", "cpu", "--json")
    assert "measuring" not in second.err
    assert json.loads(second.out)["calibrated"].startswith("2026-01-02")
    assert "measuring" in command("estimate", toy, "--device", "cpu", "--calibrate").err


def test_compile_time_is_calibrated_only_for_settings_that_compile(command: Callable, toy: str) -> None:
    asks = ("estimate", toy, "--device", "cpu", "--set", "compile=always", "--set", "experts.network=alexnet")
    assert "measuring" in command("estimate", toy, "--device", "cpu").err
    first = command(*asks)
    assert "measuring" in first.err and "of it compiling" in first.out
    assert "measuring" not in command(*asks).err


def test_a_failed_calibration_is_reported_and_the_estimate_is_rough(
    command: Callable, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "raise SystemExit(2)"))
    done = command("estimate", toy, "--device", "cpu")
    assert done.code == 0 and "in all" in done.out
    assert "could not be measured" in done.err and "rough" in done.err


def test_an_estimate_without_the_data_is_null(command: Callable, toy: str) -> None:
    done = command("estimate", toy, "--set", "dataset.name=folder", "--json")
    assert "measuring" not in done.err
    assert done.code == 0 and json.loads(done.out)["total_seconds"] is None


def test_a_saved_preset_is_listed_shown_and_not_overwritten(command: Callable, toy: str) -> None:
    saved = command("presets", "save", toy, "mine", "--set", "ipc=4")
    assert saved.code == 0 and Path(saved.out.strip()).is_file()
    (listed,) = (row for row in json.loads(command("presets", "list", "--json").out) if row["name"] == "mine")
    assert (listed["ipc"], listed["dataset"], listed["imbalance_factor"]) == (4, "digits", 50.0)
    assert "mine" in command("presets", "list").out
    shown = command("presets", "show", "mine")
    assert yaml.safe_load(shown.out)["ipc"] == 4
    assert json.loads(command("presets", "show", "mine", "--json").out)["ipc"] == 4
    assert command("presets", "save", toy, "mine").code == 2


def test_a_saved_preset_holds_only_its_changes_and_does_not_depend_on_files_outside_presets(
    command: Callable, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(base: str, name: str, *more: str) -> str:
        return Path(command("presets", "save", base, name, *more).out.strip()).read_text()

    assert saved("quickstart", "mine", "--set", "ipc=4") == "extends: quickstart\nipc: 4\n"
    # A file elsewhere may be moved: the saved preset extends what that file extends, if anything.
    (tmp_path / "child.yaml").write_text("extends: mine\nseed: 3\n")
    child = saved(str(tmp_path / "child.yaml"), "child", "--set", "ipc=5")
    assert child == "extends: mine\nipc: 5\nseed: 3\n"
    alone = saved(toy, "alone")
    assert "extends" not in alone and len(alone.splitlines()) < 15
    before = command("presets", "show", toy).out
    Path(toy).unlink()
    assert command("presets", "show", "alone").out == before
    # When it overwrites a preset that its base extends, extending that base would be a circle.
    assert saved("child", "mine", "--overwrite") == "extends: quickstart\nipc: 5\nseed: 3\n"
    for name in ("a", "b"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for place in range(2):
            (tmp_path / "images" / "train" / name / f"{place}.png").touch()
    monkeypatch.chdir(tmp_path)
    own = saved("quickstart", "own", "--set", "dataset.name=folder", "--set", "dataset.path=images")
    assert f"path: {tmp_path / 'images'}" in own


def test_completion_offers_presets(command: Callable, toy: str) -> None:
    command("presets", "save", toy, "zebra")
    assert complete_preset("zeb") == ["zebra"]
