"""`cache` and `verify`: what is listed, chosen and deleted, and which damage is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run import regular_files
from engine.run.checksums import sealed_json, sealed_line, sealed_safetensors
from engine.run.expert_cache import about_representation
from engine.run.folder import RunFolder, exclusive, write_atomically, write_json
from engine.run.manifest import DataRecord, Worker, change_manifest
from engine.run.presets import load_preset
from engine.run.settings import settings_hash
from ltdd_tui.cli.cache import CacheEntry, cache_entries, to_prune
from ltdd_tui.cli.verify import Verified
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.messages import notice
from ltdd_tui.runs.notes import Notes, write_notes
from ltdd_tui.runs.results import RunSummaryReader
from tests.ltdd_tui.recorded import record

KEPT = sorted(path for path in (Path(__file__).parents[2] / "fixtures").iterdir() if path.is_dir())
HEADER = b'{"weights":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}'
NETWORK = {"per_class": [50.0, 25.0], "norms": [1.0, 1.5]}
EXPERT = sealed_safetensors(struct.pack("<Q", len(HEADER)) + HEADER + bytes(8))


@pytest.fixture
def cache(tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with experts that the run `own` would take, others that nobody would, and an evaluation; ages in days."""
    root = tmp_path / "cache"
    monkeypatch.setattr("ltdd_tui.cli.cache.evaluations_root", lambda: root / "evaluations")
    monkeypatch.setattr("ltdd_tui.cli.verify.evaluations_root", lambda: root / "evaluations")
    settings = load_preset("quickstart")
    (runs_dir / "own").mkdir(parents=True)
    (runs_dir / "own" / "config.yaml").write_text("extends: quickstart\n")
    about = about_representation(settings, "cpu", None, "eager", False)
    for name, made_by, days in (("used", about, 9), ("old", about | {"seed": 7}, 8), ("new", about | {"seed": 8}, 1)):
        write_json(root / "experts" / name / "about.json", made_by, sealed=True)
        write_atomically(root / "experts" / name / "0000.safetensors", EXPERT)
        (root / "experts" / name / "lock").touch()
        aged(root / "experts" / name / "about.json", days)
    write_atomically(root / "evaluations" / "0a.json", sealed_json([NETWORK]))
    aged(root / "evaluations" / "0a.json", 10)
    (root / "data").mkdir()
    (root / "data" / "cifar.bin").write_bytes(bytes(1000))
    return root


def aged(path: Path, days: float) -> None:
    os.utime(path, (0, path.stat().st_mtime - days * 86400))


def test_a_cache_is_listed_with_the_runs_that_would_take_it(command: Callable, cache: Path) -> None:
    found = {entry["path"]: entry for entry in json.loads(command("cache", "list", "--json").out)}
    used = found[str(cache / "experts" / "used")]
    assert (used["kind"], used["runs"]) == ("representation experts", ["own"]) and used["size"] > len(EXPERT)
    assert found[str(cache / "experts" / "old")]["runs"] == []
    table = command("cache", "list")
    assert "experts/used" in table.out and "digits IF 50 convnet 32 x 2" in table.out and "data sets" in table.out


@pytest.mark.parametrize(
    ("options", "goes"),
    [
        (["--unused"], ["experts/old", "experts/new"]),
        (["--older-than", "5"], ["experts/old", "evaluations/0a.json", "experts/used"]),
        (["--older-than", "5", "--unused"], ["experts/old"]),
        (["--to", "0"], ["evaluations/0a.json", "experts/old", "experts/new", "experts/used"]),
        (["--to", "1"], []),
    ],
    ids=lambda one: " ".join(one),
)
def test_what_is_pruned(command: Callable, cache: Path, options: list[str], goes: list[str]) -> None:
    told = command("cache", "prune", *options, "--dry-run")
    assert {line.split("\t")[0] for line in told.out.splitlines()} == set(goes)
    assert all((cache / name).exists() for name in goes), "a dry run deletes nothing"
    assert command("cache", "prune", *options).out == told.out
    assert not any((cache / name).exists() for name in goes) and (cache / "data" / "cifar.bin").exists()


def test_only_so_much_is_pruned_as_the_size_asks_for_and_what_no_run_takes_goes_first(tmp_path: Path) -> None:
    entries = [
        CacheEntry("experts", tmp_path / name, used, 100, runs=runs, can_go=can_go)
        for name, used, runs, can_go in (
            ("a", 1, ("r",), True),
            ("b", 3, (), True),
            ("c", 2, (), True),
            ("d", 0, (), False),
        )
    ]
    order = [entry.path.name for entry in to_prune(entries, 10, False, None, 150)]
    assert order == ["c", "b", "a"] and len(to_prune(entries, 10, False, None, 250)) == 2
    assert [entry.path.name for entry in to_prune(entries, 2.5, False, None, 0)] == ["c", "a"], "used since 2.5"


