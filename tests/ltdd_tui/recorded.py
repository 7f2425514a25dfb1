"""Makes a run folder as a worker would have left it: ten long-tailed classes, experts, losses, checks and previews."""

from __future__ import annotations

import fcntl
import json
import math
import random
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from engine.run import events as e
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder, write_atomically, write_json
from engine.run.presets import dump, load_preset
from engine.run.settings import RunSettings, settings_hash
from engine.sweep.cells import SweepFolder

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
COUNTS = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
GROUPS = ["many"] * 4 + ["medium"] * 3 + ["few"] * 3
STAGES = ["data", "experts", "classifier_experts", "initialize", "baselines", "distill", "evaluate", "export"]
# What each stage of a recording of 200 iterations takes, but for classifier experts, which take half of it.
ESTIMATED_SECONDS = dict(zip(STAGES, [3.0, 40.0, 16.0, 4.0, 3.0, 25.0, 3.0, 0.0], strict=True))
RANDOM = [38.1, 35.0, 28.7, 20.4, 27.8, 22.1, 33.0, 30.6, 24.2, 18.9]
START = [52.3, 61.0, 33.9, 27.5, 38.4, 31.0, 48.8, 41.2, 37.7, 29.3]
END = [71.2, 78.0, 41.5, 37.0, 49.9, 42.2, 60.1, 51.3, 55.0, 43.1]
REPRESENTATION = [90.1, 93.6, 69.6, 58.1, 53.1, 20.7, 15.5, 16.3, 2.8, 1.0]
CLASSIFIER = [82.5, 86.4, 60.3, 50.2, 56.8, 46.0, 64.9, 57.7, 62.1, 52.4]
NORMS = [1.75, 1.86, 1.42, 1.16, 1.23, 1.01, 0.97, 0.91, 0.89, 0.61]
EXPERTS, EPOCHS, IPC, SIDE = 4, 20, 10, 32
SPARED = [500, 300, 180, 108, 64, 39, 23, 14, 8, 50]
"""Validation images of a judged run; the last class could spare none, and its own train images stand in."""
EMPTY_SET = (2).to_bytes(8, "little") + b"{}"
"""A safetensors file of nothing."""
VERDICT = (
    "use the distilled set (52.9 ± 0.4 %), 25.1 points above 10 random images a class, 12.8 points above your start;"
    " all 12,406 images: 61.9 ± 0.4 % in 48 s from 29.4 MB, the distilled set: 52.9 ± 0.4 % in 9 s from 211 kB"
)
COMPARED = [
    ["trained on", "accuracy", "seconds a network", "bytes"],
    ["10 random images a class", "27.8 ± 0.4 (n = 3)", "9", "-"],
    ["10 herded images a class", "31.6 ± 0.6 (n = 3)", "9", "-"],
    ["your start", "40.1 ± 0.4 (n = 3)", "9", "-"],
    ["the distilled set", "52.9 ± 0.4 (n = 3)", "9", "211,345"],
    ["all 12,406 images", "61.9 ± 0.4 (n = 3)", "48", "29,412,345"],
]
FINISHED_AT = 1_795_507_804.0
# More than any system gives: a signal that a test sends it by mistake reaches nobody.
NO_PID = 99_999_999
HINT = "lower dataset.imbalance_factor, or take more images of these classes"

HOSTILE = "\x1b]0;x\x07\x1b[2J[/] [bold red]\u202e\n\x9b31m|<b>"
"""A name that sets the title and clears a terminal, is markup, turns the direction of text, and breaks lines."""
_locks: dict[Path, IO[str]] = {}


