"""A run keeps to the data that it began with: other data is refused with what changed, and nothing of it is written."""

from __future__ import annotations

import json
import shutil
import signal
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import pipeline
from engine.__main__ import main
from engine.context import Context
from engine.resume import load_run_data
from engine.run import datasets
from engine.run.errors import InputError
from engine.run.event_log import EventLog, told_since_start
from engine.run.events import DataReady, Event, RunStarted, Warned
from engine.run.folder import RunFolder
from engine.run.presets import dump
from engine.run.settings import RunSettings
from ltdd_tui.runs.live import replayed
from tests.engine.tiny_run import figures, tiny_context, tiny_settings

COUNTS = {"cat": 6, "dog": 4, "fox": 3}


def paint(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(level + np.arange(64).reshape(8, 8))).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """6 cats, 4 dogs and 3 foxes to train on, and 10 of each to test on."""
    root = tmp_path / "images"
    for label, (name, count) in enumerate(COUNTS.items()):
        for i in range(count):
            paint(root / "train" / name / f"{i}.png", 40 * label + i)
        for i in range(10):
            paint(root / "test" / name / f"{i}.png", 40 * label + 10 + i)
    return root


def settings_for(images: Path, **more: object) -> RunSettings:
    dataset = {"name": "folder", "path": str(images), "whitening": "none"} | more
    evaluate = {"repeats": 2, "epochs": 1}
    return tiny_settings("random", dataset=dataset, experts={"width": 4, "depth": 2}, evaluate=evaluate)


def begun(root: Path, settings: RunSettings) -> tuple[Context, list[Event]]:
    """A run whose data stage is done."""
    events: list[Event] = []
    context = tiny_context(root / "run", settings, events)
    with context.clock.timed("data"):
        load_run_data(context)
    return context, events


def more_foxes(images: Path) -> None:
    for i in range(31):
        paint(images / "train" / "fox" / f"more {i}.png", i)


def new_class(images: Path) -> None:
    for split in ("train", "test"):
        paint(images / split / "bird" / "0.png", 200)


def renamed_class(images: Path) -> None:
    for split in ("train", "test"):
        (images / split / "dog").rename(images / split / "doggy")


