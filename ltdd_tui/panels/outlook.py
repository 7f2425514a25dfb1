"""What you will get: the long tail, how much smaller it becomes, and what that takes on this machine."""

from __future__ import annotations

import textwrap

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from ltdd_tui.outlook import Fact, facts, headline, remark, stage_seconds
from ltdd_tui.panels.histogram import TailChart
from ltdd_tui.prospect import Prospect
from ltdd_tui.tail import Tail, bar
from ltdd_tui.wording import roughly

LABEL_WIDTH, STAGE_WIDTH, TIME_WIDTH = 10, 19, 8
SMALLEST_CHART, LINES_FOR_STAGES = 3, 30


class OutlookPanel(Vertical):
    """Draws a prospect; where there is room, the time of each stage as a bar."""

    DEFAULT_CSS = """
    OutlookPanel Static { height: auto; }
    OutlookPanel #headline { margin-bottom: 1; }
    OutlookPanel #remark { margin: 1 0; }
    OutlookPanel.-stale > Static { text-opacity: 60%; }
    """

    def __init__(self) -> None:
        super().__init__(id="outlook")
        self.border_title = "What you will get"
        self._prospect: Prospect | None = None
        self._chart, self._headline = TailChart(), Static(id="headline")
        self._remark, self._facts = Static(id="remark"), Static(id="facts")

    def compose(self) -> ComposeResult:
        """From top to bottom: the two numbers, the tail, what it takes."""
        yield self._headline
        yield self._chart
        yield self._remark
        yield self._facts

    def show(self, prospect: Prospect) -> None:
        """Draws this prospect."""
        self._prospect = prospect
        self.set_class(bool(prospect.faults), "-stale")
        device = f"on {prospect.device.name}"
        self.border_subtitle = "without what is at fault" if prospect.faults else device
        self._draw()

    @on(Resize)
    def _draw(self) -> None:
        prospect, width, height = self._prospect, self.content_size.width, self.content_size.height
        if prospect is None or width < 2 * LABEL_WIDTH:
            return
        top, below = _headline(prospect.tail, width), Content("")
        if prospect.tail is not None:
            below = _drawn([remark(prospect.tail)], width, 0)
        with_bars = height >= LINES_FOR_STAGES
        lines = [_stages(prospect, width)] if with_bars and prospect.estimate else []
        lines.append(_drawn(facts(prospect, stages_in_a_line=not with_bars), width, LABEL_WIDTH))
        bottom = Content("\n\n").join(lines)
        parts = {self._headline: top, self._remark: below, self._facts: bottom}
        for part, content in parts.items():
            part.update(content)
        taken = sum(len(content.plain.split("\n")) for content in parts.values()) + 3
        self._chart.show(prospect.tail, width, max(height - taken, SMALLEST_CHART))


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


def _stages(prospect: Prospect, width: int) -> Content:
    """The time of each stage as a bar."""
    stages = stage_seconds(prospect)
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