def test_what_a_worker_uses_is_kept(command: Callable, cache: Path, runs_dir: Path) -> None:
    with exclusive(cache / "experts" / "old" / "lock", "held"):
        told = command("cache", "prune", "--to", "0")
    assert "kept, as a worker uses it: experts/old" in told.err and (cache / "experts" / "old").exists()
    assert not (cache / "experts" / "used").exists()
    with RunFolder(runs_dir / "own").held():
        aged(runs_dir / "own" / "lock", 20)
        assert command("cache", "prune", "--to", "0").out == "", "all was used since that worker began"


def test_the_experts_of_a_run_whose_settings_were_edited_are_used(
    command: Callable, cache: Path, runs_dir: Path
) -> None:
    write_json(runs_dir / "own" / "manifest.json", {"settings_hash": "another"})
    (runs_dir / "own" / "checkpoint").mkdir()
    assert "experts/used" not in command("cache", "prune", "--unused", "--dry-run").out
    (runs_dir / "own" / "config.yaml").write_text("[")
    assert "what it uses is not known" in command("cache", "prune", "--unused", "--dry-run").err


def test_the_experts_of_a_sweeps_cells_are_used_and_a_link_goes_without_what_it_leads_to(
    command: Callable, cache: Path, runs_dir: Path, tmp_path: Path
) -> None:
    (runs_dir / "many" / "seed0").mkdir(parents=True)
    (runs_dir / "many" / "sweep.yaml").write_text("preset: quickstart\ngrid: {seed: [0]}\n")
    (runs_dir / "own" / "config.yaml").rename(runs_dir / "many" / "seed0" / "config.yaml")
    found = {entry["path"]: entry["runs"] for entry in json.loads(command("cache", "list", "--json").out)}
    assert found[str(cache / "experts" / "used")] == ["many/seed0"]
    (tmp_path / "elsewhere").mkdir()
    (cache / "experts" / "link").symlink_to(tmp_path / "elsewhere")
    command("cache", "prune", "--to", "0")
    assert not os.path.lexists(cache / "experts" / "link") and (tmp_path / "elsewhere").is_dir()
    assert not (cache / "experts" / "old").exists(), "what comes after it goes too"


def test_nothing_is_pruned_without_a_choice(command: Callable, cache: Path) -> None:
    told = command("cache", "prune")
    assert told.code == 2 and "--older-than DAYS" in told.err and len(cache_entries(cache)) == 5


