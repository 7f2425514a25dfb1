"""The lines over the panels of a run: which run, its status and stages, and a box for what is the matter."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ltdd_tui.formatting import clean, duration, factor_name, stage_name, units
from ltdd_tui.runs.messages import Notice, closing_line_of, progress_text
from ltdd_tui.runs.stages import Stage
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.widgets.bars import gauge
from ltdd_tui.widgets.lines import ACCENT, EMPTY, ERROR, GOOD, MUTED, STRONG, WARNING, LinesView, spread

STATUS = {
    "reading": ("○", MUTED),
    "waiting": ("○", MUTED),
    "queued": ("○", ACCENT),
    "starting": ("○", ACCENT),
    "running": ("●", ACCENT),
    "stopping": ("●", WARNING),
    "stopped": ("■", WARNING),
    "failed": ("✗", ERROR),
    "crashed": ("✗", ERROR),
    "done": ("✓", GOOD),
}
GAP, ARROW = Content("   "), Content.styled(" › ", MUTED)
BAR_CELLS = (24, 14, 8)
DONE, BROKEN = "✓", "■"
LONGEST = 500


def _joined(parts: Iterable[Content], between: Content) -> Content:
    return between.join([part for part in parts if part])


# ------------------------------------------------------------------------------------------------------------------
# The headline: which run, how it stands, how long still, on what
# ------------------------------------------------------------------------------------------------------------------


def headline(view: RunView, now: float, width: int, word: str = "") -> list[Content]:
    """One line where everything fits, else two; `now` in seconds since 1970, `word` in place of the status."""
    tags = "".join(f" #{clean(tag)}" for tag in view.notes.tags)
    name = Content.assemble((view.folder.name, STRONG), (tags, ACCENT))
    cell, status, machine = _cell(view), _status(view, now, word), _machine(view.state, now)
    left, right = _joined((name, cell), Content("  ")), _joined((status, machine), GAP)
    if left.cell_length + GAP.cell_length + right.cell_length <= width:
        return [spread(left, right, width)]
    return [spread(name, status, width), spread(cell, machine, width)]


def _cell(view: RunView) -> Content:
    """Data set, imbalance factor, IPC and method, as the run itself says them, else as its settings do."""
    started, settings = view.state.started, view.settings
    if started:
        dataset, factor, ipc, method = started.dataset, started.imbalance_factor, started.ipc, started.method
    elif settings:
        dataset, factor = settings.dataset.name, settings.dataset.imbalance_factor
        ipc, method = settings.ipc, settings.method
    else:
        return EMPTY
    return Content.styled(f"{dataset} · IF {factor_name(factor)} · IPC {ipc} · {method}", MUTED)


def _status(view: RunView, now: float, word: str) -> Content:
    state = view.state
    if view.at is not None:
        last = state.started.iterations if state.started else state.iteration
        return Content.styled(f"⟲ as of iteration {view.at} of {last}", WARNING)
    word = word or state.status
    sign, style = STATUS[word]
    worked = sum(stage.elapsed(clock(state, now)) for stage in state.stages.by_name.values())
    status = Content.assemble((f"{sign} {word}", style), f" {duration(worked)}" if worked else "")
    progress = progress_text(state, now)
    if state.status == "done" and state.stages.current:
        progress = f"{stage_name(state.stages.current.name)} {progress}"
    return Content.assemble(status, (" · ", MUTED), progress) if progress else status


def _machine(state: RunState, now: float) -> Content:
    reading = state.reading
    device = reading.device if reading else state.started.device if state.started else ""
    memory = ""
    if reading and reading.memory_gib is not None and reading.memory_total_gib is not None:
        memory = f"{reading.memory_gib:.1f}/{reading.memory_total_gib:.0f} GiB"
    return Content.styled("  ".join(text for text in (device, memory, speed(state, now)) if text), MUTED)


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


# ------------------------------------------------------------------------------------------------------------------
# The stages in one line: done, under way, to come
# ------------------------------------------------------------------------------------------------------------------


def stage_line(state: RunState, now: float, width: int) -> Content:
    """The longest of several forms that fits: with times and totals, with names alone, then the present stage alone.

    Of a finished run, what it has reached.
    """
    stages = list(state.stages.by_name.values())
    if not stages:
        return Content.styled("no stage yet", MUTED)
    idle = all(stage.status in {"pending", "done"} for stage in stages)
    if state.status == "done" and idle and (reached := closing_line_of(state)):
        # The panel of details keeps the time of each stage.
        return Content.styled(reached, GOOD).truncate(width, ellipsis=True)
    forms = [
        *(ARROW.join([_words(stage, cells, full=True) for stage in stages]) for cells in BAR_CELLS),
        ARROW.join([_words(stage, BAR_CELLS[-1], full=False) for stage in stages]),
        *(_short(stages, cells) for cells in BAR_CELLS),
    ]
    return next((form for form in forms if form.cell_length <= width), forms[-1].truncate(width, ellipsis=True))


def _words(stage: Stage, cells: int, full: bool) -> Content:
    name = stage_name(stage.name)
    if stage.status == "pending":
        return Content.styled(name, MUTED)
    if stage.status != "done":
        return _under_way(stage, cells)
    if not full:
        return Content.styled(name, GOOD)
    return Content.assemble((f"{DONE} {name}", GOOD), (f" {duration(stage.seconds)}", MUTED))


def _under_way(stage: Stage, cells: int) -> Content:
    interrupted = stage.status == "interrupted"
    style = WARNING if interrupted else ACCENT
    return Content.assemble(
        (f"{BROKEN} " if interrupted else "", WARNING),
        (stage_name(stage.name).upper(), style),
        f" {units(stage.done)}/{units(stage.total)} ",
        gauge(stage.share, 1.0, cells, style),
        f" {100 * stage.share:.0f}%",
    )


def _short(stages: list[Stage], cells: int) -> Content:
    """A sign for each stage that is over, the one under way, and the name of the next."""
    over = sum(stage.status == "done" for stage in stages)
    coming = [stage_name(stage.name) for stage in stages if stage.status == "pending"]
    more = f" +{len(coming) - 1}" if coming[1:] else ""
    done = Content.assemble((DONE * over, GOOD), (f" {over} of {len(stages)} stages", MUTED)) if over else EMPTY
    present = next((_under_way(stage, cells) for stage in stages if stage.status in {"running", "interrupted"}), EMPTY)
    return _joined((done, present, Content.styled(f"then {coming[0]}{more}", MUTED) if coming else EMPTY), ARROW)


class RunHeader(Vertical):
    """One or two lines on the run, and one on its stages."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[object, ...] = ()
        self._headline, self._stages = LinesView(classes="headline"), LinesView(classes="stages")

    def compose(self) -> ComposeResult:
        yield self._headline
        yield self._stages

    def show(self, view: RunView, now: float, word: str) -> None:
        """Draws the run at `now`; `word` stands for its status where that alone would mislead."""
        works = view.state.status == "running" and view.at is None
        parts = (view.version, view.at, word, self.content_size.width, now if works else 0.0)
        if parts == self._drawn:
            return
        self._drawn = parts
        self._headline.styles.height = len(headline(view, now, max(1, self.content_size.width), word))
        self._headline.draw(lambda width: headline(view, now, width, word))
        self._stages.draw(lambda width: [stage_line(view.state, now, width)])


class NoticeBox(VerticalScroll, can_focus=False):
    """Says above the panels what is the matter with a run; hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Notice | None = None
        self._text = Static()

    def compose(self) -> ComposeResult:
        yield self._text

    def show(self, notice: Notice | None) -> None:
        """Shows a notice, or with None nothing."""
        if notice == self._shown:
            return
        self._shown = notice
        self.display = notice is not None
        if notice is None:
            return
        self.set_classes(f"-{notice.severity}")
        self.border_title = Content(clean(notice.title))
        lines = [Content(clean(line[:LONGEST])) for line in notice.lines]
        if notice.hint:
            lines.append(Content.assemble(("hint: ", "$text-muted"), clean(notice.hint)))
        self._text.update(Content("\n").join(lines))
        self._text.display = bool(lines)
