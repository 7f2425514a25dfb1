"""Stands in for a worker: keeps a run going at a steady rate of events, or writes very many at once.

    python benchmarks/screen_events.py RUN --rate 100 --seconds 60
    python benchmarks/screen_events.py RUN --events 100000

Both begin with a recorded run of four experts and 128 iterations, and go on with losses, a device reading a second, and
every five seconds (of the run's own time) a preview of 100 images, a check by class and a checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder
from tests.ltdd_tui import recorded

sys.path.insert(0, str(Path(__file__).parents[1]))

EVENTS_A_SECOND = 100
KEPT_EVERY_SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rate", type=float, default=EVENTS_A_SECOND)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int)
    options = parser.parse_args()
    folder = recorded.record(options.run, "running")
    if options.events is None:
        write_paced(folder, options.rate, options.seconds)
    else:
        write_many(folder, options.events)


def more_events(folder: RunFolder) -> Iterator[e.Event]:
    """What comes after the recorded part, a hundred events a second of the run's time."""
    iteration = 128
    second = 0
    while True:
        second += 1
        kept = second % KEPT_EVERY_SECONDS == 0
        steps = EVENTS_A_SECOND - (4 if kept else 1)
        for _ in range(steps):
            iteration += 1
            wave = (iteration * 7919 % 1000) / 1000
            yield e.MatchingStep(iteration, 0.8 + 0.1 * wave, 0.2 + 0.05 * wave, 0.0123456, 0.0101)
        yield e.DeviceReading("cuda:0", 2.1, 139.1)
        if kept:
            yield _preview(folder, iteration)
            per_class = [min(100.0, value + second % 7) for value in recorded.START]
            mean = sum(per_class) / len(per_class)
            groups: dict[str, float | None] = {"many": mean + 5, "medium": mean, "few": mean - 5}
            yield e.Evaluated("check", iteration, "convnet", 1, mean, 0.0, per_class, groups, [1.0] * len(per_class))
            yield e.Checkpointed(iteration)


def _preview(folder: RunFolder, iteration: int) -> e.Preview:
    path, labels = (f"previews/{iteration:06d}{ending}" for ending in (".png", ".json"))
    recorded.write_preview(folder, path, labels, min(1.0, iteration / 5000))
    return e.Preview(iteration, path, labels, len(recorded.NAMES), recorded.IPC, recorded.SIDE)


def write_paced(folder: RunFolder, rate: float, seconds: float) -> None:
    """Each event at its time, as a worker writes it; then the run is left as if it still ran, until this is killed."""
    log = EventLog(folder.events)
    began = time.monotonic()
    for number, event in enumerate(more_events(folder)):
        due = began + number / rate
        if due - began > seconds:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        log.emit(event)
    time.sleep(3600)


def write_many(folder: RunFolder, events: int) -> None:
    """All at once, in the time of the run's own clock; the file ends up with that many events."""
    there = folder.events.read_text().splitlines()
    first = time.time()
    with open(folder.events, "a") as file:
        for seq, event in enumerate(more_events(folder), len(there)):
            if seq >= events:
                break
            file.write(e.encode(event, seq, first + (seq - len(there)) / EVENTS_A_SECOND) + "\n")


if __name__ == "__main__":
    main()
