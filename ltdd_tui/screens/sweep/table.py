"""The table of a sweep, and the list of the cells that stand at one place of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, OptionList
from textual.widgets.option_list import Option

from engine.run.folder import RunFolder
from ltdd_tui.formatting import PLUS_MINUS, clean, duration, percent, percent_done, stage_name
from ltdd_tui.runs.sweeps import AT_WORK, FAILED, SEED, CellState, SeedGroup, SweepTable, label
from ltdd_tui.screens.runs.table import MARKS

WAITING, BEST = "\u00b7", "*"


def group_text(group: SeedGroup, best: bool) -> tuple[str, str]:
    """What stands at one place of the table, and its style: words of Rich and variables of the theme.

    The mean over seeds with its standard deviation, `n2` while only two seeds are done, a star behind the best of the
    column; or the state of the seed that is furthest, where none is done.
    """
    working, failed = group.first(AT_WORK), group.first(FAILED)
    if group.mean is not None:
        n, of = len(group.accuracies), len(group.cells)
        spread = "" if group.std is None else f"{PLUS_MINUS}{group.std:.1f}"
        rest = "" if n == of else f" n{n}"
        mark = MARKS["running"] if working else MARKS["failed"] if failed else ""
        return f"{percent(group.mean)}{spread}{BEST if best else ''}{rest}{mark}", "bold text-success" if best else ""
    if working:
        share = working.entry.run.progress if working.entry else None
        return f"{MARKS['running']} {'' if share is None else percent_done(share)}".rstrip(), "text-primary"
    if failed:
        return f"{MARKS['failed']} failed", "text-error"
    for state in ("crashed", "stopped", "queued"):
        if group.first({state}):
            return f"{MARKS[state]} {state}", "dim"
    return WAITING, "dim"


class SweepGrid(DataTable[Text]):
    """Methods down, cells of the grid across; the cursor is on one place. Only places that changed are drawn anew."""

    # Textual's own bindings have no ids, so that a person could not change them.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="sweep.open"),
        Binding("up,k", "cursor_up", "Up", show=False, id="list.up"),
        Binding("down,j", "cursor_down", "Down", show=False, id="list.down"),
        Binding("left,h", "cursor_left", "Left", show=False, id="list.left"),
        Binding("right,l", "cursor_right", "Right", show=False, id="list.right"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False, id="list.page_up"),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False, id="list.page_down"),
        Binding("home,g", "scroll_top", "First", show=False, id="list.first"),
        Binding("end,G", "scroll_bottom", "Last", show=False, id="list.last"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="cell", cursor_foreground_priority="renderable", id="sweep-grid")
        self.table = SweepTable()
        self._drawn: dict[Coordinate, tuple[str, str]] = {}

    @property
    def current(self) -> SeedGroup | None:
        """The cells at the cursor."""
        row, column = self.cursor_coordinate
        if row < len(self.table.rows) and column < len(self.table.columns):
            return self.table.groups.get((self.table.rows[row], self.table.columns[column]))
        return None

    def show(self, table: SweepTable, anew: bool = False) -> None:
        """Draws a table; `anew` also what has not changed, for another theme."""
        before, self.table = self.table, table
        if (before.rows, before.columns) != (table.rows, table.columns):
            self.clear(columns=True)
            self._drawn.clear()
            self.header_height = max((len(column) for column in table.columns), default=1)
            for column in table.columns:
                self.add_column(Text("\n".join(map(clean, column)), justify="right"))
            for row in table.rows:
                self.add_row(*[Text()] * len(table.columns), label=Text(clean(row)))
        colors = self.app.theme_variables
        for across, column in enumerate(table.columns):
            for down, row in enumerate(table.rows):
                place, group = Coordinate(down, across), table.groups.get((row, column))
                own = group_text(group, table.best.get(column) == row) if group else ("", "")
                if anew or self._drawn.get(place) != own:
                    self._drawn[place] = own
                    # Rich, which draws the table, knows no variables of a theme.
                    style = " ".join(colors.get(word, word) for word in own[1].split())
                    self.update_cell_at(place, Text(own[0], style=style, justify="right"), update_width=True)


class CellList(OptionList, inherit_bindings=False):
    """The cells at one place of the table: a line for each seed, with its state, its figure or why it failed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open", id="sweep.open"),
        Binding("up,k", "cursor_up", "Up", show=False, id="list.up"),
        Binding("down,j", "cursor_down", "Down", show=False, id="list.down"),
        Binding("home,g", "first", "First", show=False, id="list.first"),
        Binding("end,G", "last", "Last", show=False, id="list.last"),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True, markup=False, id="cells")
        self.cells: Sequence[CellState] = ()

    @property
    def current(self) -> CellState | None:
        """The cell under the cursor, else the first."""
        place = self.highlighted or 0
        return self.cells[place] if place < len(self.cells) else None

    def show(self, group: SeedGroup | None) -> None:
        """Lists the cells of a place; the cursor stays where it is, unless it is another place."""
        title = ", ".join((group.row, *group.column)) if group else ""
        place, before = self.highlighted if title == self.border_title else 0, self.cells
        self.border_title, self.cells = title, group.cells if group else ()
        if self.cells == before:
            return
        with self.prevent(OptionList.OptionHighlighted):
            self.set_options(Option(cell_line(cell)) for cell in self.cells)
            self.highlighted = min(place or 0, len(self.cells) - 1) if self.cells else None

    def folders(self) -> Iterator[RunFolder]:
        """The run folders that there are."""
        return (cell.folder for cell in self.cells if cell.entry)


def cell_line(cell: CellState) -> str:
    """A cell in one line: seed, state and how far it is, then its accuracy and time, its stage, or why it failed."""
    name = label(SEED, cell.cell.values[SEED]) if SEED in cell.cell.values else cell.cell.name
    if cell.entry is None:
        return f"{name}   {MARKS['waiting']} waiting"
    run = cell.entry.run
    parts = [f"{MARKS.get(run.state, ' ')} {run.status}"]
    if run.state == "done":
        parts += [f"{percent(run.accuracy_mean)} %", duration(run.seconds)]
    elif run.stage:
        left = f", about {duration(run.seconds_left, 'estimate')} left" if run.seconds_left is not None else ""
        parts.append(f"{stage_name(run.stage)}{left}")
    elif cell.reason:
        parts.append(cell.reason)
    return clean("   ".join([name, *parts]))
