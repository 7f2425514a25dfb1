"""Summary of one run for the preview pane beside the list: results, key settings, how it ended."""

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

from engine.run.metrics import GROUPS
from ltdd_tui.formatting import clean, mean_and_std, percent, short_path, stage_name
from ltdd_tui.runs.index import RunEntry
from ltdd_tui.runs.results import RunSummary, published_line, settings_lines, took
from ltdd_tui.screens.runs.table import state_text
from ltdd_tui.widgets.bars import cells, resampled

TAIL_CELLS = 28
# Labels that are too long for the narrow pane.
SHORT = {"representation experts": "experts rep", "classifier experts": "experts cls", "initialization": "start"}


class RunPreview(VerticalScroll, can_focus=False):
    """Draws one run of the list."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Static()

    def compose(self) -> ComposeResult:
        yield self._text

    def show(self, entry: RunEntry | None, summary: RunSummary) -> None:
        """Draws a run, as far as it has been read."""
        self.border_title = Content(clean(entry.run.name) if entry else "")
        self._text.update(self._content(entry, summary) if entry else "")

    def _content(self, entry: RunEntry, summary: RunSummary) -> RenderableType:
        colors = self.app.theme_variables
        parts: list[RenderableType] = [self._state(entry, summary)]
        if entry.damage:
            parts.append(Text(entry.damage, colors["text-error"]))
        for fault in summary.faults:
            parts += ["", Text(f"{fault.where}: {fault.what}" if fault.where else fault.what, colors["text-error"])]
            if fault.hint:
                parts.append(Text(fault.hint, "dim"))
        if summary.console:
            parts += [
                "",
                Text("last output of the worker", "dim"),
                Text("\n".join(summary.console), colors["text-error"]),
            ]
        if summary.rows:
            parts += ["", _results(summary)]
        if summary.head_to_tail:
            # The accuracy of each class as one line of blocks, the largest class at the left.
            blocks = cells(resampled(summary.head_to_tail, TAIL_CELLS), 100.0, 1)[0]
            parts += ["", Text.assemble(("head ", "dim"), (blocks, colors["primary"]), (" tail", "dim"))]
        if summary.settings:
            settings = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
            settings.add_column(style="dim", no_wrap=True)
            settings.add_column(overflow="fold")
            for name, value in settings_lines(summary.settings):
                settings.add_row(name, value)
            parts += ["", settings]
        return Group(*parts, "", Text(clean(short_path(entry.folder.root)), "dim", overflow="fold"))

    def _state(self, entry: RunEntry, summary: RunSummary) -> RenderableType:
        colors = self.app.theme_variables
        run = entry.run
        color_of = dict.fromkeys(("running", "starting"), "text-primary") | {"done": "text-success"}
        color_of |= dict.fromkeys(("stopped", "waiting"), "foreground")
        line = Text(state_text(entry), f"bold {colors[color_of.get(run.state, 'text-error')]}")
        if run.stage:
            line.append(f"  {stage_name(run.stage)}", "not bold dim")
        elif took(summary):
            line.append(f"  {took(summary)} of work", f"not bold dim {colors['foreground']}")
        if run.progress is None:
            return line
        bar = ProgressBar(
            1.0, run.progress, style=Style(color=colors["panel-lighten-2"]), complete_style=colors["primary"]
        )
        return Group(line, bar)


def _results(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
    table.add_column("accuracy %", no_wrap=True)
    for title in ("all", *GROUPS):
        table.add_column({"medium": "med"}.get(title, title), justify="right", no_wrap=True)
    for row in summary.rows:
        # As texts: a foreign file may name a network anything, which must not be read as markup.
        mean = mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats).replace(" +- ", "\u00b1")
        label = SHORT.get(row.label, row.label.replace("final on ", "on "))
        texts = [label, mean, *(percent(row.groups.get(group)) for group in GROUPS)]
        table.add_row(*(Text(clean(text)) for text in texts), style="bold" if row.label == "final" else "")
    if published := published_line(summary):
        figure, difference = published
        table.add_row("published", figure, Text(difference, "bold"), "", "")
    return table
