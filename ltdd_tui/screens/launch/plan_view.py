"""What you will get: the long tail, how much smaller it becomes, and what that takes on this machine."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len
from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from ltdd_tui.formatting import clean, roughly
from ltdd_tui.launch.plan import Fact, RunPlan, Tail, facts, headline, remark, stage_seconds
from ltdd_tui.widgets.bars import bar, silhouette
from ltdd_tui.widgets.lines import fit

# The long tail as bars, head to tail; many classes also as a silhouette above their bars.


LONGEST_NAME, SHORT_MARK = 18, "!"
PROFILE_ROWS = 5


class TailRows(ScrollView, can_focus=True):
    """Name, images and bar of each class, on every line or every second one. Only the lines that are seen are drawn."""

    COMPONENT_CLASSES = {"tail-rows--bar", "tail-rows--short", "tail-rows--name", "tail-rows--count"}
    DEFAULT_CSS = """
    TailRows { height: 1fr; background: transparent; scrollbar-size-vertical: 1; overflow-x: hidden; }
    TailRows:focus { background: $surface; }
    TailRows > .tail-rows--bar { color: $primary; }
    TailRows > .tail-rows--short { color: $warning; }
    TailRows > .tail-rows--name { color: $foreground; }
    TailRows > .tail-rows--count { color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="tail-rows")
        self._tail: Tail | None = None
        self._pitch, self._longest = 1, 0

    def show(self, tail: Tail | None, pitch: int) -> None:
        """Draws this tail, a class every `pitch` lines."""
        self._tail, self._pitch = tail, pitch
        self._longest = max((cell_len(clean(name)) for name in tail.names), default=0) if tail else 0
        self.virtual_size = Size(0, len(tail.counts) * pitch if tail else 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The class that is `y` lines below the top of what is seen."""
        place, between = divmod(y + self.scroll_offset.y, self._pitch)
        if self._tail is None or between or not 0 <= place < len(self._tail.counts):
            return Strip.blank(self.size.width, self.rich_style)
        return self._row(self._tail, place, self.scrollable_content_region.width)

    def _row(self, tail: Tail, place: int, width: int) -> Strip:
        name, count, short = tail.names[place], tail.counts[place], tail.counts[place] < tail.ipc
        name_width = min(self._longest, LONGEST_NAME, max(width // 3, 4))
        count_width = len(f"{tail.counts[0]:,}")
        room = width - name_width - count_width - 3
        style = {
            key: self.get_component_rich_style(f"tail-rows--{'short' if short else key}")
            for key in ("name", "count", "bar")
        }
        return Strip(
            [
                Segment(f"{fit(name, name_width)} ", style["name"]),
                Segment(f"{count:>{count_width},}{SHORT_MARK if short else ' '} ", style["count"]),
                Segment(bar(count, tail.counts[0], room), style["bar"]),
            ]
        ).adjust_cell_length(width, self.rich_style)


class TailChart(Vertical):
    """The bars, and where not all classes fit the silhouette of all of them."""

    DEFAULT_CSS = """
    TailChart { height: 3; }
    TailChart #profile { color: $primary; height: auto; display: none; margin-bottom: 1; }
    TailChart.-many #profile { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="tail")
        self._drawn: object = None
        self._profile, self._rows = Static(id="profile"), TailRows()

    def compose(self) -> ComposeResult:
        """Silhouette and bars."""
        yield self._profile
        yield self._rows

    def show(self, tail: Tail | None, width: int, lines: int) -> None:
        """Draws a tail, or nothing, on at most so many lines."""
        if (tail, width, lines) == self._drawn:
            return
        self._drawn = tail, width, lines
        classes = len(tail.counts) if tail else 0
        pitch = 2 if 2 * classes <= lines else 1
        many = classes > lines > PROFILE_ROWS + 4
        self.styles.height = min(classes * pitch, lines) if not many else lines
        self._rows.show(tail, pitch)
        self.set_class(many, "-many")
        if tail is not None and many:
            shape = "\n".join(silhouette(tail.counts, width, PROFILE_ROWS))
            ends = fit(tail.names[0], width // 2) + fit(tail.names[-1], width - width // 2, right=True)
            self._profile.update(Content.assemble(shape, "\n", (ends, "$foreground 60%")))


LABEL_WIDTH, STAGE_WIDTH, TIME_WIDTH = 10, 19, 8
SMALLEST_CHART, LINES_FOR_STAGES = 3, 30


class PlanPanel(Vertical):
    """Draws a prospect; where there is room, the time of each stage as a bar."""

    DEFAULT_CSS = """
    PlanPanel Static { height: auto; }
    PlanPanel #headline { margin-bottom: 1; }
    PlanPanel #remark { margin: 1 0; }
    PlanPanel.-stale > Static { text-opacity: 60%; }
    """

    def __init__(self) -> None:
        super().__init__(id="plan")
        self.border_title = "What you will get"
        self._run_plan: RunPlan | None = None
        self._chart, self._headline = TailChart(), Static(id="headline")
        self._remark, self._facts = Static(id="remark"), Static(id="facts")

    def compose(self) -> ComposeResult:
        """From top to bottom: the two numbers, the tail, what it takes."""
        yield self._headline
        yield self._chart
        yield self._remark
        yield self._facts

    def show(self, run_plan: RunPlan) -> None:
        """Draws this prospect."""
        self._run_plan = run_plan
        self.set_class(bool(run_plan.faults), "-stale")
        device = f"on {run_plan.device.name}"
        self.border_subtitle = "without what is at fault" if run_plan.faults else device
        self._draw()

    @on(Resize)
    def _draw(self) -> None:
        run_plan, width, height = self._run_plan, self.content_size.width, self.content_size.height
        if run_plan is None or width < 2 * LABEL_WIDTH:
            return
        top, below = _headline(run_plan.tail, width), Content("")
        if run_plan.tail is not None:
            below = _drawn([remark(run_plan.tail)], width, 0)
        with_bars = height >= LINES_FOR_STAGES
        lines = [_stages(run_plan, width)] if with_bars and run_plan.estimate else []
        lines.append(_drawn(facts(run_plan, stages_in_a_line=not with_bars), width, LABEL_WIDTH))
        bottom = Content("\n\n").join(lines)
        parts = {self._headline: top, self._remark: below, self._facts: bottom}
        for part, content in parts.items():
            part.update(content)
        taken = sum(len(content.plain.split("\n")) for content in parts.values()) + 3
        self._chart.show(run_plan.tail, width, max(height - taken, SMALLEST_CHART))


def _headline(tail: Tail | None, width: int) -> Content:
    """The two numbers, and how much smaller the second is, beside or below."""
    if tail is None:
        return Content("its classes are counted when its files are read")
    numbers, smaller = headline(tail)
    room = width - len(numbers)
    below = room <= len(smaller)
    return Content.assemble(
        (numbers, "bold"), "\n" if below else "", (smaller if below else smaller.rjust(room), "$foreground 60%")
    )


def _drawn(found: list[Fact], width: int, label_width: int) -> Content:
    """Labels on the left, texts wrapped beside them."""
    lines = []
    for fact in found:
        style = "$text-warning" if fact.warns else ""
        texts = textwrap.wrap(fact.text, max(width - label_width, 8)) or [""]
        for place, text in enumerate(texts):
            label = f"{fact.label if place == 0 else '':{label_width}}"
            lines.append(
                Content.assemble((label, "$foreground 60%"), (text, style or ("" if fact.label else "$foreground 60%")))
            )
    return Content("\n").join(lines)


def _stages(run_plan: RunPlan, width: int) -> Content:
    """The time of each stage as a bar."""
    stages = stage_seconds(run_plan)
    longest = max((seconds for _, seconds in stages), default=0.0)
    room = width - STAGE_WIDTH - TIME_WIDTH - 1
    return Content("\n").join(
        [
            Content.assemble(
                (f"{name:{STAGE_WIDTH}}", "$foreground 60%"),
                f"{roughly(seconds) if seconds else '-':>{TIME_WIDTH}} ",
                (bar(seconds, longest, room), "$secondary"),
            )
            for name, seconds in stages
        ]
    )
