"""Shows the plan of a run: the long tail, how much smaller it becomes, and what that takes on this machine."""

from __future__ import annotations

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from ltdd_tui.formatting import clean, duration
from ltdd_tui.launch.plan import (
    LongTail,
    RunPlan,
    plan_lines,
    shortage_note,
    size_summary,
    stage_seconds,
)
from ltdd_tui.widgets.bars import bar, silhouette
from ltdd_tui.widgets.lines import FADED, fit, labelled

LONGEST_NAME, SHORT_MARK = 18, "!"
PROFILE_ROWS = 5


def tail_rows(tail: LongTail, width: int, pitch: int) -> Content:
    """Name, images and bar of each class, the largest first, a class every `pitch` lines of `width` cells."""
    longest = max(cell_len(clean(name)) for name in tail.names)
    name_width = min(longest, LONGEST_NAME, max(width // 3, 4))
    count_width = len(f"{tail.counts[0]:,}")
    rows: list[str | tuple[str, str]] = []
    for name, count in zip(tail.names, tail.counts, strict=True):
        short = count < tail.real
        count_text = f"{count:>{count_width},}{SHORT_MARK if short else ' '} "
        bar_text = bar(count, tail.counts[0], width - name_width - count_width - 3)
        parts = ((f"{fit(name, name_width)} ", ""), (count_text, FADED), (bar_text, "$primary"))
        rows += [*((text, "$warning" if short else style) for text, style in parts), "\n" * pitch]
    return Content.assemble(*rows[:-1])


class TailChart(Vertical):
    """The bars, and where not all classes fit the silhouette of all of them."""

    def __init__(self) -> None:
        super().__init__(id="tail")
        self._drawn: object = None
        self._profile, self._rows = Static(id="profile"), Static()

    def compose(self) -> ComposeResult:
        yield self._profile
        with VerticalScroll(id="tail-rows"):
            yield self._rows

    def show(self, tail: LongTail | None, width: int, lines: int) -> None:
        """Draws a tail, or nothing, on at most so many lines."""
        if (tail, width, lines) == self._drawn:
            return
        self._drawn = tail, width, lines
        classes = len(tail.counts) if tail else 0
        pitch = 2 if 2 * classes <= lines else 1
        many = classes > lines > PROFILE_ROWS + 4
        self.styles.height = min(classes * pitch, lines)
        if tail is not None:
            # One column is the scrollbar's.
            self._rows.update(tail_rows(tail, width - (classes * pitch > lines), pitch))
        self.set_class(many, "-many")
        if tail is not None and many:
            shape = "\n".join(silhouette(tail.counts, width, PROFILE_ROWS))
            ends = fit(tail.names[0], width // 2) + fit(tail.names[-1], width - width // 2, right=True)
            self._profile.update(Content.assemble(shape, "\n", (ends, FADED)))


LABEL_WIDTH, STAGE_WIDTH, TIME_WIDTH = 10, 19, 8
SMALLEST_CHART, LINES_FOR_STAGES = 3, 30


class PlanPanel(Vertical):
    """Draws the plan of a run; where there is room, the time of each stage as a bar."""

    def __init__(self) -> None:
        super().__init__(id="plan")
        self.border_title = "What you will get"
        self._run_plan: RunPlan | None = None
        self._chart, self._size_line = TailChart(), Static(id="size")
        self._shortage, self._plan_lines = Static(id="shortage"), Static(id="lines")

    def compose(self) -> ComposeResult:
        yield self._size_line
        yield self._chart
        yield self._shortage
        yield self._plan_lines

    def show(self, run_plan: RunPlan) -> None:
        """Draws this plan."""
        self._run_plan = run_plan
        self.set_class(bool(run_plan.faults), "-stale")
        device = f"on {run_plan.device.name}"
        self.border_subtitle = "invalid values ignored" if run_plan.faults else device
        self._draw()

    @on(Resize)
    def _draw(self) -> None:
        run_plan, width, height = self._run_plan, self.content_size.width, self.content_size.height
        if run_plan is None or width < 2 * LABEL_WIDTH:
            return
        tail = run_plan.tail
        shortage = labelled([shortage_note(tail)], width, 0) if tail is not None else Content("")
        with_bars = height >= LINES_FOR_STAGES
        lines = [_stages(run_plan, width)] if with_bars and run_plan.estimate else []
        lines.append(labelled(plan_lines(run_plan, stages_in_a_line=not with_bars), width, LABEL_WIDTH))
        parts = {
            self._size_line: _size_line(tail, width),
            self._shortage: shortage,
            self._plan_lines: Content("\n\n").join(lines),
        }
        for part, content in parts.items():
            part.update(content)
        taken = sum(len(content.plain.split("\n")) for content in parts.values()) + 3
        self._chart.show(tail, width, max(height - taken, SMALLEST_CHART))


def _size_line(tail: LongTail | None, width: int) -> Content:
    """From how many images to how many, and how much smaller that is, beside or below."""
    if tail is None:
        return Content("classes unknown until the files are read")
    numbers, smaller = size_summary(tail)
    room = width - len(numbers)
    below = room <= len(smaller)
    return Content.assemble(
        (numbers, "bold"), "\n" if below else "", (smaller if below else smaller.rjust(room), FADED)
    )


def _stages(run_plan: RunPlan, width: int) -> Content:
    """The time of each stage as a bar."""
    stages = stage_seconds(run_plan)
    longest = max((seconds for _, seconds in stages), default=0.0)
    room = width - STAGE_WIDTH - TIME_WIDTH - 1
    return Content("\n").join(
        [
            Content.assemble(
                (f"{name:{STAGE_WIDTH}}", FADED),
                f"{duration(seconds, 'estimate'):>{TIME_WIDTH}} ",
                (bar(seconds, longest, room), "$secondary"),
            )
            for name, seconds in stages
        ]
    )
