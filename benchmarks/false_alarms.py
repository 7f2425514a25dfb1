"""Stops a real run at random moments on a busy machine: counts false alarms, and finished iterations that are lost.

`python -m benchmarks.false_alarms [--rounds 20]` starts that many runs, with two spinning processes beside, and follows
each as the run screen, the list and the commands do. Each is stopped on request after a random time, resumed, and
stopped again. It prints the figures and writes them to benchmarks/results/false_alarms.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import torch

from engine.manifest import commit, device_name, versions
from engine.run.events import MatchingStep, RunStarted, Stamped
from engine.run.folder import RunFolder, write_json
from ltdd_tui.launch.create import prepare
from ltdd_tui.runs import worker
from ltdd_tui.runs.feed import Feed
from ltdd_tui.runs.index import RunIndex
from ltdd_tui.runs.live import LiveRun, replayed
from ltdd_tui.runs.messages import new_notifications, notice
from ltdd_tui.runs.worker import WorkerHandle

# Short stages, and iterations that are far apart from the checkpoints that are made without a stop.
SHORT = ["experts.num_experts=2", "experts.epochs=2", "matching.max_start_epoch=1", "matching.iterations=100000"]
SHORT += ["matching.checkpoint_every=100000", "matching.preview_every=100000", "evaluate.every=100000"]
SHORT += ["evaluate.repeats=1", "evaluate.check_repeats=1", "evaluate.epochs=20"]
ALARMS = ("died", "ended at once", "failed", "crashed")
LONGEST_SECONDS = 120.0
SPINNERS = 2


def spin() -> None:
    """Keeps one core busy."""
    while True:
        pass


class Watched:
    """A run that is looked at as all displays do, from before its worker begins; `alarms` are their false ones."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.alarms = folder, list[str]()
        self.live, self.handle = LiveRun(folder), WorkerHandle(folder, "cpu")
        self._index, self._before = RunIndex(folder.root.parent), None

    def look(self) -> None:
        """Takes one look in each way."""
        caught_up = self.live.read()
        view = self.live.view
        if caught_up and self._before is not None:
            self._note(*(one.message for one in new_notifications(self._before, view)))
        self._before = view if caught_up else self._before
        told = notice(view, self.handle.is_starting(view), self.handle.exit_code(view), self.handle.how_it_died(view))
        self._index.look()
        states = (entry.run.state for entry in self._index.listed if entry.run.name == self.folder.name)
        self._note(told.title if told else "", replayed(self.folder).status, *states)

    def _note(self, *texts: str) -> None:
        self.alarms += [text for text in texts if any(word in text for word in ALARMS)]

    def work_and_stop(self, draw: random.Random) -> None:
        """Starts a worker, and asks it to stop at a random moment after its first new iteration."""
        steps, process = len(self.live.view.state.steps), worker.start(self.folder, "cpu")
        self.handle.launched(process)
        stop_at, give_up = None, time.monotonic() + LONGEST_SECONDS
        while process.process.poll() is None:
            assert time.monotonic() < give_up, self.folder.console.read_text()
            self.look()
            if stop_at is None and len(self.live.view.state.steps) > steps:
                stop_at = time.monotonic() + draw.uniform(0.0, 2.0)
            if stop_at is not None and time.monotonic() > stop_at:
                worker.request_stop(self.folder)
                stop_at = float("inf")
            time.sleep(draw.uniform(0.0, 0.1))
        self.look()
        if process.process.returncode != 130:
            self.alarms.append(f"exit code {process.process.returncode}")


def lost_iterations(folder: RunFolder) -> int:
    """Iterations that were done more than once, by the events."""
    events = [item.event for item in Feed(folder.events).read_all() if isinstance(item, Stamped)]
    assert sum(isinstance(event, RunStarted) for event in events) == 2
    done = [event.iteration for event in events if isinstance(event, MatchingStep)]
    return len(done) - len(set(done))


def main() -> None:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    rounds, draw = parser.parse_args().rounds, random.Random(0)
    spinners = [multiprocessing.Process(target=spin, daemon=True) for _ in range(SPINNERS)]
    for spinner in spinners:
        spinner.start()
    alarms, lost, kept, unkept = [], 0, [], 0
    with tempfile.TemporaryDirectory() as runs_dir:
        for number in range(rounds):
            watched = Watched(prepare("quickstart", SHORT, Path(runs_dir), f"run-{number}"))
            for _ in range(2):
                watched.work_and_stop(draw)
                state = watched.live.view.state
                unkept += state.iteration - state.checkpoint
                kept.append(state.checkpoint)
            alarms += watched.alarms
            lost += lost_iterations(watched.folder)
            print(f"{number + 1}: stopped at {kept[-2:]}, {len(alarms)} false alarms, {lost + unkept} lost", flush=True)
    for spinner in spinners:
        spinner.kill()
    figures = {"starts": rounds, "resumes": rounds, "stops": 2 * rounds, "spinning_processes": SPINNERS}
    figures |= {"false_alarms": len(alarms), "lost_iterations": lost + unkept}
    made_with = {"device": device_name(torch.device("cpu")), "versions": versions(), "commit": commit()}
    write_json(Path(__file__).parent / "results" / "false_alarms.json", made_with | figures | {"stopped_at": kept})
    print(json.dumps(figures), *alarms, sep="\n")


if __name__ == "__main__":
    main()
