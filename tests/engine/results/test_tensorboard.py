"""TensorBoard reads back what the run said, wherever the run stopped; nothing is lost or overwritten in silence."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.__main__ import main
from engine.results.tensorboard import write_tensorboard
from engine.run.errors import InputError
from engine.run.event_log import EventLog
from engine.run.events import DataReady, Evaluated, Event, ExpertEpoch, MatchingStep, Preview, RunStarted
from engine.run.folder import RunFolder, write_atomically

RED = np.full((4, 6, 3), (200, 10, 10), dtype=np.uint8)
MISSING = "needs TensorBoard, of the extra `tensorboard`"


def started(resumed: bool = False) -> RunStarted:
    return RunStarted("r", "ltdd", "digits", 50.0, 2, 0, "convnet", "cpu", [], 4, "abc", 1, resumed)


def evaluated(subject: str, iteration: int | None, mean: float) -> Evaluated:
    groups = {"many": 90.0, "medium": None, "few": 20.0}
    return Evaluated(subject, iteration, "convnet", 2, mean, 0.5, [mean + 1, mean - 1], groups, [1.0, 1.0])


def half_a_run(root: Path, *more: Event) -> RunFolder:
    """Two of four iterations, with every kind of event that TensorBoard is told of."""
    run = RunFolder(root / "half")
    write_atomically(run.config, "method: ltdd\n")
    picture = io.BytesIO()
    Image.fromarray(RED).save(picture, "PNG")
    write_atomically(run.previews / "000002.png", picture.getvalue())
    told: list[Event] = [
        started(),
        DataReady(["a/cat", "dog"], [100, 2], ["many", "few"], "thirds", 20, 0.1),
        ExpertEpoch("representation", 0, 1, 2, 2.5),
        ExpertEpoch("representation", 0, 2, 2, 1.5),
        ExpertEpoch("classifier", 3, 1, 2, 0.5),
        MatchingStep(1, 0.75, None, 0.02, 1.0),
        MatchingStep(2, 0.5, 0.25, 0.03, 1.0),
        Preview(2, "previews/000002.png", "previews/000002.json", 2, 2, 8),
        evaluated("check", 2, 60.0),
        evaluated("random", None, 40.0),
        replace(evaluated("random", None, 45.0), labels="online"),
        *more,
    ]
    log = EventLog(run.events, clock=lambda: 1000.0)
    for event in told:
        log.emit(event)
    return run


def read_back(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=MISSING)
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def curve(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_an_unfinished_run_reads_back_as_it_was_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    run = half_a_run(tmp_path)
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    assert write_tensorboard(run, tmp_path / "tb") == []
    events = read_back(tmp_path / "tb")
    assert {tag: curve(events, tag) for tag in events.Tags()["scalars"]} == {
        "matching/loss_rep": [(1, 0.75), (2, 0.5)],
        "matching/loss_cls": [(2, 0.25)],
        "matching/beta": [(1, pytest.approx(0.02)), (2, pytest.approx(0.03))],
        "experts/representation/0/loss": [(1, 2.5), (2, 1.5)],
        "experts/classifier/3/loss": [(1, 0.5)],
        "evaluation/check/accuracy": [(2, 60.0)],
        "evaluation/check/class/0 a/cat": [(2, 61.0)],
        "evaluation/check/class/1 dog": [(2, 59.0)],
    }
    assert events.Scalars("matching/beta")[0].wall_time == 1000.0
    (image,) = events.Images("preview")
    with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        assert image.step == 2 and np.array_equal(np.asarray(picture), RED)
    (text,) = events.Tensors("evaluation/random/convnet/text_summary")
    assert text.tensor_proto.string_val == ["40.00 ± 0.50 % (n=2, many 90.0, few 20.0)".encode()]
    assert events.Tensors("evaluation/random/convnet/online/text_summary"), "another label regime, beside it"
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before, "it only reads"


def test_a_step_that_a_resumed_run_repeats_counts_once_and_a_fresh_start_replaces_all(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    again = (started(resumed=True), MatchingStep(2, 0.375, 0.25, 0.03, 1.0), MatchingStep(3, 0.25, None, 0.03, 1.0))
    write_tensorboard(half_a_run(tmp_path / "1", *again), tmp_path / "resumed")
    assert curve(read_back(tmp_path / "resumed"), "matching/loss_rep") == [(1, 0.75), (2, 0.375), (3, 0.25)]
    write_tensorboard(half_a_run(tmp_path / "2", started(), MatchingStep(1, 0.5, 0.5, 0.03, 1.0)), tmp_path / "fresh")
    assert curve(read_back(tmp_path / "fresh"), "matching/loss_rep") == [(1, 0.5)]


def test_unreadable_lines_and_previews_are_left_out_with_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    run = half_a_run(tmp_path, Preview(3, "previews/gone.png", "", 2, 2, 8))
    with open(run.events, "a") as events:
        events.write('not json\n{"v":1,"seq":9,"t":1,"type":"expert_epoch","kind":"classifier","expert":0,')
        events.write('"epoch":"x","epochs":2,"loss":1}\n{"v":1,"seq":10,"t":1,"type":"matching_st')
    warnings = [warning.message for warning in write_tensorboard(run, tmp_path / "tb")]
    assert len(warnings) == 2
    assert warnings[0].startswith("2 lines of ") and "gone.png" in warnings[1]
    assert curve(read_back(tmp_path / "tb"), "matching/loss_rep") == [(1, 0.75), (2, 0.5)]


def test_a_second_copy_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    run, target = half_a_run(tmp_path), tmp_path / "tb"
    write_tensorboard(run, target)
    EventLog(run.events).emit(MatchingStep(3, 0.125, None, 0.03, 1.0))
    write_tensorboard(run, target)
    assert len(list(target.iterdir())) == 1
    assert curve(read_back(target), "matching/loss_rep") == [(1, 0.75), (2, 0.5), (3, 0.125)]
    other = RunFolder(tmp_path / "other")
    EventLog(other.events).emit(started())
    for run_asked, folder in ((other, target), (run, run.root), (run, run.config)):
        with pytest.raises(InputError, match="new or an empty folder"):
            write_tensorboard(run_asked, folder)
    assert len(list(target.iterdir())) == 1


def test_the_worker_writes_it_while_another_worker_has_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    run = half_a_run(tmp_path)
    with run.held():
        assert main(["export", str(run.root), "--tensorboard", str(tmp_path / "tb")]) == 0
    assert curve(read_back(tmp_path / "tb"), "matching/loss_cls") == [(2, 0.25)]
    assert not run.manifest.exists()


def test_a_run_without_events_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard", reason=MISSING)
    assert main(["export", str(tmp_path / "new"), "--tensorboard", str(tmp_path / "tb")]) == 2
    assert f"the run has no events yet\nhint: `ltdd-tui resume {tmp_path / 'new'}`" in capsys.readouterr().err
    assert not (tmp_path / "tb").exists() and not (tmp_path / "new").exists()


def test_without_tensorboard_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = half_a_run(tmp_path)
    told = run.events.read_bytes()
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main(["export", str(run.root), "--tensorboard", str(tmp_path / "tb")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --tensorboard: TensorBoard cannot be loaded: ")
    assert said.endswith("\nhint: pip install 'ltdd-tui[tensorboard]'\n")
    assert run.events.read_bytes() == told and not (tmp_path / "tb").exists()
