"""The verdict on a finished run: which set a person should use, or all images, as a function of metrics.json alone.

Of what is as good within noise the simplest is recommended: random images, a plain selection, the start, the distilled
set. Then that is compared with training on all images, in points, seconds and bytes. Where test images are too few to
tell what is as good, that is all that is said. Accuracies of networks that diverged are none of their images: they are
not compared, and where they are those of the set itself, nothing is concluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.run.events import BOUND, SELECTION
from engine.run.methods import METHODS
from engine.run.metrics import FEW_TEST_IMAGES, MetricsJson, VerdictFigures, sampling_error
from engine.run.recipes import rate_setting

STANDARD_ERRORS = 2.0
"""Two accuracies are as good as each other where they differ by less than this many standard errors (about 95 %)."""
UNKNOWN_STD = 1.0
"""Points, of a figure over one network, where no other figure has a larger standard deviation (ours)."""
LONG_SECONDS, LONG_FACTOR = 600.0, 3.0
"""Training on everything is no advice where it takes longer than this, and as many times as long as on the set."""
TOO_UNCERTAIN = 5.0
"""Points: where few test images may put a mean off by more, they do not show that two sets are as good (ours)."""
RULES = {"herding": "herded", "confident": "confident", "k-center": "k-center", "graph-cut": "graph-cut"}


@dataclass(frozen=True)
class Measured:
    """One way to get a network: what it is trained on, its test accuracy in percent, and the seconds of its training.

    error: the standard error of the accuracy over its networks, of which `diverged` did.
    """

    use: str
    name: str
    mean: float
    std: float
    repeats: int
    error: float
    seconds: float | None = None
    diverged: int = 0

    @property
    def accuracy(self) -> str:
        """`55.2 ± 1.9`, or `55.2` of one network."""
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if self.repeats > 1 else "")


def verdict(metrics: MetricsJson) -> VerdictFigures | None:
    """What to use, in a sentence, with its numbers; None without a final figure."""
    measured, bounds = measured_sets(metrics), bounds_of_all(metrics)
    if not measured or (metrics.get("final") or {}).get("accuracy_mean") is None:
        return None
    *_, final = measured
    sets, everything = [own for own in measured if not own.diverged], best_of(bounds)
    images = _error_of_images(metrics)
    best = max(sets, key=lambda own: own.mean, default=final)
    advised = next((own for own in sets if _within_noise(own, best, images)), final)
    gain = everything.mean - advised.mean if everything else 0.0
    uncertain = _uncertainty(metrics, images)
    as_good = [own for own in sets if own is not advised and _within_noise(own, best, images)]
    if final.diverged:
        use, advised, first = "diverged", final, _no_advice(final, metrics)
    elif everything and gain > _noise(everything, advised, images) and not _is_long(everything, advised):
        use, first = "everything", _advice_everything(everything, advised, gain, metrics)
    elif as_good and STANDARD_ERRORS * images > TOO_UNCERTAIN:
        use, advised = "undecided", final
        told = ", ".join(f"{own.name} {own.accuracy} %" for own in [final, *(own for own in sets if own is not final)])
        first, uncertain = f"nothing can be concluded, as {uncertain} ({told})", "more test images would tell"
    else:
        use, first = advised.use, _advice(advised, final, sets, images)
    compared = "" if final.diverged else _against_everything(advised, everything, metrics)
    others = _left_out([own for own in [*measured, *bounds] if own is not final])
    parts = [first, compared, _in_better_regimes(final, images, metrics), others, uncertain]
    points = {own.name: own.mean for own in [*sets, *([everything] if everything else [])]}
    figures: dict[str, float | None] = {
        "noise": _noise(advised, final, images),
        "seconds_set": final.seconds,
        "seconds_everything": everything.seconds if everything else None,
        "bytes_set": _bytes(metrics)[0],
        "bytes_everything": _bytes(metrics)[1],
        "test_images": sum(metrics.get("test_counts") or []),
    }
    sentence = "; ".join(filter(None, parts))
    return VerdictFigures.model_construct(use=use, sentence=sentence, points=points, figures=figures)


def comparison_rows(metrics: MetricsJson) -> list[list[str]]:
    """The table behind the verdict, with its titles: what is trained on, accuracy, seconds a network, bytes."""
    bounds = bounds_of_all(metrics)
    shown = [own for own in [best_of(bounds)] if own] or bounds
    rows = [["trained on", "accuracy", "seconds a network", "bytes"]]
    for own in [*measured_sets(metrics), *shown]:
        of_set, of_all = _bytes(metrics)
        kept = of_all if own.use == "everything" else of_set if own.use in ("distilled", "start") else None
        seconds = "-" if own.seconds is None else f"{own.seconds:.0f}"
        networks = f"{own.diverged} of {own.repeats} networks diverged" if own.diverged else f"n = {own.repeats}"
        rows.append([own.name, f"{own.accuracy} ({networks})", seconds, "-" if kept is None else f"{kept:,}"])
    return rows


# ---- What was measured ----

Named = tuple[str, str, Any, str]
"""What it is of use as, its name in sentences, its figures, and its name in `training_seconds`."""


def measured_sets(metrics: MetricsJson) -> list[Measured]:
    """The sets of a run, the simplest first; without those that were not measured."""
    ipc, method = metrics.get("ipc"), metrics.get("method")
    traits = METHODS.get(method) if isinstance(method, str) else None  # type: ignore[call-overload]
    distills = traits is not None and traits.distills
    selections = metrics.get("selections") or {}
    last = ("distilled", "the distilled set") if distills else ("selected", f"the set of {method}")
    last = ("imported", "the imported set") if method == "imported" else last
    if ends_at_start := (metrics.get("validation") or {}).get("chosen") == 0:
        last = ("start", "your start")
    named: list[Named] = [("random", f"{ipc} random images a class", metrics.get("random"), "random")]
    named += [
        ("selection", f"{ipc} {RULES.get(rule, rule)} images a class", own, f"{SELECTION}{rule}")
        for rule, own in selections.items()
    ]
    if distills and not ends_at_start:
        named.append(("start", "your start", metrics.get("initialization"), "initialization"))
    named.append((*last, metrics.get("final"), "final"))
    return _with_errors(named, metrics)


def bounds_of_all(metrics: MetricsJson) -> list[Measured]:
    """Networks that were trained on all images, by each loss."""
    count = sum(metrics.get("class_counts") or [])
    name = f"all {count:,} images" + " not kept for validation" * bool(metrics.get("validation"))
    named: list[Named] = [
        # Where one is left out, its loss says which.
        ("everything", name + f" with {loss} loss" * _has_diverged(figures), figures, f"{BOUND}{loss}")
        for loss, figures in (metrics.get("bounds") or {}).items()
    ]
    return _with_errors(named, metrics)


def best_of(bounds: Sequence[Measured]) -> Measured | None:
    """The bound with the highest accuracy of those whose networks did not diverge."""
    return max((own for own in bounds if not own.diverged), key=lambda own: own.mean, default=None)


def _has_diverged(figures: Any) -> bool:
    return isinstance(figures, Mapping) and bool(figures.get("diverged"))


def _with_errors(named: Sequence[Named], metrics: MetricsJson) -> list[Measured]:
    seconds = metrics.get("training_seconds") or {}
    sound = [
        (use, name, own, seconds.get(subject))
        for use, name, own, subject in named
        if isinstance(own, Mapping) and own.get("accuracy_mean") is not None and own.get("repeats")
    ]
    stds = [own.get("accuracy_std") or 0.0 for _, _, own, _ in sound if own["repeats"] > 1 and not _has_diverged(own)]
    unknown = max(stds, default=UNKNOWN_STD) or UNKNOWN_STD
    measured = []
    for use, name, own, of_network in sound:
        repeats, std = own["repeats"], own.get("accuracy_std") or 0.0
        error = (std if repeats > 1 else unknown) / math.sqrt(repeats)
        diverged = own.get("diverged") or 0
        measured.append(Measured(use, name, own["accuracy_mean"], std, repeats, error, of_network, diverged))
    return measured


def _bytes(metrics: MetricsJson) -> tuple[int | None, int | None]:
    """Of the set's file, and of all train images."""
    kept = metrics.get("stored_bytes") or {}
    return kept.get("set_file"), kept.get("all_images")


