"""Rows of the table of results: random images, the initialization, experts, teacher and final set, by label regime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.run.events import BOUND, SELECTION, Evaluated, LabelsAdjusted
from engine.run.metrics import Figures, Metrics, StoredBytes, diverged_text, expert_figures
from ltdd_tui.formatting import size
from ltdd_tui.runs.state import EXPERT_STAGES, RunState


def are_percents(*values: float | None) -> bool:
    """Whether all of them are known and can be accuracies."""
    return all(value is not None and 0 <= value <= 100 for value in values)


BY_TEACHER = " (teacher's labels)"
"""Behind the name of random images that have labels of the teacher."""


@dataclass(frozen=True)
class Row:
    """One set under the recipe, in percent; `repeats` networks, `iteration` where the set has one.

    `per_class` is None for a class without test images. `labels` is the label regime, empty for experts and teachers.
    `teacher_labels`: these real images had the teacher's labels, not their classes. `tested_on`: test or validation.
    `diverged`: how many of the networks did, in words, where any did.
    """

    label: str
    accuracy_mean: float
    accuracy_std: float
    repeats: int
    per_class: list[float | None]
    groups: Mapping[str, float | None]
    iteration: int | None = None
    labels: str = ""
    teacher_labels: bool = False
    tested_on: str = "test"
    diverged: str = ""

    @property
    def title(self) -> str:
        """What is written before its figures: runs whose random images have other labels must not look alike."""
        tested_on = f" ({self.tested_on})" * (self.tested_on != "test")
        return self.label + BY_TEACHER * self.teacher_labels + tested_on + self.diverged


def is_sound(figures: Evaluated | Figures, test_counts: Sequence[int]) -> bool:
    """Whether all its accuracies are known and can be accuracies, so that it gives a row."""
    return are_percents(figures.accuracy_mean, figures.accuracy_std, *_tested(figures.per_class, test_counts))


def _tested(per_class: Sequence[float | None], test_counts: Sequence[int]) -> list[float | None]:
    """The accuracies of the classes that have test images; of all where these are not counted."""
    counts = test_counts if len(test_counts) == len(per_class) else [1] * len(per_class)
    return [value for value, count in zip(per_class, counts, strict=True) if count]


def row_of(label: str, figures: Evaluated | Figures, repeats: int = 1, labels: str = "") -> Row:
    """The row of one sound set; `repeats` counts where the figures do not say over how many networks they are."""
    assert figures.accuracy_mean is not None and figures.accuracy_std is not None
    return Row(
        label,
        figures.accuracy_mean,
        figures.accuracy_std,
        figures.repeats or repeats,
        [*figures.per_class],
        figures.groups,
        figures.iteration,
        figures.labels if isinstance(figures, Evaluated) else labels,
        bool(figures.teacher_labels),
        figures.tested_on if isinstance(figures, Evaluated) else "test",
        diverged_text(figures),
    )


def has_regimes(rows: Iterable[Row]) -> bool:
    """Whether the label regime of each row has to be told: there is another than `stored`, the only one of old runs."""
    return not {row.labels for row in rows} <= {"", "stored"}


def by_label(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows of the run's first label regime, and those of none, by their labels."""
    rows = list(rows)
    first = next((row.labels for row in rows if row.labels), "")
    return {row.label: row for row in rows if row.labels in ("", first)}


