"""A worker that replays a recorded run into the folder it is given, in place of `python -m engine`.

`run FOLDER --device DEVICE`, as the engine takes it. $RECORDED_SECONDS is how long the whole takes (5 by default).
$RECORDED_RUN is the folder of a real run to play; without it, the recording of the tests is played.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder
from ltdd_tui.runs.feed import Feed
from tests.ltdd_tui.recorded import record


def main() -> int:
    folder = RunFolder(sys.argv[2])
    with folder.held(), tempfile.TemporaryDirectory() as temporary:
        chosen = os.environ.get("RECORDED_RUN")
        played = RunFolder(chosen) if chosen else record(Path(temporary) / "recorded", "done")
        return play(played, folder, float(os.environ.get("RECORDED_SECONDS", "5")))


def play(played: RunFolder, folder: RunFolder, seconds: float) -> int:
    log = EventLog(folder.events)
    print("a recorded run is played", flush=True)
    for event in paced(played, seconds):
        if isinstance(event, e.Preview):
            for name in (event.path, event.labels):
                (folder.root / name).parent.mkdir(exist_ok=True)
                shutil.copy(played.root / name, folder.root / name)
        if isinstance(event, e.RunFinished):
            shutil.copytree(played.result, folder.result, dirs_exist_ok=True)
        log.emit(_adapted(event, folder))
        if folder.stop_request.exists():
            folder.stop_request.unlink()
            log.emit(e.RunStopped("distill"))
            return 130
    return 0


def paced(played: RunFolder, seconds: float) -> Iterator[e.Event]:
    """The events of `played` at their recorded times, scaled so that the whole run takes `seconds`."""
    items = [item for item in Feed(played.events).read_all() if isinstance(item, e.Stamped)]
    first, last = items[0].seconds, items[-1].seconds
    began = time.monotonic()
    for item in items:
        due = began + seconds * (item.seconds - first) / max(last - first, 1e-9)
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        yield item.event


def _adapted(event: e.Event, folder: RunFolder) -> e.Event:
    if not isinstance(event, e.RunStarted):
        return event
    method = yaml.safe_load(folder.config.read_text())["method"]
    return dataclasses.replace(event, name=folder.name, method=method, pid=os.getpid())


if __name__ == "__main__":
    sys.exit(main())
