"""The plan of a form: cost, cache, names, faults; and settings that are found by name, explained and shown."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from engine.run.device_profiles import CUDA, Calibration, torch_version, write_calibration
from engine.run.errors import InputError
from engine.run.expert_cache import about_representation, expert_file, experts_root, representation_epochs
from engine.run.folder import cache_root
from engine.run.methods import METHODS
from engine.run.presets import load_preset, resolve
from engine.run.schema import leaves
from engine.run.settings import RunSettings
from ltdd_tui.cli import run
from ltdd_tui.launch import machine, sweeps
from ltdd_tui.launch.create import cell_name, prepare
from ltdd_tui.launch.form import METHOD_HELP, NAME, PlanLine, field_help, find_settings, form_of_preset
from ltdd_tui.launch.machine import Needs
from ltdd_tui.launch.plan import plan_lines, plan_run
from ltdd_tui.runs import worker
from ltdd_tui.screens.launch.dialogs import annotated, as_yaml


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def cache_experts(settings: RunSettings, count: int) -> None:
    """Files that look like experts from outside: a header, and as many bytes as it says."""
    folder = experts_root() / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text(json.dumps(about_representation(settings, "cpu", [3, 2], "eager", True)))
    rows = representation_epochs(settings) + 2
    header = json.dumps({"weights": {"dtype": "F32", "shape": [rows, 1], "data_offsets": [0, 4 * rows]}}).encode()
    for expert in range(count):
        expert_file(folder, expert).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * rows))


def test_cached_experts_are_told_and_take_no_time(tmp_path: Path) -> None:
    # Compiling costs time once for all experts, so the plan would not reach 0.
    form = form_of_preset("quickstart", "cpu").with_text("compile", "never")
    full = plan_run(form, tmp_path)
    cache_experts(form.base, 6)
    plan = plan_run(form, tmp_path)
    assert full.cached == (0, 0, 0) and plan.cached == (6, 0, 0)
    assert full.estimate is not None and plan.estimate is not None
    assert plan.estimate.experts_seconds == pytest.approx(full.estimate.experts_seconds / 4)
    assert plan.estimate.total_seconds < full.estimate.total_seconds
    said = {line.label: line.text for line in plan_lines(plan, stages_in_a_line=True)}
    assert said["experts"] == "6 of 8 in the cache, 0 classifier experts"
    assert plan_run(form.with_text("seed", "1"), tmp_path).cached == (0, 0, 0)


def test_a_run_too_large_for_this_machine_is_marked(tmp_path: Path) -> None:
    form = form_of_preset("quickstart", "cpu").with_text("experts.width", "100000")
    memory = next(
        line for line in plan_lines(plan_run(form, tmp_path), stages_in_a_line=False) if line.label == "memory"
    )
    assert memory.warns


def test_a_run_too_large_for_a_gpu_that_was_measured_is_marked(tmp_path: Path) -> None:
    form = form_of_preset("quickstart", "cuda:0").with_text("experts.width", "100000")

    def memory() -> PlanLine:
        return next(
            line for line in plan_lines(plan_run(form, tmp_path), stages_in_a_line=False) if line.label == "memory"
        )

    assert " of " not in memory().text and not memory().warns, "what it has is not known"
    rates = (CUDA.rates, CUDA.compiled_rates)
    when = "2026-01-02T03:04:05+00:00"
    measured = Calibration("cuda:0", "H100", 2, torch_version(), when, 9.5, 0.0, False, 0.3, *rates, memory_gib=79.2)
    write_calibration(measured, [])
    assert memory().text.endswith(" of 79.2 GiB") and memory().warns


def test_names_follow_the_cell_and_are_free(tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "config.yaml").touch()
    form = form_of_preset("quickstart", "cpu")
    assert plan_run(form, tmp_path).name == "quickstart-2"
    assert plan_run(form.with_text("method", "datm"), tmp_path).name == "quickstart-datm"
    assert plan_run(form.with_text("ipc", "5"), tmp_path).name == "digits-lt-if50-ipc5"
    taken = plan_run(form.with_text(NAME, "quickstart"), tmp_path)
    assert "there is a run named" in taken.faults[NAME].what
    dataset = {"name": "folder", "path": "/data/My moles! 2024/", "imbalance_factor": "natural"}
    assert (
        cell_name(RunSettings.model_validate({"dataset": dataset, "method": "mtt"}))
        == "My-moles-2024-natural-ipc10-mtt"
    )


def test_faults_of_values_folder_and_name_come_together_in_the_order_of_the_form(tmp_path: Path) -> None:
    form = form_of_preset("quickstart", "cpu")
    for key, text in ((NAME, "a/b"), ("matching.beta", "0"), ("dataset.name", "folder"), ("ipc", "x")):
        form = form.with_text(key, text)
    assert list(plan_run(form, tmp_path).faults) == ["dataset.path", "ipc", NAME, "matching.beta"]


def test_a_folder_is_counted_anew_when_it_changes(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 5)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "train" / name / f"{i}.png").touch()
    form = (
        form_of_preset("quickstart", "cpu").with_text("dataset.name", "folder").with_text("dataset.path", str(tmp_path))
    )
    runs = tmp_path / "runs"
    first = plan_run(form, runs).tail
    assert first is not None and first.counts == (8, 4)
    (tmp_path / "train" / "b" / "more.png").touch()
    second = plan_run(form, runs).tail
    assert second is not None and second.counts == (8, 5)
    for image in (tmp_path / "train" / "b").iterdir():
        image.unlink()
    third = plan_run(form, runs)
    assert third.tail is None and "this class has no images" in third.faults["dataset.path"].what


def test_a_fault_of_a_folder_is_told_at_its_path_with_the_place_below_it(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "b").symlink_to("gone")
    form = form_of_preset("quickstart", "cpu").with_text("dataset.name", "folder")
    told = plan_run(form.with_text("dataset.path", str(tmp_path)), tmp_path / "runs").faults["dataset.path"].what
    assert told == "train/b: the target of this link is missing (and 1 more like this)"


def test_a_folder_taken_as_the_test_set_is_told_in_the_plan(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").touch()
    form = form_of_preset("quickstart", "cpu").with_text("dataset.name", "folder")
    plan = plan_run(form.with_text("dataset.path", str(tmp_path)), tmp_path / "runs")
    line = PlanLine("data", "val/ is the test set, as there is no test/", warns=True)
    assert line in plan_lines(plan, stages_in_a_line=True)


def test_a_dry_run_is_a_preset_with_the_origin_of_every_value() -> None:
    resolved = resolve("cifar10-lt-if100-ipc10", ["matching.image_lr=50"])
    lines = annotated(resolved)
    # Of a key in several blocks the first one counts.
    origins = {line.head.strip(): line.origin for line in reversed(lines)}
    assert origins["image_lr:"] == "typed here" and origins["name:"] == "_cifar10-lt.yaml:4"
    assert origins["imbalance_factor:"] == "cifar10-lt-if100-ipc10.yaml:6" and origins["compile:"] == "default"
    assert RunSettings.model_validate(yaml.safe_load(as_yaml(lines))) == resolved.settings


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("image_lr", "matching.image_lr"),
        ("evaluate.momentum", "evaluate.momentum"),
        ("Image LR", "matching.image_lr"),
        ("ipc", "ipc"),
        ("zca", "dataset.whitening"),
        ("gsam_r", "experts.gsam_rho"),
    ],
)
def test_settings_are_found_by_name_and_by_what_they_are_for(query: str, first: str) -> None:
    assert find_settings(query)[0].key == first


def test_nothing_is_found_for_nothing() -> None:
    assert find_settings("") == find_settings("xyzzy") == []


def test_help_says_range_unit_default_and_source() -> None:
    form = form_of_preset("quickstart")
    assert field_help("matching.image_lr", form)[1] == "a number >= 0, whitened pixel, default 100 (official code)"
    assert field_help("dataset.imbalance_factor", form)[1] == "a number >= 1 or natural, x, default natural (ours)"
    assert field_help("ipc", form.with_text("ipc", "7"))[1].endswith("default 10 (paper), preset 2")
    assert all(field_help(key, form)[0] for key in leaves() if not key.startswith("expected"))
    assert set(METHODS) - set(METHOD_HELP) == set(), "each method has help of its own"


def test_every_preset_can_be_told(tmp_path: Path) -> None:
    for preset in ("tiny-imagenet-lt-if10-ipc10", "imagenet-lt-if5-ipc10", "cifar100-lt-if10-ipc50"):
        plan = plan_run(form_of_preset(preset, "cpu"), tmp_path)
        assert plan.settings == load_preset(preset) and plan.tail is not None and plan.estimate is not None


@pytest.mark.parametrize("dataset", ["folder", "imagenet-lt", "tiny-imagenet"])
def test_hints_beside_fields_name_no_option_of_the_command_line(dataset: str, tmp_path: Path) -> None:
    plan = plan_run(form_of_preset("quickstart", "cpu").with_text("dataset.name", dataset), tmp_path)
    hint = plan.faults["dataset.path"].hint
    assert hint.startswith("the folder with") and "--" not in hint


# ---- Room ----


@pytest.mark.parametrize(
    ("memory", "free", "lacking", "close"),
    [
        (16.0, 90.0, [], []),
        (2.5, 90.0, [], ["cpu: memory may be too little: 2.1 GiB of 2.5 GiB"]),
        (1.9, 90.0, [], ["cpu: memory may be too little: 2.1 GiB of 1.9 GiB"]),
        (1.0, 90.0, ["too little memory: 2.1 GiB of 1.0 GiB"], []),
        (16.0, 2.0, [], ["RUNS: free disk may be too little: 1.9 GiB, 2.0 GiB free"]),
        (1.0, 1.0, ["too little memory: 2.1 GiB of 1.0 GiB", "too little free disk: 1.9 GiB, 1.0 GiB free"], []),
        (None, None, [], []),
    ],
)
def test_what_certainly_does_not_fit_is_refused_and_what_is_close_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory: float | None,
    free: float | None,
    lacking: list[str],
    close: list[str],
) -> None:
    monkeypatch.setattr(machine, "memory_gib", lambda device: memory)
    monkeypatch.setattr(machine, "free_gib", lambda place: free)
    here = replace(machine.device_here("cpu"), name="cpu")
    # Of 2.1 GiB of memory 0.9 are mapped from files; on the disk 0.4 of these are still to be written.
    found = machine.rooms(Needs(1.2, 0.9, 1.5, 0.4), here, tmp_path / "runs")
    if lacking:
        with pytest.raises(InputError) as refused:
            machine.check_room(found)
        assert [fault.what for fault in refused.value.faults] == lacking
        assert not lacking[1:] or "--runs-dir" in refused.value.faults[1].hint
    else:
        assert machine.check_room(found) == [line.replace("RUNS", str(tmp_path / "runs")) for line in close]


def test_the_disks_of_runs_and_cache_count_each_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_gib", lambda place: 1.0)
    monkeypatch.setattr(machine, "on_one_disk", lambda *_: False)
    monkeypatch.setattr(machine, "memory_gib", lambda device: 16.0)
    found = machine.rooms(Needs(1.0, 0.0, 0.5, 3.0), machine.device_here("cpu"), tmp_path)
    with pytest.raises(InputError) as refused:
        machine.check_room(found)
    (fault,) = refused.value.faults
    assert (fault.what, fault.where) == ("too little free disk of the cache: 3.0 GiB, 1.0 GiB free", str(cache_root()))
    assert "LTDD_CACHE" in fault.hint


@pytest.mark.parametrize(
    ("groups", "files", "gib"),
    [
        ("0::/job/7\n", {"job/memory.max": 2 << 30, "job/7/memory.max": "max"}, 2.0),
        ("0::/outside/of/it\n", {"memory.max": 3 << 30}, 3.0),
        ("5:cpu,cpuacct:/x\n4:memory:/x\n", {"memory/x/memory.limit_in_bytes": 1 << 30}, 1.0),
        ("4:memory:/x\n", {"memory/memory.limit_in_bytes": (1 << 63) - 4096}, float(1 << 33)),
        ("", {}, float("inf")),
    ],
)
def test_the_memory_of_the_control_group_counts(
    tmp_path: Path, groups: str, files: dict[str, int | str], gib: float
) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert machine.control_group_gib(tmp_path / "groups", tmp_path) == pytest.approx(gib)


def test_a_run_that_does_not_fit_is_refused_before_its_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_gib", lambda place: 0.001)
    with pytest.raises(InputError, match="too little free disk: 8 MiB, 1 MiB free"):
        prepare("quickstart", [], tmp_path / "runs", None)
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(machine, "free_gib", lambda place: 0.0085)
    told: list[str] = []
    assert prepare("quickstart", [], tmp_path / "runs", None, note=told.append).exists()
    assert len(told) == 1 and "free disk may be too little: 8 MiB, 9 MiB free" in told[0]


def test_a_run_whose_rest_does_not_fit_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = prepare("quickstart", [], tmp_path / "runs", None)
    monkeypatch.setattr(worker, "launch", lambda *_: pytest.fail("a worker was started"))
    monkeypatch.setattr(machine, "needs_of", lambda *_: Needs(0.1, 0.0, 0.008, 0.0))
    monkeypatch.setattr(machine, "free_gib", lambda place: 0.001)
    resumed_from_shell = partial(run.resume, str(folder.root), tmp_path / "runs")
    for resumed in (resumed_from_shell, partial(sweeps.resume, folder, "cpu")):
        with pytest.raises(InputError, match="too little free disk: 8 MiB, 1 MiB free"):
            resumed()
    monkeypatch.setattr(machine, "free_gib", lambda place: 0.005)
    (folder.root / "written").write_bytes(bytes(4 << 20))
    assert machine.check_rest(folder, "cpu") == [f"{folder.root}: free disk may be too little: 4 MiB, 5 MiB free"]
    folder.config.write_text("damaged")
    assert machine.check_rest(folder, "cpu") == [], "the worker says what is wrong with it"
