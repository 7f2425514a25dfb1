"""The run under the cursor, beside the list: what it reached, from what, and what ended it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ltdd_tui.formatting import clean, mean_and_std, percent, short_path, stage_name
from ltdd_tui.runs.figures import GROUPS
from ltdd_tui.runs.index import RunEntry
from ltdd_tui.runs.results import Row, RunSummary, published_line, settings_lines, took
from ltdd_tui.screens.runs.table import state_text
from ltdd_tui.widgets.bars import cells, resampled

TAIL_CELLS = 28
SHORT = {"representation experts": "experts rep", "classifier experts": "experts cls", "initialization": "start"}


class RunPreview(VerticalScroll, can_focus=False):
    """Draws one run of the list."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Static()

    def compose(self) -> ComposeResult:
        """One text; it is short enough to be drawn whole."""
        yield self._text

    def show(self, listed: RunEntry | None, glance: RunSummary) -> None:
        """Draws a run, as far as it has been read."""
        self.border_title = Content(clean(listed.run.name) if listed else "")
        self._text.update(self._drawn(listed, glance) if listed else "")

    def _drawn(self, listed: RunEntry, glance: RunSummary) -> RenderableType:
        colors = self.app.theme_variables
        parts: list[RenderableType] = [self._state(listed, glance)]
        if listed.damage:
            parts.append(Text(listed.damage, colors["text-error"]))
        for fault in glance.faults:
            parts += ["", Text(f"{fault.where}: {fault.what}" if fault.where else fault.what, colors["text-error"])]
            if fault.hint:
                parts.append(Text(fault.hint, "dim"))
        if glance.console:
            parts += [
                "",
                Text("last words of the worker", "dim"),
                Text("\n".join(glance.console), colors["text-error"]),
            ]
        if glance.rows:
            parts += ["", _figures(glance)]
        if glance.head_to_tail:
            parts += ["", _tail_line(glance.head_to_tail, colors["primary"])]
        if glance.settings:
            parts += ["", _pairs(settings_lines(glance.settings))]
        return Group(*parts, "", Text(clean(short_path(listed.folder.root)), "dim", overflow="fold"))

    def _state(self, listed: RunEntry, glance: RunSummary) -> RenderableType:
        colors = self.app.theme_variables
        run = listed.run
        tones = dict.fromkeys(("running", "starting"), "text-primary") | {"done": "text-success"}
        tones |= dict.fromkeys(("stopped", "waiting"), "foreground")
        line = Text(state_text(listed), f"bold {colors[tones.get(run.state, 'text-error')]}")
        if run.stage:
            line.append(f"  {stage_name(run.stage)}", "not bold dim")
        elif took(glance):
            line.append(f"  {took(glance)} of work", f"not bold dim {colors['foreground']}")
        if run.progress is None:
            return line
        bar = ProgressBar(
            1.0, run.progress, style=Style(color=colors["panel-lighten-2"]), complete_style=colors["primary"]
        )
        return Group(line, bar)


def _figures(glance: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
    table.add_column("accuracy %", no_wrap=True)
    for title in ("all", *GROUPS):
        table.add_column({"medium": "med"}.get(title, title), justify="right", no_wrap=True)
    for row in glance.rows:
        # As texts: a foreign file may name a network anything, which must not be read as markup.
        table.add_row(*(Text(clean(cell)) for cell in _figure(row)), style="bold" if row.label == "final" else "")
    if published := published_line(glance):
        figure, difference = published
        table.add_row("published", figure, Text(difference, "bold"), "", "")
    return table


def _figure(row: Row) -> list[str]:
    label = SHORT.get(row.label, row.label.replace("final on ", "on "))
    groups = [percent(row.groups.get(group)) for group in GROUPS]
    return [label, mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats).replace(" +- ", "\u00b1"), *groups]


def _tail_line(accuracies: tuple[float, ...], color: str) -> Text:
    """Accuracy by class as one line of blocks, the largest class at the left."""
    blocks = cells(resampled(accuracies, TAIL_CELLS), 100.0, 1)[0]
    return Text.assemble(("head ", "dim"), (blocks, color), (" tail", "dim"))


def _pairs(lines: list[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, value)
    return table
