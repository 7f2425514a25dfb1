"""The feed: whole events only, in order, whatever happens to the file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engine.run.event_log import EventLog
from engine.run.events import Checkpointed, Event, MatchingStep, Stamped, Warned, encode
from ltdd_tui.runs.feed import MOST_WARNINGS, Feed
from ltdd_tui.runs.state import RunState, fold


def line(seq: int, event: Event | None = None) -> str:
    return encode(event or Checkpointed(seq), seq, 1000.0 + seq) + "\n"


def numbers(items: list[Stamped | Warned]) -> list[int | None]:
    return [item.seq if isinstance(item, Stamped) else None for item in items]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_file_that_is_not_there_yet_holds_nothing(path: Path) -> None:
    feed = Feed(path)
    assert feed.read_new() == [] and feed.caught_up
    path.write_text(line(0))
    assert numbers(feed.read_new()) == [0]
    assert feed.restarts == 0


def test_only_what_is_new_is_read(path: Path) -> None:
    log, feed = EventLog(path, clock=lambda: 1.0), Feed(path)
    log.emit(Checkpointed(1))
    assert feed.read_new() == [Stamped(0, 1.0, Checkpointed(1))]
    assert feed.read_new() == []
    log.emit(Checkpointed(2))
    assert feed.read_new() == [Stamped(1, 1.0, Checkpointed(2))]


def test_any_cut_of_a_line_gives_the_same_events(path: Path) -> None:
    content = (line(0) + line(1, Warned("Stra\u00dfe \u2026")) + line(2)).encode()
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        feed = Feed(path)
        before = feed.read_new()
        with open(path, "ab") as file:
            file.write(content[cut:])
        assert numbers(before + feed.read_new()) == [0, 1, 2], cut
        path.unlink()


def test_a_torn_last_line_waits(path: Path) -> None:
    path.write_text(line(0) + line(1)[:20])
    feed = Feed(path)
    assert numbers(feed.read_new()) == [0]
    assert numbers(feed.read_new()) == []


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[]",
        "null",
        "42",
        '"x"',
        "{}",
        '{"type":"run_ended","seq":1,"t":1}',
        '{"type":"checkpointed","seq":1,"t":1}',
        '{"type":[],"seq":1,"t":1}',
        '{"type":"checkpointed","seq":null,"t":1,"iteration":3}',
        "\x00\x01",
        "[" * 5000,
    ],
)
def test_a_broken_line_is_a_warning_between_its_neighbors(path: Path, broken: str) -> None:
    path.write_text(line(0) + broken + "\n" + line(2))
    assert numbers(Feed(path).read_new()) == [0, None, 2]


def test_bytes_that_are_no_text_are_a_warning(path: Path) -> None:
    path.write_bytes(line(0).encode() + b"\xff\xfe\x80\n" + line(2).encode())
    assert numbers(Feed(path).read_new()) == [0, None, 2]


def test_fields_of_a_newer_version_are_left_out(path: Path) -> None:
    path.write_text('{"v":2,"seq":0,"t":1.0,"type":"checkpointed","iteration":3,"novelty":true}\n')
    assert Feed(path).read_new() == [Stamped(0, 1.0, Checkpointed(3))]


def test_events_out_of_order_come_as_they_lie_and_the_points_end_in_order(path: Path) -> None:
    def step(iteration: int) -> MatchingStep:
        return MatchingStep(iteration, 0.5, None, 0.1, 0.1)

    path.write_text(line(0, step(1)) + line(3, step(4)) + line(2, step(3)) + line(1, step(2)) + line(4, step(5)))
    items = Feed(path).read_new()
    assert numbers(items) == [0, 3, 2, 1, 4]
    assert fold(RunState(), items).steps.iterations.tolist() == [1, 2, 3, 4, 5]


def test_a_truncated_file_is_read_again_from_its_beginning(path: Path) -> None:
    path.write_text(line(0) + line(1))
    feed = Feed(path)
    feed.read_new()
    path.write_text(line(7))
    assert numbers(feed.read_new()) == [None, 7]
    assert feed.restarts == 1


def test_a_deleted_file_that_comes_back_longer_is_read_from_its_beginning(path: Path) -> None:
    path.write_text(line(0))
    feed = Feed(path)
    feed.read_new()
    path.unlink()
    assert feed.read_new() == []
    path.write_text(line(5) + line(6) + line(7))
    assert numbers(feed.read_new()) == [None, 5, 6, 7]
    assert feed.restarts == 1


def test_a_line_without_end_does_not_fill_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltdd_tui.runs.feed.LONGEST_LINE_BYTES", 1000)
    path.write_bytes(line(0).encode() + b"x" * 500_000)
    feed = Feed(path)
    assert numbers(feed.read_all()) == [0, None]
    with open(path, "a") as file:
        file.write("x\n" + line(1))
    assert numbers(feed.read_new()) == [1]


def test_a_fifo_in_the_place_of_the_events_is_told_once(path: Path) -> None:
    os.mkfifo(path)
    feed = Feed(path)
    (told,) = feed.read_new()
    assert isinstance(told, Warned) and told.message == "the events cannot be read: it is a FIFO, no file"
    assert feed.read_all() == [] and feed.caught_up


def test_the_time_budget_is_kept_and_nothing_is_lost(path: Path) -> None:
    path.write_text("".join(line(seq) for seq in range(5000)))
    feed, items, calls = Feed(path), [], 0
    while not feed.caught_up:
        items += feed.read_new(budget_seconds=0.0)
        calls += 1
    assert calls > 2
    assert numbers(items) == list(range(5000))


def test_a_hundred_thousand_events_replay_in_three_seconds(path: Path) -> None:
    with open(path, "w") as file:
        steps = (MatchingStep(seq, 0.91234567, 0.51234567, 0.0512345, 0.0123) for seq in range(100_000))
        file.writelines(line(step.iteration, step) for step in steps)
    began = time.process_time()
    state = fold(RunState(), Feed(path).read_all())
    assert time.process_time() - began < 3
    assert state.iteration == 99_999


def test_a_number_without_end_is_a_broken_line(path: Path) -> None:
    path.write_text('{"seq": Infinity, "t": 0, "type": "run_stopped", "stage": ""}\n')
    (item,) = Feed(path).read_all()
    assert isinstance(item, Warned)


def test_a_foreign_file_gives_a_few_warnings_and_not_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("garbage\n" * 5000 + line(7))
    *warnings, event = Feed(tmp_path / "events.jsonl").read_all()
    assert len(warnings) == MOST_WARNINGS and isinstance(event, Stamped) and event.seq == 7
    assert isinstance(warnings[-1], Warned) and "more such lines are skipped" in warnings[-1].message
