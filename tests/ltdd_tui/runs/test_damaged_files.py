"""JSON files of a run that hold something else than they should: it is listed, shown and watched without them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.run import folder as run_folder
from engine.run.errors import InputError
from engine.run.folder import RunFolder, verify_file, write_json
from engine.run.manifest import Manifest, read_manifest
from engine.run.metrics import whole_metrics
from engine.run.scores import read_scores
from engine.run.settings import settings_hash
from ltdd_tui.cli.results import runs, show_run
from ltdd_tui.runs import manage
from ltdd_tui.runs.confusion import read_confusion
from ltdd_tui.runs.index import RunIndex, examined
from ltdd_tui.runs.live import LiveRun, read_settings
from ltdd_tui.runs.messages import can_resume, notice
from ltdd_tui.runs.results import RunSummaryReader
from tests.ltdd_tui.recorded import record

FILES = ("manifest.json", "notes.json", "result/metrics.json", "result/confusion.json", "result/scores.json")
DAMAGES: dict[str, bytes | None] = {
    "empty": b"",
    "object": b"{}",
    "list": b"[]",
    "text": b'"a text"',
    "number": b"7",
    "null": b"null",
    "NaN": b"NaN",
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"final":' * 100_000 + b"1" + b"}" * 100_000,
    "long number": b"1" * 10_000,
    "no text": b"\xff\xfe\x00" * 9,
    "a FIFO": None,
    "a folder": None,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return record(tmp_path_factory.mktemp("runs") / "demo", "done", 3)


@contextlib.contextmanager
def damaged(folder: RunFolder, name: str, damage: str | bytes) -> Iterator[None]:
    """The run with one file replaced; it is put back."""
    path, kept = folder.root / name, folder.root / "kept"
    there = path.exists()
    if there:
        path.rename(kept)
    content = DAMAGES[damage] if isinstance(damage, str) else damage
    if content is not None:
        path.write_bytes(content)
    elif damage == "a FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
    yield
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if there:
        kept.rename(path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_as_good_as_none(whole: RunFolder, name: str) -> None:
    with_it = examined(whole).run.accuracy_mean
    for damage in DAMAGES:
        with damaged(whole, name, damage):
            entry = examined(whole)
            assert entry.damage == "", damage
            assert entry.run.accuracy_mean == (None if "metrics" in name else with_it), damage
            assert bool(whole_metrics(whole)[0]) == ("metrics" not in name), damage
            if name == "manifest.json":
                assert read_manifest(whole) == Manifest(), damage
            assert read_confusion(whole.confusion) is None or "confusion" not in name
            assert read_scores(whole)[0] is None, damage


@pytest.mark.parametrize("name", FILES)
def test_a_run_with_a_file_that_is_something_else_is_shown_and_watched(whole: RunFolder, name: str) -> None:
    with damaged(whole, name, "deep list"):
        live = read_whole(whole)
        entry = examined(whole)
        assert live.view.state.status == entry.run.state == ("stopped" if "metrics" in name else "done")
        assert can_resume(live.view) == bool(entry.run.lost) == ("metrics" in name)
        summary = RunSummaryReader(whole)
        while not summary.read():
            pass
        with pytest.raises(InputError) if "metrics" in name else contextlib.nullcontext():
            show_run(str(whole.root), whole.root.parent)


@pytest.mark.parametrize(
    ("name", "status", "what"),
    [
        ("result/metrics.json", "stopped", "result"),
        ("result/distilled.safetensors", "stopped", "result"),
        ("events.jsonl", "done", "events"),
    ],
)
def test_a_file_that_is_lost_is_told_alike_by_the_list_and_the_screen_with_the_way_out(
    whole: RunFolder, name: str, status: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, kept, index = whole.root / name, whole.root / "kept", RunIndex(whole.root.parent)
    while not index.look():
        pass
    assert manage.is_whole(whole)
    path.rename(kept)
    while not index.look():
        pass
    assert [one.run.state for one in index.listed if one.run.name == whole.name] == [status], "the open list sees it"
    assert not manage.is_whole(whole), "so it is resumed"
    live = read_whole(whole)
    entry, told = examined(whole), notice(live.view, starting=False)
    runs(whole.root.parent)
    said = capsys.readouterr()
    kept.rename(path)
    assert (entry.run.state, live.view.state.status) == (status, status)
    assert entry.run.status == f"{status}, {what} damaged" and entry.run.status in said.out
    assert told and f"{what} is damaged" in told.title and told.lines == (f"{path}: the file is missing",)
    assert "`r` writes it anew" in told.hint and can_resume(live.view)
    assert f"demo: {path}: the file is missing; `ltdd-tui resume" in said.err
    while not live.read() or live.view.state.status != "done":
        pass
    assert live.view.damage is None and not can_resume(live.view), "it is back"


def test_settings_that_are_not_those_of_the_run_are_not_shown(tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", "done", 3)
    settings, _ = read_settings(folder.config)
    write_json(folder.manifest, {"settings_hash": settings_hash(settings)})
    assert read_whole(folder).view.settings == settings
    shutil.move(folder.result, tmp_path / "result")
    assert not folder.checkpoint.exists()
    folder.config.write_text("{}\n")
    assert read_whole(folder).view.settings is not None, "before anything was made they may still be mended"
    shutil.move(tmp_path / "result", folder.result)
    folder.config.write_text("{}\n")
    told = notice(read_whole(folder).view, starting=False)
    assert told and told.title.startswith("config.yaml cannot be read, or was changed")
    summary = RunSummaryReader(folder)
    summary.read()
    assert summary.summary.settings is None and "changed since the run began" in summary.summary.faults[0].what


def read_whole(folder: RunFolder) -> LiveRun:
    live = LiveRun(folder)
    while not live.read():
        pass
    return live


def test_a_result_is_read_once_until_a_file_changes_and_never_while_a_worker_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(tmp_path / "demo", "done", 3)
    looked_at: list[str] = []

    def counted(path: Path) -> bool:
        looked_at.append(path.name)
        return verify_file(path)

    monkeypatch.setattr(run_folder, "verify_file", counted)
    with folder.held():
        LiveRun(folder).read()
        RunSummaryReader(folder).read()
    assert looked_at == []
    live, summary = LiveRun(folder), RunSummaryReader(folder)
    for _ in range(3):
        live.read()
        summary.read()
    assert sorted(looked_at) == ["distilled.safetensors", "metrics.json"] and live.view.damage is None
    with open(folder.distilled, "r+b") as file:  # in place: no time of a folder changes
        file.write(b"\xff")
    os.utime(folder.distilled, ns=(1, 1))
    live.read()
    assert live.view.damage and live.view.damage.where == str(folder.distilled)
    assert looked_at.count("distilled.safetensors") == 2


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({"verdict": "use it"}, "verdict"),
        ({"regimes": [1]}, "regimes"),
        ({"stage_seconds": {"distill": 1e300}}, "stage_seconds.distill"),
        ({"experts": {f"kind {number}": 7 for number in range(300)}}, "280 more like these"),
        ({"arch": 7}, "arch"),
    ],
)
def test_of_metrics_that_are_odd_in_part_the_rest_is_shown_and_nothing_goes_on_from_them(
    whole: RunFolder, changes: dict[str, Any], left_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = json.loads(whole.metrics.read_text())
    metrics.pop("checksum", None)
    with damaged(whole, "result/metrics.json", json.dumps(metrics | changes).encode()):
        assert examined(whole).run.accuracy_mean == metrics["final"]["accuracy_mean"]
        show_run(str(whole.root), whole.root.parent, as_json=True)
        said = capsys.readouterr()
        assert json.loads(said.out)["final"]["accuracy_mean"] == metrics["final"]["accuracy_mean"]
        assert left_out in said.err
        kept, faults = whole_metrics(whole)
        assert not kept and faults