# ---- Noise ----


def _error_of_images(metrics: MetricsJson) -> float:
    """As `sampling_error`, of the test images.

    Networks of all sets are tested on the same images, so it is taken where they are too few to say anything else.
    """
    counts, per_class = metrics.get("test_counts") or [], (metrics.get("final") or {}).get("per_class") or []
    comparable = len(counts) == len(per_class) and per_class
    return sampling_error(per_class, counts, FEW_TEST_IMAGES) if comparable else 0.0


def _noise(one: Measured, other: Measured, images: float) -> float:
    return STANDARD_ERRORS * math.hypot(one.error, other.error, images)


def _within_noise(one: Measured, best: Measured, images: float) -> bool:
    return one is best or best.mean - one.mean <= _noise(one, best, images)


def _is_long(everything: Measured, advised: Measured) -> bool:
    if everything.seconds is None or advised.seconds is None:
        return False
    return everything.seconds > max(LONG_SECONDS, LONG_FACTOR * advised.seconds)


# ---- Sentences ----


def _advice(advised: Measured, final: Measured, sets: Sequence[Measured], images: float) -> str:
    """What to use of the sets; those that are as good, or worse, stand behind it."""
    if advised is final:
        others = [f"{_points(final.mean - own.mean)} {own.name}" for own in sets if own is not final]
        use = {
            "distilled": "use the distilled set",
            "start": "your start is as good: matching gained nothing, so the set is the start",
        }.get(final.use, f"use {final.name}")
        return ", ".join([f"{use} ({final.accuracy} %)", *others])
    against = f"{advised.accuracy} % against {final.accuracy} % of {final.name}"
    clearly = advised.mean - final.mean > _noise(advised, final, images)
    if advised.use == "start":
        what = "is better: matching made the set worse" if clearly else "is as good: matching gained nothing"
        return f"your start {what} ({against})"
    labels = " with soft labels" if advised.use == "selection" else ""
    return f"{advised.name}{labels} are {'better' if clearly else 'as good'}: {against}"


