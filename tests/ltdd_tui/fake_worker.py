"""Stands in for `python -m engine`: emits the events of a small run, stops, fails or dies as config.yaml says."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from engine.run import events as e
from engine.run.device_profiles import Calibration, cpu, threads_here, torch_version, write_calibration
from engine.run.errors import LtddError
from engine.run.event_log import EventLog
from engine.run.folder import RunFolder, write_json
from engine.run.scores import PARTS, Part, scores_of

STAGES = ["data", "experts", "distill", "evaluate"]
GROUPS = {"many": 90.0, "medium": 80.0, "few": 70.0}
PER_CLASS = [90.0, 80.0, 70.0]


def evaluated(subject: str, iteration: int | None = None, arch: str = "convnet", mean: float = 80.0) -> e.Evaluated:
    return e.Evaluated(subject, iteration, arch, 5, mean, 0.7, PER_CLASS, GROUPS, [1.0, 1.0, 1.0])


def calibrate() -> int:
    """Keeps a machine on which a step takes as long as on the built-in one."""
    threads = threads_here()
    here = cpu(threads)
    compiler = "--compiler" in sys.argv
    when = "2026-01-02T03:04:05+00:00"
    rates = (here.rates, here.compiled_rates)
    write_calibration(Calibration("cpu", "x", threads, torch_version(), when, 0, 0, compiler, 0.5, *rates), [])
    return 0


def main() -> int:
    if sys.argv[1] == "calibrate":
        return calibrate()
    command, folder = sys.argv[1], RunFolder(sys.argv[2])
    asked = yaml.safe_load(os.environ.get("FAKE_WORKER", "{}")) or {}
    if asked.get("mute"):
        print("Segmentation fault of sorts", file=sys.stderr)
        return 3
    with folder.held():
        log = EventLog(folder.events)
        if command == "evaluate":
            asked_for = dict(itertools.pairwise(sys.argv))
            repeats, archs = int(asked_for["--repeats"]), asked_for["--arch"].split(",")
            for labels in asked_for.get("--labels", "").split(","):
                in_regime = {"repeats": repeats, "labels": labels or "stored"}
                if labels:
                    log.emit(replace(evaluated("random", mean=60.0), **in_regime))
                    log.emit(replace(evaluated("initialization", 0, mean=65.0), **in_regime))
                for arch in archs:
                    log.emit(replace(evaluated("final", 30, arch, 75.0), **in_regime))
            return 0
        if command == "scores":
            repeats = int(sys.argv[sys.argv.index("--repeats") + 1])
            means = dict(zip(PARTS, (81.0, 50.0, 38.0, 60.0, 41.0, 45.0, 40.0), strict=True))
            parts = {
                name: Part(accuracy_mean=mean, accuracy_std=0.5, repeats=repeats, learning_rate=0.05, searched=True)
                for name, mean in means.items()
            }
            write_json(folder.scores, scores_of(parts, "stored", "convnet", repeats, 20).model_dump(by_alias=True))
            return 0
        if "--after" in sys.argv:
            after = [RunFolder(path) for option, path in itertools.pairwise(sys.argv) if option == "--after"]
            log.emit(e.Queued([other.name for other in after]))
            while any(other.is_running() for other in after):
                if folder.stop_request.exists():
                    folder.stop_request.unlink()
                    log.emit(e.RunStopped(""))
                    return 130
                time.sleep(0.05)
        return run(log, folder, asked)


def run(log: EventLog, folder: RunFolder, asked: dict[str, object]) -> int:
    iterations = int(str(asked.get("iterations", 30)))
    begun = 0
    if folder.checkpoint.exists():
        begun = json.loads((folder.checkpoint / "at.json").read_text())
    log.emit(
        e.RunStarted(
            folder.name,
            "ltdd",
            "digits",
            50.0,
            2,
            0,
            "convnet",
            "cpu",
            STAGES,
            iterations,
            "abc",
            os.getpid(),
            resumed=folder.checkpoint.exists(),
        )
    )
    log.emit(e.DataReady(["cat", "dog", "[eel]"], [100, 10, 2], ["many", "medium", "few"], "thirds", 30, 9.0))
    if asked.get("breaks"):
        log.emit(e.RunBroke("the loss is not finite", "matching, iteration 3", "lower matching.image_lr"))
        return 1
    log.emit(e.StageStarted("experts", 1, "experts"))
    log.emit(e.ExpertDone("representation", 0, False, 81.0, PER_CLASS, [1.0, 1.0, 1.0]))
    log.emit(e.StageDone("experts", 0.5))
    log.emit(evaluated("random", mean=60.0))
    log.emit(e.StageStarted("distill", iterations, "iterations"))
    for iteration in range(begun + 1, iterations + 1):
        time.sleep(float(str(asked.get("pause", 0))))
        log.emit(e.MatchingStep(iteration, 0.9, 0.5, 0.05, 0.01))
        if iteration % 10 == 0:
            write_json(folder.checkpoint / "at.json", iteration)
            log.emit(e.Checkpointed(iteration))
        if asked.get("dies_at") == iteration:
            print("about to die", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if folder.stop_request.exists() and not asked.get("deaf"):
            folder.stop_request.unlink()
            log.emit(e.RunStopped("distill"))
            return 130
    log.emit(e.StageDone("distill", 1.0))
    final = evaluated("final", iterations, mean=86.9)
    log.emit(final)
    write_metrics(folder, final)
    log.emit(e.RunFinished(86.9, 0.7))
    return 0


def write_metrics(folder: RunFolder, final: e.Evaluated) -> None:
    names = ("accuracy_mean", "accuracy_std", "repeats", "per_class", "groups", "iteration")
    figures = {key: value for key, value in asdict(final).items() if key in names}
    folder.result.mkdir(exist_ok=True)
    folder.distilled.write_bytes((2).to_bytes(8, "little") + b"{}")
    write_json(
        folder.metrics,
        {
            "schema": 1,
            "method": "ltdd",
            "dataset": "digits",
            "imbalance_factor": 50.0,
            "ipc": 2,
            "class_counts": [100, 10, 2],
            "class_names": ["cat", "dog", "[eel]"],
            "repeats": 5,
            "arch": "convnet",
            "seed": 0,
            "settings_hash": "abc",
            "final": figures,
            "best": figures,
            "random": figures | {"accuracy_mean": 60.0},
            "initialization": figures,
            "experts": {"representation": figures, "classifier": None},
            "architectures": {},
            "expected": {"accuracy": 53.4, "source": "[R] Table 1", "note": ""},
            "stage_seconds": {"experts": 0.5, "distill": 1.0},
        },
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    try:
        sys.exit(main())
    except LtddError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
