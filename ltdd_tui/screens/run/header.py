"""The lines over the panels of a run: which run, how it stands, its stages."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ltdd_tui.formatting import clean, duration, factor_name, stage_name
from ltdd_tui.runs.messages import Notice
from ltdd_tui.runs.state import RunState, RunView, Stage
from ltdd_tui.widgets.lines import EMPTY, Line, Rows, Span, cut, joined, spread, width_of

# The first lines of a run's screen: which run, how it stands, how long still, on what.


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


def headline(view: RunView, now: float, width: int, word: str = "") -> list[Line]:
    """One line where everything fits, else two; `now` in seconds since 1970, `word` in place of the status."""
    name: Line = (Span(view.folder.name, "strong"),)
    cell, standing, machine = _cell(view), _standing(view, now, word), _machine(view.state, now)
    left, right = joined((name, cell), "  "), joined((standing, machine), GAP)
    if width_of(left) + len(GAP) + width_of(right) <= width:
        return [spread(left, right, width)]
    return [spread(name, standing, width), spread(cell, machine, width)]


def _cell(view: RunView) -> Line:
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


def _standing(view: RunView, now: float, word: str) -> Line:
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
    stage = state.stages.by_name.get("distill")
    if stage is None or not state.iteration:
        return ""
    pace = stage.pace(now) if stage.status == "running" and state.status == "running" else None
    worked = stage.elapsed(clock(state, now))
    pace = pace or (state.iteration / worked if worked else None)
    if not pace:
        return ""
    return f"{pace:.0f} it/s" if pace >= 10 else f"{pace:.1f} it/s" if pace >= 1 else f"{1 / pace:.1f} s/it"


# The stages of a run in one line: done, under way, to come.


ARROW = " › "
BAR_CELLS = (24, 14, 8)
DONE, BROKEN = "✓", "■"


def stage_line(state: RunState, now: float, width: int) -> Line:
    """The longest of several forms that fits: with times and totals, with names alone, then the present stage alone."""
    stages = list(state.stages.by_name.values())
    if not stages:
        return (Span("no stage yet", "muted"),)
    forms = [
        *(joined([_words(stage, now, cells, full=True) for stage in stages], ARROW) for cells in BAR_CELLS),
        joined([_words(stage, now, BAR_CELLS[-1], full=False) for stage in stages], ARROW),
        *(_short(stages, now, cells) for cells in BAR_CELLS),
    ]
    return next((form for form in forms if width_of(form) <= width), cut(forms[-1], width))


def _words(stage: Stage, now: float, cells: int, full: bool) -> Line:
    name = stage_name(stage.name)
    if stage.status == "done":
        return (
            (Span(f"{DONE} {name}", "good"), Span(f" {duration(stage.seconds)}", "muted"))
            if full
            else (Span(name, "good"),)
        )
    if stage.status == "pending":
        return (Span(name, "muted"),)
    return _under_way(stage, cells)


def _under_way(stage: Stage, cells: int) -> Line:
    still = stage.status == "interrupted"
    share = min(1.0, stage.done / stage.total) if stage.total else 0.0
    filled = round(share * cells)
    return (
        Span(f"{BROKEN} " if still else "", "warning"),
        Span(stage_name(stage.name).upper(), "warning" if still else "accent"),
        Span(f" {count(stage.done)}/{count(stage.total)} "),
        Span("━" * filled, "warning" if still else "accent"),
        Span("─" * (cells - filled), "track"),
        Span(f" {100 * share:.0f}%"),
    )


def _short(stages: list[Stage], now: float, cells: int) -> Line:
    """A sign for each stage that is over, the one under way, and the name of the next."""
    over = sum(stage.status == "done" for stage in stages)
    present: Line = next((_under_way(s, cells) for s in stages if s.status in {"running", "interrupted"}), EMPTY)
    coming = [stage_name(stage.name) for stage in stages if stage.status == "pending"]
    more = f" +{len(coming) - 1}" if coming[1:] else ""
    rest: Line = (Span(f"then {coming[0]}{more}", "muted"),) if coming else EMPTY
    done: Line = (Span(DONE * over, "good"), Span(f" {over} of {len(stages)} stages", "muted")) if over else EMPTY
    return joined((done, present, rest), ARROW)


def count(units: float) -> str:
    """`6,420`, or `2.5` where a unit is long."""
    return f"{units:,.0f}" if units == int(units) else f"{units:,.1f}"


class RunHead(Vertical):
    """One or two lines on the run, and one on its stages."""

    DEFAULT_CSS = """
    RunHead { height: auto; padding: 0 1; }
    RunHead .headline { height: 1; }
    RunHead .stages { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[object, ...] = ()
        self._line, self._stages = Rows(classes="headline"), Rows(classes="stages")

    def compose(self) -> ComposeResult:
        """The lines."""
        yield self._line
        yield self._stages

    def show(self, view: RunView, now: float, word: str) -> None:
        """Draws the run at `now`; `word` stands for its status where that alone would mislead."""
        works = view.state.status == "running" and view.at is None
        parts = (view.version, view.at, word, self.content_size.width, now if works else 0.0)
        if parts == self._drawn:
            return
        self._drawn = parts
        self._line.styles.height = len(headline(view, now, max(1, self.content_size.width), word))
        self._line.draw(lambda width: headline(view, now, width, word))
        self._stages.draw(lambda width: [stage_line(view.state, now, width)])


# The box above the panels that says what is the matter with a run.


LONGEST = 500


class NoticeBox(VerticalScroll, can_focus=False):
    """Not there at all while there is nothing to say."""

    DEFAULT_CSS = """
    NoticeBox {
        display: none; height: auto; max-height: 9; padding: 0 1; border: round $primary;
        Static { height: auto; }
        &.-error { border: round $error; border-title-color: $text-error; }
        &.-warning { border: round $warning; border-title-color: $text-warning; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Notice | None = None
        self._words = Static()

    def compose(self) -> ComposeResult:
        """The words."""
        yield self._words

    def show(self, notice: Notice | None) -> None:
        """Shows a notice, or with None nothing."""
        if notice == self._shown:
            return
        self._shown = notice
        self.display = notice is not None
        if notice is None:
            return
        for severity in ("error", "warning", "information"):
            self.set_class(severity == notice.severity, f"-{severity}")
        self.border_title = Content(clean(notice.title))
        lines = [Content(clean(line[:LONGEST])) for line in notice.lines]
        if notice.hint:
            lines.append(Content.assemble(("hint: ", "$text-muted"), clean(notice.hint)))
        self._words.update(Content("\n").join(lines))
        self._words.display = bool(lines)