def record(root: Path, status: str, iterations: int = 200, ends: float | None = None) -> RunFolder:
    """A run folder at `root` in a status: empty, experts, running, stopped, failed, crashed, done or judged.

    `judged` is done, chose by validation images, and has a verdict.

    `experts` and `running` are at work, with their lock held until `let_go`; `ends` is the time of the last event
    (seconds since 1970): now for those two, else a fixed one.
    """
    at_work = status in {"experts", "running"}
    folder = RunFolder(root)
    settings = settings_of(iterations)
    write_atomically(folder.config, dump(settings))
    if status != "empty":
        _Recording(folder, settings, iterations).write(status)
        _move_end_to(folder, ends if ends is not None else time.time() if at_work else FINISHED_AT)
    if at_work:
        hold(folder)
    return folder


def make_hostile(folder: RunFolder) -> RunFolder:
    """The run with HOSTILE as its first class and as its device, in every file."""
    for path in (folder.events, *folder.result.glob("*.json"), *folder.root.glob("*.json")):
        text = path.read_text().replace('"airplane"', json.dumps(HOSTILE)).replace('"cpu"', json.dumps(HOSTILE))
        path.write_text(text)
    return folder


def settings_of(iterations: int) -> RunSettings:
    """Settings of the published cell CIFAR-10-LT, IF 100, IPC 10, with few experts and iterations."""
    every = max(1, iterations // 10)
    return load_preset(
        "cifar10-lt-if100-ipc10",
        [
            f"experts.num_experts={EXPERTS}",
            f"experts.epochs={EPOCHS}",
            "matching.max_start_epoch=10",
            f"matching.iterations={iterations}",
            f"matching.preview_every={every}",
            f"evaluate.every={every}",
            "evaluate.repeats=3",
        ],
    )


def hold(folder: RunFolder) -> None:
    """Holds the run's lock as a worker does, until `let_go` or the end of this process."""
    file = open(folder.lock, "a")  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _locks[folder.root] = file


def let_go(folder: RunFolder) -> None:
    """Lets the lock go: a run that had not ended has crashed from now on."""
    if file := _locks.pop(folder.root, None):
        file.close()


class _Recording:
    def __init__(self, folder: RunFolder, settings: RunSettings, iterations: int) -> None:
        self.folder, self.settings, self.iterations = folder, settings, iterations
        self.seconds = 0.0
        self.random = random.Random(7)
        self.judged = False
        self.log = EventLog(folder.events, clock=lambda: self.seconds)
        self.stage_seconds: dict[str, float] = {}
        self.evaluated: list[e.Evaluated] = []

    def emit(self, event: e.Event, after: float = 0.05) -> None:
        self.seconds += after
        self.log.emit(event)

    def write(self, status: str) -> None:
        self.judged, status = status == "judged", "done" if status == "judged" else status
        self._open()
        self._experts("experts", "representation", REPRESENTATION, NORMS, EPOCHS, until=2 if status == "experts" else 9)
        if status == "experts":
            return self._console("expert 2 of 4, epoch 13\n")
        self._experts("classifier_experts", "classifier", CLASSIFIER, [n**0.25 for n in NORMS], 4, until=9)
        self._initialize()
        self._distill(self.iterations if status == "done" else self.iterations * 16 // 25)
        if status == "done":
            return self._finish()
        self._console("distill: student steps compiled in 41 s\n")
        if status == "stopped":
            self.emit(e.RunStopped("distill"))
        if status == "failed":
            what = "a matching loss or gradient is not finite (rep nan, cls 0.143)"
            where = f"distill, iteration {self.iterations * 16 // 25}, expert 2 epoch 7"
            self.emit(e.RunBroke(what, where, "lower matching.image_lr or matching.beta; the last checkpoint is kept"))
        if status == "crashed":
            self._console("CUDA error: an illegal memory access was encountered\nterminate called after throwing\n")

    def _console(self, text: str) -> None:
        with open(self.folder.console, "a") as console:
            console.write(text)

    def _stage(self, name: str, total: int, unit: str, work: Callable[[], None]) -> None:
        self.emit(e.StageStarted(name, total, unit))
        began = self.seconds
        work()
        self.stage_seconds[name] = self.seconds - began
        self.emit(e.StageDone(name, self.seconds - began))

    def _open(self) -> None:
        hashed = settings_hash(self.settings)
        start = e.RunStarted(
            self.folder.name,
            "ltdd",
            "cifar10",
            100.0,
            IPC,
            0,
            "convnet",
            "cuda:0",
            STAGES,
            self.iterations,
            hashed,
            NO_PID,
            estimated_seconds=ESTIMATED_SECONDS,
        )
        self.emit(start)
        grouping = "by images: many > 1000, medium 200-1000, few < 200"
        apart = ([1000] * len(NAMES), SPARED, [len(NAMES) - 1]) if self.judged else ()
        data = e.DataReady(NAMES, COUNTS, GROUPS, grouping, 10_000, 124.06, *apart)
        self._stage("data", 1, "set", lambda: self.emit(data, after=3.0))

    def _experts(
        self, stage: str, kind: e.ExpertKind, per_class: list[float], norms: list[float], epochs: int, until: int
    ) -> None:
        self.emit(e.StageStarted(stage, EXPERTS, "experts"))
        began = self.seconds
        for expert in range(EXPERTS):
            for epoch in range(1, epochs + 1):
                if expert == until and epoch > epochs * 13 // 20:
                    return
                loss = 1.4 / epoch**0.35 + self.random.uniform(-0.02, 0.02)
                self.emit(e.ExpertEpoch(kind, expert, epoch, epochs, loss), after=0.5)
            own = self._near(per_class, 2.0)
            done = e.ExpertDone(kind, expert, False, statistics.fmean(own), own, self._near(norms, 0.03))
            self.emit(done)
            self.emit(e.DeviceReading("cuda:0", 2.1, 139.1))
            self.emit(e.StageProgress(stage, expert + 1, EXPERTS))
        self.stage_seconds[stage] = self.seconds - began
        self.emit(e.StageDone(stage, self.seconds - began))

    def _initialize(self) -> None:
        self._stage("initialize", 1, "set", lambda: self.emit(e.Initialized(3), after=4.0))
        self.emit(e.Warned("1 class has fewer images than it was asked for: truck; its images repeat", HINT))

        def baselines() -> None:
            self._evaluate("random", None, RANDOM, 3)
            self._evaluate("initialization", 0, START, 3)
            if self.judged:
                self._evaluate("selection herding", None, self._near(START, 4.0), 3)

        if self.judged:
            self._evaluate("start mini-images", 0, self._near(START, 1.0), 3, "validation")
            self.emit(e.Chosen("start", "mini-images", "mini-images have 40.2 ± 0.4, random images 28.0 ± 0.9"))
        self._stage("baselines", 6, "networks", baselines)

    def _distill(self, until: int) -> None:
        self.emit(e.StageStarted("distill", self.iterations, "iterations"))
        began = self.seconds
        every = self.settings.evaluate.every
        for iteration in range(until + 1):
            share = iteration / self.iterations
            if iteration:
                loss = 0.78 + 0.24 * math.exp(-4 * share) + self.random.uniform(-0.04, 0.04)
                loss_cls = 0.14 + 0.7 * math.exp(-5 * share) + self.random.uniform(-0.03, 0.03)
                self.emit(e.MatchingStep(iteration, loss, loss_cls, 0.01 + 0.004 * share, 0.04), after=0.04)
            if iteration % every == 0:
                self._keep(iteration, share)
        if until == self.iterations:
            self.stage_seconds["distill"] = self.seconds - began
            self.emit(e.StageDone("distill", self.seconds - began))

    def _keep(self, iteration: int, share: float) -> None:
        if iteration:
            self.emit(e.DeviceReading("cuda:0", 2.1, 139.1))
            self.emit(e.Checkpointed(iteration))
        path, labels = (f"previews/{iteration:06d}{ending}" for ending in (".png", ".json"))
        write_preview(self.folder, path, labels, share)
        self.emit(e.Preview(iteration, path, labels, len(NAMES), IPC, SIDE))
        reached = [s + (x - s) * min(1.0, 1.25 * share) ** 0.5 for s, x in zip(START, END, strict=True)]
        self._evaluate("check", iteration, self._near(reached, 0.8), 1, "validation" if self.judged else "test")

    def _evaluate(
        self, subject: str, iteration: int | None, per_class: list[float], repeats: int, tested_on: str = "test"
    ) -> None:
        members = {
            group: [value for value, own in zip(per_class, GROUPS, strict=True) if own == group]
            for group in ("many", "medium", "few")
        }
        groups: dict[str, float | None] = {group: statistics.fmean(values) for group, values in members.items()}
        mean, spread = statistics.fmean(per_class), 0.4 if repeats > 1 else 0.0
        norms = self._near([1.0] * len(NAMES), 0.05)
        event = e.Evaluated(
            subject, iteration, "convnet", repeats, mean, spread, per_class, groups, norms, tested_on=tested_on
        )
        self.evaluated.append(event)
        self.emit(event, after=1.5)

    def _near(self, values: list[float], spread: float) -> list[float]:
        return [max(0.0, round(value + self.random.uniform(-spread, spread), 4)) for value in values]

    def _finish(self) -> None:
        checks = [event for event in self.evaluated if event.subject == "check"]
        best = max(checks, key=lambda event: event.accuracy_mean)

        def evaluate() -> None:
            self._evaluate("final", self.iterations, END, 3)
            if self.judged:
                self._evaluate("bound balanced_softmax", None, self._near(CLASSIFIER, 1.0), 3)
            else:
                self._evaluate("best", best.iteration, self._near(best.per_class, 0.2), 3)

        if self.judged:
            why = "iteration 18 has 52.6 ± 0.4 on the validation images, the start 40.2 ± 0.4: 12.4 points more"
            self.emit(e.Chosen("set", "iteration 18", why, 18))
        self._stage("evaluate", 6, "networks", evaluate)
        self._stage("export", 1, "set", self._export)
        if self.judged:
            self.emit(e.Verdict("distilled", VERDICT, rows=COMPARED))
        final = next(event for event in self.evaluated if event.subject == "final")
        self.emit(e.RunFinished(final.accuracy_mean, final.accuracy_std))

    def _export(self) -> None:
        kept = ("accuracy_mean", "accuracy_std", "repeats", "per_class", "groups", "iteration")
        by_subject = {
            event.subject: {key: value for key, value in asdict(event).items() if key in kept}
            for event in self.evaluated
        }
        experts = {
            kind: {
                "accuracy_mean": statistics.fmean(per_class),
                "accuracy_std": 0.6,
                "repeats": EXPERTS,
                "per_class": per_class,
                "groups": dict.fromkeys(("many", "medium", "few"), statistics.fmean(per_class)),
            }
            for kind, per_class in (("representation", REPRESENTATION), ("classifier", CLASSIFIER))
        }
        settings = self.settings
        assert settings.expected is not None
        metrics = {
            "schema": 1,
            "method": "ltdd",
            "dataset": "cifar10",
            "imbalance_factor": 100.0,
            "ipc": IPC,
            "class_counts": COUNTS,
            "class_names": NAMES,
            "grouping": "by images",
            "repeats": 3,
            "arch": "convnet",
            "seed": 0,
            "settings_hash": settings_hash(settings),
            **{own: by_subject[own] for own in ("final", "best", "random", "initialization") if own in by_subject},
            "experts": experts,
            "architectures": {},
            "expected": settings.expected.model_dump(),
            "stage_seconds": self.stage_seconds,
        }
        if self.judged:
            metrics["verdict"] = {"use": "distilled", "sentence": VERDICT, "figures": {}}
        write_json(self.folder.metrics, metrics)
        write_atomically(self.folder.distilled, EMPTY_SET)
        shutil.copy(self.folder.root / f"previews/{self.iterations:06d}.png", self.folder.grid)


def write_preview(folder: RunFolder, path: str, labels: str, share: float) -> None:
    """A PNG of one row a class (a color and a shape of its own, clearer as `share` grows) and its soft labels."""
    draw = np.random.default_rng(3)
    noise = draw.integers(0, 256, (len(NAMES) * SIDE, IPC * SIDE, 3))
    down, across = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    rows = []
    for place in range(len(NAMES)):
        hue = np.array([math.sin(place), math.sin(place + 2.1), math.sin(place + 4.2)]) * 90 + 130
        wave = np.sin((place % 5 + 1) * math.pi * (down if place % 2 else across))
        image = hue * (0.55 + 0.45 * wave[..., None])
        rows.append(np.concatenate([np.roll(image, 3 * column, axis=1) for column in range(IPC)], axis=1))
    pixels = np.concatenate(rows) * (0.35 + 0.5 * share) + noise * (0.65 - 0.5 * share)
    png = folder.root / path
    png.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(png, compress_level=1)
    own = 0.9 - 0.4 * share
    table = [
        [own if place == label else round((1 - own) / (len(NAMES) - 1), 4) for label in range(len(NAMES))]
        for place in range(len(NAMES))
        for _ in range(IPC)
    ]
    (folder.root / labels).write_text(json.dumps(table))


def _move_end_to(folder: RunFolder, ends: float) -> None:
    """Shifts all times so that the last event is at `ends`."""
    lines = [json.loads(line) for line in folder.events.read_text().splitlines()]
    shift = ends - lines[-1]["t"]
    for line in lines:
        line["t"] = round(line["t"] + shift, 3)
        line.pop("crc32", None)
    folder.events.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


SWEEP = """\
preset: quickstart
grid:
  method: [ltdd, datm]
  dataset.imbalance_factor: [10, 100]
  seed: [0, 1]
"""

# In place of engine/sweep/supervisor.py: holds the sweep until it is asked to stop.
SUPERVISOR = """
import sys, time
from engine.run.folder import RunFolder
folder = RunFolder(sys.argv[1])
(folder.root / "arguments").write_text(" ".join(sys.argv[2:]))
with folder.held():
    while not folder.stop_request.exists():
        time.sleep(0.02)
    folder.stop_request.unlink()
sys.exit(130)
"""


def record_sweep(root: Path, cells: Mapping[str, float | str], text: str = SWEEP) -> SweepFolder:
    """A sweep's folder with the cells named: done with an accuracy in percent after 60 s of work, or in a status.

    Statuses are running, with the lock held until `let_go`, stopped, failed and crashed.
    """
    folder = SweepFolder(root)
    write_atomically(folder.file, text)
    for cell in folder.sweep().cells:
        if (status := cells.get(cell.name)) is None:
            continue
        run, own = folder.run(cell), cell.settings
        write_atomically(run.config, dump(own))
        factor = float(own.dataset.imbalance_factor)
        start = e.RunStarted(
            run.name, own.method, "digits", factor, own.ipc, own.seed, "convnet", "cpu", ["distill"], 4, "", NO_PID
        )
        events: list[e.Event] = [start, e.StageStarted("distill", 4, "iterations"), e.StageProgress("distill", 1, 4)]
        if status == "failed":
            events.append(
                e.RunBroke("a matching loss is not finite", "distill, iteration 1", "lower matching.image_lr")
            )
        elif status == "stopped":
            events.append(e.RunStopped("distill"))
        elif isinstance(status, float):
            events += [e.StageDone("distill", 60.0), e.RunFinished(status, 0.5)]
            final = {"accuracy_mean": status, "accuracy_std": 0.5, "repeats": 2, "per_class": [status], "groups": {}}
            write_json(run.metrics, {"final": final, "stage_seconds": {"distill": 60.0}})
            write_atomically(run.distilled, EMPTY_SET)
        log = EventLog(run.events)
        for event in events:
            log.emit(event)
        if status == "running":
            hold(run)
    return folder
