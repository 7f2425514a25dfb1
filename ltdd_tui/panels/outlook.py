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
from ltdd_tui.tail import bar
from ltdd_tui.wording import roughly

LABEL_WIDTH, STAGE_WIDTH, TIME_WIDTH = 10, 19, 8
ROOMY_COLUMNS, ROOMY_LINES = 44, 36


class OutlookPanel(Vertical):
    """Draws a prospect; where there is room, the time of each stage as a bar."""

    DEFAULT_CSS = """
    OutlookPanel Static { height: auto; }
    OutlookPanel #headline { margin-bottom: 1; }
    OutlookPanel #remark { margin: 1 0; }
    OutlookPanel.-stale #headline, OutlookPanel.-stale #facts { color: $text-disabled; }
    """

    def __init__(self) -> None:
        super().__init__(id="outlook", classes="panel")
        self.border_title = "What you will get"
        self._prospect: Prospect | None = None

    def compose(self) -> ComposeResult:
        """From top to bottom: the two numbers, the tail, what it takes."""
        yield Static(id="headline")
        yield TailChart()
        yield Static(id="remark")
        yield Static(id="facts")

    def show(self, prospect: Prospect) -> None:
        """Draws this prospect."""
        self._prospect = prospect
        self.set_class(bool(prospect.faults), "-stale")
        self.border_subtitle = "as the preset has what is at fault" if prospect.faults else ""
        self._draw()

    @on(Resize)
    def _draw(self) -> None:
        prospect, width = self._prospect, self.content_size.width
        if prospect is None or width < LABEL_WIDTH:
            return
        tail = prospect.tail
        self.query_one(TailChart).show(tail)
        if tail is None:
            self.query_one("#headline", Static).update("its classes are counted when its files are read")
            self.query_one("#remark", Static).update("")
        else:
            numbers, smaller = headline(tail)
            gap = " " if len(numbers) + len(smaller) < width else "\n"
            self.query_one("#headline", Static).update(
                Content.assemble(
                    (numbers, "bold"),
                    gap,
                    (smaller.rjust(width - len(numbers) - 1 if gap == " " else 0), "$text-muted"),
                )
            )
            self.query_one("#remark", Static).update(_drawn([remark(tail)], width, 0))
        roomy = width >= ROOMY_COLUMNS and self.size.height >= ROOMY_LINES
        lines = _drawn(facts(prospect, stages_in_a_line=not roomy), width, LABEL_WIDTH)
        bars = _stages(prospect, width) if roomy else Content("")
        self.query_one("#facts", Static).update(Content("\n").join([part for part in (bars, lines) if part]))


def _drawn(found: list[Fact], width: int, label_width: int) -> Content:
    """Labels on the left, texts wrapped beside them."""
    lines = []
    for fact in found:
        style = "$text-warning" if fact.warns else ""
        texts = textwrap.wrap(fact.text, max(width - label_width, 8)) or [""]
        for place, text in enumerate(texts):
            label = f"{fact.label if place == 0 else '':{label_width}}"
            lines.append(
                Content.assemble((label, "$text-muted"), (text, style or ("" if fact.label else "$text-muted")))
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
                (f"{name:{STAGE_WIDTH}}", "$text-muted"),
                f"{roughly(seconds) if seconds else '-':>{TIME_WIDTH}} ",
                (bar(seconds, longest, room), "$secondary"),
            )
            for name, seconds in stages
        ]
        + [Content("")]
    )
