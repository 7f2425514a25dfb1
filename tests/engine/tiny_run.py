"""A finished run for tests, made in a second: the digits, invented experts and figures, and a real export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.context import Clock, Context
from engine.data.dataset import LongTailedData, load_long_tailed
from engine.matching.synthetic import Synthetic
from engine.run.events import Evaluated, Event
from engine.run.folder import RunFolder, write_atomically
from engine.run.settings import RunSettings
from engine.stages.export import export
from engine.teachers import Teacher
from engine.training.from_scratch import fresh_network
from engine.trajectories import Trajectory

CPU = torch.device("cpu")


def tiny_settings(method: str = "ltdd", whitening: str = "corrected", **more: Any) -> RunSettings:
    """Digits at IF 50, IPC 2, a network of width 4, two epochs wherever there are epochs."""
    return RunSettings.model_validate(
        {
            "dataset": {"name": "digits", "imbalance_factor": 50.0, "whitening": whitening},
            "ipc": 2,
            "method": method,
            "experts": {"width": 4, "depth": 2, "num_experts": 2, "epochs": 2},
            "classifier_experts": {"epochs": 2},
            "matching": {"iterations": 3, "max_start_epoch": 1},
            "evaluate": {"repeats": 2, "epochs": 2, "arch": ["convnet", "alexnet"]},
        }
        | more
    )


def tiny_context(root: Path, settings: RunSettings, events: list[Event] | None = None) -> Context:
    """A context that writes below `root` and appends what it is told to `events`."""
    folder = RunFolder(root)
    write_atomically(folder.config, "method: ltdd\n")
    events = [] if events is None else events
    return Context(settings, folder, CPU, events.append, lambda: None, Clock(folder))


def tiny_data(settings: RunSettings) -> LongTailedData:
    """The long-tailed digits."""
    return load_long_tailed(
        settings.dataset, settings.ipc, CPU, lambda event: None, settings.initialize.partition, settings.validation
    )


def tiny_set(data: LongTailedData, ipc: int = 2) -> Synthetic:
    """A set of noise around the images' middle with labels that lean to their class."""
    noise = torch.Generator().manual_seed(1)
    count, classes = ipc * data.num_classes, data.num_classes
    images = torch.randn(count, data.channels, data.image_size, data.image_size, generator=noise)
    count *= data.partition.count
    labels = 3 * torch.eye(classes).repeat_interleave(count // classes, 0)
    labels = labels + torch.rand(count, classes, generator=noise)
    return Synthetic(images, labels, torch.tensor(0.03))


def figures(subject: str, iteration: int | None, arch: str = "convnet", mean: float = 50.0) -> Evaluated:
    """An invented evaluation over two networks."""
    groups = {"many": mean, "medium": mean, "few": None}
    return Evaluated(subject, iteration, arch, 2, mean, 1.5, [mean] * 10, groups, [1.0] * 10)


def evaluations() -> list[Evaluated]:
    """As the pipeline gives them: random, initialization, final, best, then final on a further network."""
    return [
        figures("random", None, mean=40.0),
        figures("initialization", 0, mean=45.0),
        figures("final", 3, mean=60.0),
        figures("best", 2, mean=61.0),
        figures("final", 3, "alexnet", mean=55.0),
    ]


def expert(accuracy: float) -> Trajectory:
    """An expert that is equally good at every class."""
    return Trajectory(torch.zeros(3, 5), torch.full((10,), accuracy, dtype=torch.float64), torch.ones(10))


def tiny_teacher(settings: RunSettings, data: LongTailedData) -> Teacher:
    """A teacher of two untrained networks, with an adjustment and invented accuracies."""
    made = [fresh_network(settings, data, settings.experts.network, "teacher", number) for number in range(2)]
    accuracies = [torch.full((10,), accuracy, dtype=torch.float64) for accuracy in (62.0, 64.0)]
    return Teacher(made[0][0], [weights for _, weights in made], accuracies, torch.linspace(-1, 1, 10))


def finish_run(root: Path, settings: RunSettings | None = None) -> Context:
    """Exports a tiny run into `root`, with figures in each label regime of its settings."""
    settings = settings or tiny_settings()
    context, data = tiny_context(root, settings), tiny_data(settings)
    decoupled = [expert(80.0), expert(84.0)] if settings.traits.decoupled else []
    representation = [expert(70.0), expert(72.0)] if settings.traits.distills else []
    first, *others = settings.evaluate.labels
    figures = [replace(event, labels=first) for event in evaluations()]
    figures += [
        replace(event, labels=labels) for labels in others for event in evaluations() if event.subject != "best"
    ]
    teacher = tiny_teacher(settings, data) if settings.needs_teacher else None
    export(context, data, tiny_set(data, settings.ipc), figures, representation, decoupled, None, teacher)
    return context