def _points(lead: float) -> str:
    return f"{abs(lead):.1f} points {'above' if lead >= 0 else 'below'}"


def _advice_everything(everything: Measured, advised: Measured, gain: float, metrics: MetricsJson) -> str:
    costs = "it" if everything.seconds is None else f"it costs {_duration(everything.seconds)} and"
    counts, ipc = metrics.get("class_counts") or [], metrics.get("ipc") or 1
    small = sum(counts) <= LONG_FACTOR * ipc * len(counts)
    why = f" your data is small ({sum(counts):,} images in all), and" if small else ""
    return f"train on everything:{why} {costs} has {gain:.1f} points more than {advised.name}"


def _no_advice(final: Measured, metrics: MetricsJson) -> str:
    setting = rate_setting("final", metrics.get("labels") or "stored")
    what = f"{final.diverged} of {final.repeats} networks that were trained on {final.name} diverged"
    return f"nothing can be concluded, as {what}: set a lower {setting}"


def _in_better_regimes(final: Measured, images: float, metrics: MetricsJson) -> str:
    """The label regimes in which the same images are better beyond noise than in the first one."""
    first = metrics.get("labels") or "stored"
    regimes = (metrics.get("regimes") or {}).items()
    named = [("", labels, (own or {}).get("final"), "") for labels, own in regimes if labels != first]
    # With the first one, whose spread stands in for that of a single network; it comes last.
    others = _with_errors([*named, ("", first, metrics.get("final"), "")], metrics)[:-1]
    better = [
        f"with {own.name} labels {final.name} has {own.accuracy} %"
        for own in others
        if not own.diverged and (final.diverged or own.mean - final.mean > _noise(own, final, images))
    ]
    return ", ".join(better) + f" (with {first} labels {final.accuracy} %)" * bool(better and not final.diverged)


def _left_out(others: Sequence[Measured]) -> str:
    told = [f"{own.name} ({own.diverged} of {own.repeats})" for own in others if own.diverged]
    return f"left out, as networks diverged: {', '.join(told)}" if told else ""


def _against_everything(advised: Measured, everything: Measured | None, metrics: MetricsJson) -> str:
    """Why not train on everything, in points, seconds and bytes."""
    if everything is None:
        return "" if metrics.get("bounds") else "training on everything was not measured (bounds.losses)"
    of_set, of_all = _bytes(metrics)
    own = [f"{everything.name}: {everything.accuracy} %", f"{advised.name}: {advised.accuracy} %"]
    for place, (measured, kept) in enumerate(((everything, of_all), (advised, of_set))):
        own[place] += "" if measured.seconds is None else f" in {_duration(measured.seconds)}"
        is_file = kept is not None and measured.use in ("everything", "distilled", "start", "imported", "selected")
        own[place] += f" from {_size(kept)}" if is_file and kept else ""
    return ", ".join(own)


def _uncertainty(metrics: MetricsJson, images: float) -> str:
    if not images:
        return ""
    counts = metrics.get("test_counts") or []
    few = [n for n in counts if 0 < n < FEW_TEST_IMAGES]
    number = f"{min(few)}" if min(few) == max(few) else f"{min(few)} to {max(few)}"
    classes = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
    return (
        f"{classes} {number} test image{'s' * (max(few) > 1)}, so a mean may be off by"
        f" {STANDARD_ERRORS * images:.0f} points"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.0f} kB"
