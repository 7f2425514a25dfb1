"""What a prospect says, in words: from images to synthetic ones, what it takes, what is spared, what is published."""

from __future__ import annotations

from typing import NamedTuple

from ltdd_tui.planning import UNKNOWN_COST
from ltdd_tui.prospect import Prospect
from ltdd_tui.tail import Tail
from ltdd_tui.wording import gibibytes, percent, roughly, stage_name

# A figure stays beside its unit, and a stage beside its figure.
UNBROKEN = "\u00a0"
LEAST_SECONDS = 0.5


class Fact(NamedTuple):
    """One line of what a run takes; `warns` where this machine does not have it."""

    label: str
    text: str
    warns: bool = False


def headline(tail: Tail) -> tuple[str, str]:
    """From how many images to how many, and how much smaller that is."""
    ratio = tail.total / tail.synthetic
    smaller = f"{ratio:,.0f} : 1" if ratio >= 10 else f"{ratio:.1f} : 1"
    share = 100 / ratio
    percent_kept = f"{share:,.0f} %" if share >= 10 else f"{share:.2g} %"
    return f"{tail.total:,} images → {tail.synthetic:,} synthetic", f"{smaller}, {percent_kept}"


def remark(tail: Tail) -> Fact:
    """Whether each class has as many images as it will have synthetic ones."""
    if not tail.short:
        return Fact("", f"every class has at least {tail.ipc} images")
    classes, whose = ("1 class has", "its") if tail.short == 1 else (f"{tail.short} classes have", "their")
    return Fact("", f"! {classes} fewer images than IPC {tail.ipc}; {whose} images repeat at the start", warns=True)


def stage_seconds(prospect: Prospect) -> list[tuple[str, float]]:
    """Each stage that takes time, with what is left for it to do."""
    found = prospect.estimate.stage_seconds if prospect.estimate else {}
    return [(stage_name(stage), seconds) for stage, seconds in found.items() if seconds >= LEAST_SECONDS]


def facts(prospect: Prospect, stages_in_a_line: bool) -> list[Fact]:
    """Time, memory, disk, cached experts and the published figure; the stages' times where they have no bars."""
    found = [*_costs(prospect, stages_in_a_line), *_experts(prospect)]
    expected = prospect.settings.expected
    if expected is not None:
        note = f"; {expected.note}" if expected.note else ""
        found.append(Fact("published", f"{percent(expected.accuracy)} %  {expected.source}{note}"))
    return found


def _costs(prospect: Prospect, stages_in_a_line: bool) -> list[Fact]:
    estimate = prospect.estimate
    if estimate is None:
        return [Fact("time", UNKNOWN_COST)]
    found = [Fact("time", f"about {roughly(estimate.total_seconds)}")]
    if not prospect.device.calibrated:
        found.append(Fact("", "rough: ctrl+b measures"))
    elif prospect.device.busy:
        found.append(Fact("", "measured while other programs ran: ctrl+b again"))
    if stages_in_a_line:
        parts = [
            f"{name} {roughly(seconds)}".replace(" ", UNBROKEN) for name, seconds in stage_seconds(prospect) if seconds
        ]
        found.append(Fact("", ", ".join(parts)))
    has, free = prospect.memory_gib, prospect.free_gib
    of = "" if has is None else f" of {gibibytes(has)}"
    found.append(Fact("memory", gibibytes(estimate.memory_gib) + of, has is not None and estimate.memory_gib > has))
    left = "" if free is None else f", {gibibytes(free)} free"
    found.append(Fact("disk", gibibytes(estimate.disk_gib) + left, free is not None and estimate.disk_gib > free))
    return found


def _experts(prospect: Prospect) -> list[Fact]:
    """How many experts the run would take from the cache."""
    settings, cached = prospect.settings, prospect.cached
    if not settings.traits.distills:
        return [Fact("experts", "none: real images are only picked")]
    wanted = settings.experts.num_experts
    if not cached.representation:
        return [Fact("experts", f"{wanted} to train, then cached for other runs")]
    text = f"{cached.representation} of {wanted} in the cache"
    if settings.traits.decoupled and cached.classifier != cached.representation:
        text += f", {cached.classifier} classifier experts"
    return [Fact("experts", text)]