def rows_from_state(state: RunState) -> list[Row]:
    """random, initialization, experts and teacher, final, best, final on further networks; before final, two checks.

    Those are of the first label regime; random, initialization and final of each further one follow, then the bounds.
    """
    groups, tests = (state.data.groups, state.data.test_counts) if state.data else ([], [])
    finals = [event for event in state.evaluated("final") if is_sound(event, tests)]
    checks = [event for event in state.evaluated("check") if is_sound(event, tests)]
    named: list[tuple[str, Evaluated | Figures]] = []
    for subject in ("random", "initialization"):
        named += [(subject, event) for event in state.evaluated(subject)]
    trained = [(f"{kind} experts", state.done_experts(kind)) for kind in EXPERT_STAGES if kind != "teacher"]
    if "teacher" in state.stages.by_name:
        # A teacher without networks of its own is the classifier experts.
        trained.append(("teacher", state.done_experts("teacher") or state.done_experts("classifier")))
    for name, networks in trained:
        sound = [done for done in networks if are_percents(done.accuracy, *_tested(done.per_class, tests))]
        if sound:
            accuracies, per_class = [done.accuracy for done in sound], [done.per_class for done in sound]
            named.append((name, expert_figures(accuracies, per_class, groups, tests)))
    teacher = state.teacher
    # What labels images, where that is no single network.
    is_mean = isinstance(teacher, LabelsAdjusted) or (teacher is not None and teacher.networks > 1)
    if teacher and is_mean and are_percents(teacher.accuracy, *_tested(teacher.per_class, tests)):
        named.append(("mean of teacher", expert_figures([teacher.accuracy], [teacher.per_class], groups, tests)))
    if checks and not finals:
        named.append(("last check", checks[-1]))
        named.append(("best check", max(checks, key=lambda event: event.accuracy_mean)))
    first_arch = next((event.arch for event in finals), "")
    named += [("final", event) for event in finals if event.arch == first_arch]
    named += [("best", event) for event in state.evaluated("best")]
    named += [(f"final on {event.arch}", event) for event in finals if event.arch != first_arch]
    for labels in state.regimes[1:]:
        for subject in ("random", "initialization"):
            named += [(subject, event) for event in state.evaluated(subject, labels)]
        for event in state.evaluated("final", labels):
            named.append(("final" if event.arch == first_arch else f"final on {event.arch}", event))
    apart = [event for event in state.evaluations.values() if event.subject.startswith((SELECTION, BOUND))]
    named += [(event.subject.replace("_", " "), event) for event in apart]
    return [row_of(label, figures) for label, figures in named if is_sound(figures, tests)]


def final_with_stored_labels(rows: Iterable[Row]) -> float | None:
    """The final accuracy that published ones compare with, in percent: in the paper's protocol labels are stored."""
    return next((row.accuracy_mean for row in rows if (row.label, row.labels) == ("final", "stored")), None)


def stored_text(metrics: Metrics) -> str:
    """What a set takes where it is kept, beside all data: `the set 221 kB; all 3,682 train images 4.2 MB`.

    Of a run of an older version, which does not know the size of its file, the parts: `images 307 kB (77 kB as 8 bits),
    labels 4.0 kB, whitening 38 MB`; the teacher only where networks are trained in the online regime. May be empty.
    """
    stored, parts = metrics.stored_bytes or StoredBytes(), []
    if stored.set_file is not None:
        whitening = stored.whitening_float32 or 0
        # One of a low rank is stored in float16, and is small.
        told = f" ({size(whitening)} of it whitening)" if stored.set_file < 2 * whitening < 2 * stored.set_file else ""
        parts = [f"the set {size(stored.set_file)}{told}"]
        if stored.teacher_float32 and "online" in (metrics.regimes or {}):
            parts.append(f"its teacher {size(stored.teacher_float32)}")
        if stored.all_images is not None:
            images = f" {sum(metrics.class_counts):,}" if metrics.class_counts else ""
            parts.append(f"all{images} train images {size(stored.all_images)}")
        return "; ".join(parts)
    if stored.images_float32 is not None:
        pixels = "" if stored.images_uint8 is None else f" ({size(stored.images_uint8)} as 8 bits)"
        parts.append(f"images {size(stored.images_float32)}{pixels}")
    parts += [f"labels {size(stored.labels_float32)}"] if stored.labels_float32 else []
    if stored.teacher_float32 and "online" in (metrics.regimes or {}):
        parts.append(f"teacher {size(stored.teacher_float32)}")
    parts += [f"whitening {size(stored.whitening_float32)}"] if stored.whitening_float32 else []
    return ", ".join(parts)