def no_fox(images: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(images / split / "fox")


def swapped_names(images: Path) -> None:
    for split in ("train", "test"):
        (images / split / "cat").rename(images / split / "x")
        (images / split / "dog").rename(images / split / "cat")
        (images / split / "x").rename(images / split / "dog")


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (more_foxes, "train/fox: 34, was 3"),
    (lambda images: (images / "train" / "cat" / "0.png").unlink(), "train/cat: 5, was 6"),
    (lambda images: (images / "test" / "dog" / "0.png").unlink(), "test/dog: 9, was 10"),
    (new_class, "class bird is new"),
    (renamed_class, "class doggy is new; class dog is gone"),
    (no_fox, "class fox is gone"),
    (swapped_names, "train/cat: 4, was 6; train/dog: 6, was 4"),
    (lambda images: paint(images / "train" / "cat" / "0.png", 90), "same counts, other pixels"),
    (lambda images: paint(images / "test" / "cat" / "0.png", 90), "same counts, other pixels"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_other_data_is_refused_with_what_changed(
    images: Path, tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    context, events = begun(tmp_path, settings_for(images))
    before, record = list(events), context.folder.data.read_bytes()
    shutil.copytree(images, tmp_path / "kept")
    change(images)
    with pytest.raises(InputError) as refused:
        load_run_data(context)
    (fault,) = refused.value.faults
    assert fault.what == f"the data has changed since the run began: {told}"
    assert fault.where == str(images) and "start a new run" in fault.hint
    assert events == before and context.folder.data.read_bytes() == record, "nothing is written of other data"
    shutil.rmtree(images)
    (tmp_path / "kept").rename(images)
    load_run_data(context)


def test_counts_of_a_version_that_rounded_the_tail_otherwise_are_not_blamed_on_the_images(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(datasets, "class_counts", lambda *_: [6, 3, 1])
        context, _ = begun(tmp_path, settings_for(images, imbalance_factor=3))
    with pytest.raises(InputError, match=r"train/fox: 2, was 1\n.*another version of ltdd-tui, which counted the tail"):
        load_run_data(context)


def test_of_many_changes_the_first_are_named(tmp_path: Path, images: Path) -> None:
    for i in range(20):
        for split in ("train", "test"):
            paint(images / split / f"kind {i}" / "0.png", i)
    context, _ = begun(tmp_path, settings_for(images))
    for i in range(20):
        paint(images / "train" / f"kind {i}" / "1.png", i)
    with pytest.raises(InputError, match=r"kind 7: 2, was 1 and 12 more"):
        load_run_data(context)


@pytest.mark.parametrize("damage", [None, "", "[]", '{"class_names": ["cat"]}', '{"class_names": 3}'])
def test_a_run_of_an_older_version_is_held_to_its_first_event(images: Path, tmp_path: Path, damage: str | None) -> None:
    context, events = begun(tmp_path, settings_for(images))
    log = EventLog(context.folder.events)
    log.emit(RunStarted("run", "ltdd", "folder", 1.0, 2, 0, "convnet", "cpu", [], 3, "", 1, resumed=False))
    for event in events:
        log.emit(event)
    log.emit(DataReady(["cat"], [34], [""], "", 10, 1.0))  # by an older version, which took other data without a word
    context.folder.data.unlink() if damage is None else context.folder.data.write_text(damage)
    more_foxes(images)
    with pytest.raises(InputError, match="train/fox: 34, was 3"):
        load_run_data(context)
    for file in (images / "train" / "fox").glob("more*"):
        file.unlink()
    load_run_data(context)
    assert json.loads(context.folder.data.read_text())["train_counts"] == [6, 4, 3]


def test_a_run_that_begins_anew_takes_the_data_as_it_is(images: Path, tmp_path: Path) -> None:
    context, _ = begun(tmp_path, settings_for(images))
    shutil.rmtree(context.folder.checkpoint)
    more_foxes(images)
    load_run_data(context)
    assert json.loads(context.folder.data.read_text())["train_counts"] == [6, 4, 34]


def test_warnings_of_the_data_are_told_once(images: Path, tmp_path: Path) -> None:
    context, events = begun(tmp_path, settings_for(images).model_copy(update={"ipc": 5}))
    assert sum(isinstance(event, Warned) for event in events) == 1
    load_run_data(context)
    assert sum(isinstance(event, Warned) for event in events) == 1
    assert sum(isinstance(event, DataReady) for event in events) == 2


def test_a_finished_run_stays_as_it_was_when_it_is_evaluated_on_other_data(images: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    folder.config.write_text(dump(settings_for(images)))
    run, evaluate = (["run", str(folder.root)], ["evaluate", str(folder.root), "--arch", "vgg11", "--repeats", "1"])
    assert main([*run, "--device", "cpu"]) == 0
    files = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file() and "result" in path.parts}
    more_foxes(images)
    assert main([*evaluate, "--device", "cpu"]) == 2
    assert replayed(folder).status == "done"
    assert main([*run, "--device", "cpu"]) == 2
    assert {path: path.read_bytes() for path in files} == files
    for file in (images / "train" / "fox").glob("more*"):
        file.unlink()
    assert main([*run, "--device", "cpu"]) == 0
    assert main([*evaluate, "--device", "cpu"]) == 0
    assert replayed(folder).status == "done"


def test_names_of_an_older_version_may_hold_accents_in_another_form(images: Path, tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "r\u00e9nard")
    for split in images.iterdir():
        (split / "fox").rename(split / name)
    context, events = begun(tmp_path, settings_for(images))
    log = EventLog(context.folder.events)
    log.emit(RunStarted("run", "ltdd", "folder", 1.0, 2, 0, "convnet", "cpu", [], 3, "", 1, resumed=False))
    ready = next(event for event in events if isinstance(event, DataReady))
    log.emit(replace(ready, class_names=[unicodedata.normalize("NFD", given) for given in ready.class_names]))
    context.folder.data.unlink()
    load_run_data(context)
    assert unicodedata.normalize("NFC", name) in json.loads(context.folder.data.read_text())["class_names"]


def test_files_that_are_held_out_are_listed_in_the_run_folder(images: Path, tmp_path: Path) -> None:
    context, _ = begun(tmp_path / "with", settings_for(images))
    assert not context.folder.held_out.exists()
    shutil.rmtree(images / "test")
    context, _ = begun(tmp_path / "without", settings_for(images))
    listed = context.folder.held_out.read_text().splitlines()
    assert [line.split("/")[1] for line in listed] == ["cat", "dog", "fox"]
    assert all((images / line).is_file() for line in listed)


def test_what_evaluations_have_added_is_told_where_the_result_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the worker takes signals
    folder = RunFolder(tmp_path)
    folder.config.write_text("evaluate: {arch: [convnet], repeats: 2}\n")
    folder.result.mkdir()
    folder.checkpoint.mkdir()
    with EventLog(folder.events) as log:
        for event in (figures("final", 3), figures("final", 3, arch="vgg11"), figures("random", None, arch="vgg11")):
            log.emit(event)
    assert main(["run", str(tmp_path), "--device", "cpu"]) == 0
    told = [event.hint for event in told_since_start(folder.events, Warned) if "made anew" in event.message]
    assert len(told) == 1 and told[0].count("--arch") == 1 and "--arch vgg11 --labels stored --repeats 2`" in told[0]
