"""The long tail that a run would train on, from head to tail, and a bar of block characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.datasets import FACTS, Survey, counts_for, long_tailed
from engine.run.settings import DatasetSettings, RunSettings

LEFT_BLOCKS = " ▏▎▍▌▋▊▉█"
EIGHTHS = 8


@dataclass(frozen=True)
class Tail:
    """Classes with their train images, the largest first, and how many synthetic images each will have."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    ipc: int

    @property
    def total(self) -> int:
        """All train images."""
        return sum(self.counts)

    @property
    def synthetic(self) -> int:
        """All synthetic images."""
        return self.ipc * len(self.counts)

    @property
    def short(self) -> int:
        """Classes that have fewer images than they will have synthetic ones."""
        return sum(count < self.ipc for count in self.counts)


def tail_of(settings: RunSettings, survey: Survey | None) -> Tail | None:
    """The long tail of a data set; `survey` is that of its folder. None where only its files tell."""
    dataset = settings.dataset
    counts = long_tailed(survey.counts, dataset) if survey else counts_for(dataset)
    if counts is None:
        return None
    names = _in_class_order(*_classes(dataset, survey), dataset)
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    return Tail(tuple(names[c] for c in order), tuple(counts[c] for c in order), settings.ipc)


def _classes(dataset: DatasetSettings, survey: Survey | None) -> tuple[Sequence[str], Sequence[int]]:
    """The names and sizes of the classes before anything is selected."""
    if survey:
        return survey.names, survey.counts
    facts = FACTS[dataset.name]
    return facts.class_names or [f"class {c}" for c in range(facts.classes)], facts.class_sizes


def _in_class_order(names: Sequence[str], sizes: Sequence[int], dataset: DatasetSettings) -> list[str]:
    if dataset.class_order == "label":
        return list(names)
    return [names[c] for c in sorted(range(len(sizes)), key=lambda c: (-sizes[c], c))]


def bar(value: float, largest: float, width: int) -> str:
    """A bar of at most `width` cells, an eighth of a cell fine; what is not 0 is seen."""
    if value <= 0 or largest <= 0 or width < 1:
        return ""
    eighths = max(1, round(value / largest * width * EIGHTHS))
    full, rest = divmod(min(eighths, width * EIGHTHS), EIGHTHS)
    return LEFT_BLOCKS[-1] * full + (LEFT_BLOCKS[rest] if rest else "")