@pytest.mark.parametrize("name", ["experts/old/0000.safetensors", "experts/old/about.json", "evaluations/0a.json"])
def test_damage_in_the_cache_is_named_and_removed_on_demand(command: Callable, cache: Path, name: str) -> None:
    assert command("cache", "verify").code == 0
    content = bytearray((cache / name).read_bytes())
    content[-5] ^= 4
    (cache / name).write_bytes(content)
    told = command("cache", "verify")
    assert told.code == 1 and told.out == f"{name}: damaged: its content does not match its checksum\n"
    if name.endswith(".json"):
        (cache / name).write_bytes(sealed_json({}))
        assert f"{name}: damaged: " in command("cache", "verify").out, "whole, but something else"
    assert command("cache", "verify", "--remove").code == 0 and not (cache / name).exists()
    assert command("cache", "verify").code == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose set has a checksum, with each kind of JSON file."""
    folder = record(tmp_path_factory.mktemp("runs") / "whole", "done", 20)
    lines = folder.events.read_text().splitlines()
    folder.events.write_text("".join(f"{sealed_line(line)}\n" for line in lines))
    write_atomically(folder.distilled, EXPERT)
    write_json(folder.metrics, json.loads(folder.metrics.read_text()), sealed=True)
    worker = Worker(device="cpu", device_name="Xeon", threads=1)
    change_manifest(folder, settings_hash=settings_hash(load_preset(str(folder.config))), workers=[worker])
    write_json(folder.data, DataRecord(class_names=["a"], train_counts=[1], test_images=1).model_dump(), sealed=True)
    write_json(folder.checkpoint / "checks.json", {str(at): 9.5 for at in range(0, 21, 2)}, sealed=True)
    write_json(folder.checkpoint / "seconds.json", {"data": 1.5}, sealed=True)
    write_json(folder.evaluations / "random-convnet-0.json", [NETWORK], sealed=True)
    write_json(folder.evaluations / "bound-plain-0.json", NETWORK, sealed=True)
    write_notes(folder, Notes(("paper",)))
    return folder.root


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("result/distilled.safetensors", flipped, "damaged: its content does not match its checksum"),
        ("result/distilled.safetensors", None, "it is missing, and the run has metrics"),
        ("result/metrics.json", flipped, "damaged: its content does not match its checksum"),
        (
            "result/metrics.json",
            lambda content: re.sub(rb'"checksum": "[^"]*",', b"", content),
            "it has no checksum any more",
        ),
        ("result/grid.png", lambda content: content[:-40], "damaged: "),
        ("previews/000000.json", lambda content: b"{", "damaged: "),
        ("events.jsonl", lambda content: b"?\n" + content, "1 lines are no events, the first is line 1"),
        ("events.jsonl", lambda content: b"", "no event tells that the run began, and it has begun"),
        ("events.jsonl", None, "no event tells that the run began, and it has begun"),
        ("config.yaml", lambda content: b"seed: x", "seed: a whole number is needed"),
        # Whole, but something else.
        ("manifest.json", lambda content: b"{}", "it names no settings, and the run has begun"),
        ("manifest.json", lambda content: b'{"threads": "2"}', "damaged: threads: input should be a valid integer"),
        ("manifest.json", None, "it names no settings, and the run has begun"),
        ("data.json", lambda content: b"{}", "damaged: class_names: field required"),
        ("data.json", None, "it is missing, and the run has begun"),
        ("notes.json", lambda content: b"[]", "damaged: input should be a valid dictionary"),
        ("checkpoint/checks.json", lambda content: b'{"0": true}', "damaged: 0: input should be a valid number"),
        ("checkpoint/checks.json", lambda content: b"{}", "it lacks the checks of iterations 0, 2, 4"),
        ("checkpoint/seconds.json", lambda content: b'{"data": -1}', "damaged: data: input should be greater than or"),
        (
            "checkpoint/evaluations/random-convnet-0.json",
            lambda content: b"{}",
            "damaged: it holds no trained networks",
        ),
        ("checkpoint/evaluations/bound-plain-0.json", lambda content: b"{}", "damaged: it holds no trained networks"),
        ("previews/000000.json", lambda content: b"{}", "damaged: input should be a valid list"),
        (None, None, "0 faults"),
    ],
)
def test_damage_in_a_run_is_named(
    command: Callable, whole: Path, runs_dir: Path, name: str | None, damage: Callable[[bytes], bytes] | None, says: str
) -> None:
    shutil.copytree(whole, runs_dir / "own")
    if name is not None:
        path = runs_dir / "own" / name
        content = path.read_bytes()
        path.unlink()
        if damage:
            path.write_bytes(damage(content))
    told = command("verify", "own")
    assert told.code == (name is not None) and says in told.out + told.err
    lines = [line for line in told.out.splitlines() if name and name in line]
    assert name is None or (len(lines) == 1 and says in lines[0]), told.out


def test_a_sweep_is_verified_run_by_run_and_what_is_no_file_is_told(
    command: Callable, whole: Path, runs_dir: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(whole, runs_dir / "many" / name)
    (runs_dir / "many" / "sweep.yaml").write_text("preset: quickstart\ngrid: {seed: [0]}\n")
    path = runs_dir / "many" / "b" / "result" / "distilled.safetensors"
    path.unlink()
    os.mkfifo(path)
    told = command("verify", "many")
    assert told.code == 1 and told.out.startswith("b/result/distilled.safetensors: it is no file\n")
    assert "a: " in told.err and "0 faults" in told.err


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_a_run_of_an_older_version_is_whole(command: Callable, folder: Path) -> None:
    told = command("verify", str(folder))
    assert (told.code, told.out) == (0, "") and told.err.endswith(": 0 faults\n")


def test_a_file_is_read_once(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = list[str](), regular_files.opened_if_regular
    monkeypatch.setattr(regular_files, "opened_if_regular", lambda *given: opened.append(given[0]) or real(*given))
    for name in ("checkpoint/checks.json", "result/distilled.safetensors"):
        Verified().look(whole / name, name)
    assert opened == [str(whole / "checkpoint/checks.json"), str(whole / "result/distilled.safetensors")]


@pytest.mark.parametrize("name", ["distilled.safetensors", "metrics.json"])
def test_a_damaged_result_is_refused_by_name_and_told_on_the_screen(
    command: Callable, whole: Path, runs_dir: Path, name: str
) -> None:
    folder = RunFolder(shutil.copytree(whole, runs_dir / "own"))
    live = LiveRun(folder)
    live.read(9.0)
    assert live.view.damage is None and command("show", "own").code == 0
    path = folder.result / name
    path.write_bytes(flipped(path.read_bytes()))
    for options in ([], ["--json"]):
        told = command("show", "own", *options)
        assert (told.code, told.out) == (2, "") and f"{name}: the file is damaged: its content does not" in told.err
    live = LiveRun(folder)
    live.read(9.0)
    box = notice(live.view, starting=False)
    assert box and box.title == "the result is damaged" and name in box.lines[0]
    reader = RunSummaryReader(folder)
    reader.read()
    assert any(name in fault.where for fault in reader.summary.faults)
