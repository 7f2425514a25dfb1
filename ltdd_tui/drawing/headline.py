"""The first lines of a run's screen: which run, how it stands, how long still, on what."""

from __future__ import annotations

from ltdd_tui.drawing.lines import EMPTY, Line, Span, joined, spread, width_of
from ltdd_tui.live import View
from ltdd_tui.state import RunState, stage_named
from ltdd_tui.wording import duration, factor_name, stage_name

STATUS = {
    "reading": ("○", "muted"),
    "waiting": ("○", "muted"),
    "starting": ("○", "accent"),
    "running": ("●", "accent"),
    "stopping": ("●", "warning"),
    "stopped": ("■", "warning"),
    "failed": ("✗", "error"),
    "crashed": ("✗", "error"),
    "done": ("✓", "good"),
}
GAP = "   "


def headline(view: View, now: float, width: int, word: str = "") -> list[Line]:
    """One line where everything fits, else two; `now` in seconds since 1970, `word` in place of the status."""
    name: Line = (Span(view.folder.name, "strong"),)
    cell, standing, machine = _cell(view), _standing(view, now, word), _machine(view.state, now)
    left, right = joined((name, cell), "  "), joined((standing, machine), GAP)
    if width_of(left) + len(GAP) + width_of(right) <= width:
        return [spread(left, right, width)]
    return [spread(name, standing, width), spread(cell, machine, width)]


def _cell(view: View) -> Line:
    """Data set, imbalance factor, IPC and method, as the run itself says them, else as its settings do."""
    started, settings = view.state.started, view.settings
    if started:
        return _cell_words(started.dataset, started.imbalance_factor, started.ipc, started.method)
    if settings:
        dataset = settings.dataset
        return _cell_words(dataset.name, dataset.imbalance_factor, settings.ipc, settings.method)
    return EMPTY


def _cell_words(dataset: str, factor: float | str, ipc: int, method: str) -> Line:
    return (Span(f"{dataset} · IF {factor_name(factor)} · IPC {ipc} · {method}", "muted"),)


def _standing(view: View, now: float, word: str) -> Line:
    if view.at is not None:
        last = view.state.started.iterations if view.state.started else view.state.iteration
        return (Span(f"⟲ as of iteration {view.at} of {last}", "warning"),)
    state = view.state
    word = word or state.status
    sign, role = STATUS[word]
    parts: list[Line] = [(Span(f"{sign} {word}", role),)]
    if state.stages.by_name and (worked := sum(s.elapsed(clock(state, now)) for s in state.stages.by_name.values())):
        parts[0] += (Span(f" {duration(worked)}"),)
    left = state.seconds_left(now)
    if left is not None and state.stages.current:
        parts.append((Span(f"{stage_name(state.stages.current.name)} about {duration(left)} left"),))
    return joined(parts, " · ")


def _machine(state: RunState, now: float) -> Line:
    reading = state.reading
    device = reading.device if reading else state.started.device if state.started else ""
    memory = f"{reading.memory_gib:.1f}/{reading.memory_total_gib:.0f} GiB" if reading and _is_known(reading) else ""
    return joined([(Span(text, "muted"),) if text else EMPTY for text in (device, memory, speed(state, now))], "  ")


def _is_known(reading: object) -> bool:
    return None not in (getattr(reading, "memory_gib", None), getattr(reading, "memory_total_gib", None))


def clock(state: RunState, now: float) -> float:
    """The time up to which a run has worked: now while it does, else when it last said something."""
    return now if state.status == "running" else state.last_seconds or now


def speed(state: RunState, now: float) -> str:
    """Outer iterations a second, of late while it distills, else on the whole; empty where there were none."""
    stage = stage_named(state, "distill")
    if stage is None or not state.iteration:
        return ""
    pace = stage.pace(now) if stage.status == "running" and state.status == "running" else None
    worked = stage.elapsed(clock(state, now))
    pace = pace or (state.iteration / worked if worked else None)
    if not pace:
        return ""
    return f"{pace:.0f} it/s" if pace >= 10 else f"{pace:.1f} it/s" if pace >= 1 else f"{1 / pace:.1f} s/it"
