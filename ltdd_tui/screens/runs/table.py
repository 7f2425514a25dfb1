"""The list of runs: it draws only the lines in sight, so that hundreds of runs stay as quick as ten.

Textual's DataTable lays out every row whenever one is added or taken away (docs/decisions/0004).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ltdd_tui.formatting import age, clean, factor_name, mean_and_std, percent, shortened
from ltdd_tui.runs.index import RunEntry

# Signs that every terminal font has; the words beside them say the same.
MARKS = {
    "running": "\u25ba",
    "done": "\u25cf",
    "stopped": "\u25a0",
    "failed": "\u00d7",
    "crashed": "\u00d7",
    "damaged": "?",
    "waiting": "\u25cb",
    "starting": "\u25cb",
}
RISES, FALLS = "\u25b2", "\u25bc"
SHORTEST_NAME, WIDEST_DATASET = 20, 16
Sortable = float | str | None


@dataclass(frozen=True)
class Column:
    """One column: `text` of a run at a time (seconds since 1970), `order` to sort by, None where it has nothing.

    `falling` columns start with their largest. Of those that do not fit, the ones of the least `worth` go first.
    """

    key: str
    title: str
    worth: int
    text: Callable[[RunEntry, float], str]
    order: Callable[[RunEntry], Sortable]
    right: bool = False
    falling: bool = False


def state_text(listed: RunEntry) -> str:
    """The state with its mark, and how far the present stage is."""
    run = listed.run
    far = "" if run.progress is None else f" {100 * run.progress:.0f} %"
    return f"{MARKS.get(run.state, ' ')} {run.state}{far}"


def _factor(factor: float | str | None) -> str:
    return "" if factor is None else factor_name(factor)


def accuracy_text(listed: RunEntry) -> str:
    """The result, or what the latest check says, marked as no more than that."""
    run = listed.run
    if run.accuracy_mean is not None:
        # A final figure is always one of several networks, unless its spread is none.
        return mean_and_std(run.accuracy_mean, run.accuracy_std, 2 if run.accuracy_std else 1)
    return f"{percent(run.check_mean)} so far" if run.check_mean is not None else ""


def changed_order(listed: RunEntry) -> float:
    """Runs at work are the newest, and stand still among themselves though each of them changes all the time."""
    return 1e12 + listed.created if listed.run.state == "running" else listed.run.changed


COLUMNS = (
    Column("state", "state", 9, lambda listed, now: state_text(listed), lambda listed: listed.run.state),
    Column("name", "name", 10, lambda listed, now: listed.run.name, lambda listed: listed.run.name.casefold()),
    Column("dataset", "data set", 3, lambda listed, now: listed.run.dataset or "", lambda listed: listed.run.dataset),
    Column(
        "if",
        "IF",
        6,
        lambda listed, now: _factor(listed.run.imbalance_factor),
        lambda listed: factor if isinstance(factor := listed.run.imbalance_factor, float | int) else None,
        right=True,
    ),
    Column("ipc", "IPC", 6, lambda listed, now: str(listed.run.ipc or ""), lambda listed: listed.run.ipc, right=True),
    Column("method", "method", 7, lambda listed, now: listed.run.method or "", lambda listed: listed.run.method),
    Column(
        "seed",
        "seed",
        1,
        lambda listed, now: "" if listed.run.seed is None else str(listed.run.seed),
        lambda listed: listed.run.seed,
        right=True,
    ),
    Column(
        "accuracy",
        "accuracy %",
        8,
        lambda listed, now: accuracy_text(listed),
        lambda listed: listed.run.accuracy_mean,
        right=True,
        falling=True,
    ),
    Column(
        "changed",
        "changed",
        4,
        lambda listed, now: age(now - listed.run.changed),
        changed_order,
        right=True,
        falling=True,
    ),
)
BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Order:
    """By which column a list is sorted, and whether the other way round than that column starts."""

    key: str = "changed"
    reversed: bool = False

    @property
    def falls(self) -> bool:
        """Whether the largest stands first."""
        return BY_KEY[self.key].falling != self.reversed

    def asked(self, key: str) -> Order:
        """The order after a column is asked for: once more for the same one turns it round."""
        return Order(key, not self.reversed) if key == self.key else Order(key)


def in_order(found: Sequence[RunEntry], order: Order) -> list[RunEntry]:
    """The runs sorted; those that have nothing to sort by stand last, whichever way; ties go by name."""
    key = BY_KEY[order.key].order
    named = sorted(found, key=lambda listed: listed.run.name)
    told: list[tuple[Any, RunEntry]] = [(value, listed) for listed in named if (value := key(listed)) is not None]
    told.sort(key=lambda pair: pair[0], reverse=order.falls)
    return [listed for _, listed in told] + [listed for listed in named if key(listed) is None]


def standing(found: Sequence[RunEntry], marked: int = 0) -> str:
    """How many runs there are, and how many of them a person should know of: `7 runs, 2 running, 1 failed`."""
    states = Counter(listed.run.state for listed in found)
    told = [
        f"{states[state]} {state}" for state in ("starting", "running", "failed", "crashed", "damaged") if states[state]
    ]
    told += [f"{marked} marked"] if marked else []
    return ", ".join([f"{len(found)} run" if len(found) == 1 else f"{len(found)} runs", *told])


def title(column: Column, order: Order) -> str:
    """The title of a column, with the direction where the list is sorted by it."""
    if column.key != order.key:
        return column.title
    arrow = FALLS if order.falls else RISES
    return f"{arrow} {column.title}" if column.right else f"{column.title} {arrow}"


def fitted(found: Sequence[RunEntry], order: Order, now: float, width: int, gap: int) -> list[tuple[Column, int]]:
    """The columns that fit side by side into `width` cells, each with its own width; the name takes what is left."""
    wide = {
        column.key: max([len(title(column, order)), *(cell_len(column.text(listed, now)) for listed in found)])
        for column in COLUMNS
    }
    wide["dataset"] = min(WIDEST_DATASET, wide["dataset"])
    shown = list(COLUMNS)
    while True:
        left = width - sum(wide[column.key] + gap for column in shown if column.key != "name")
        if left >= min(wide["name"], SHORTEST_NAME) or len(shown) <= 2:
            return [
                (column, max(1, min(left, wide["name"])) if column.key == "name" else wide[column.key])
                for column in shown
            ]
        shown.remove(min(shown, key=lambda column: column.worth))


MARKED = "\u258c"
ROOMY = 90


class RunList(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of runs below a line of titles, with a cursor that stays on its run wherever that moves."""

    TITLE = "list of runs"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="runs.open"),
        Binding("up,k", "move(-1)", "Up", show=False, id="list.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="list.down"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="list.page_up"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="list.page_down"),
        Binding("home,g", "move(-1000000)", "First", show=False, id="list.first"),
        Binding("end,G", "move(1000000)", "Last", show=False, id="list.last"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"run-list--{part}"
        for part in ("title", "cursor", "name", "muted", "marked", "running", "done", "broken", "stopped", "waiting")
    }
    DEFAULT_CSS = """
    RunList {
        scrollbar-size-vertical: 1; overflow-x: hidden;
        & > .run-list--title { background: $panel; text-style: dim; }
        & > .run-list--cursor { background: $surface-lighten-1; }
        &:focus > .run-list--cursor { background: $primary-muted; }
        & > .run-list--muted, & > .run-list--stopped, & > .run-list--waiting { text-style: dim; }
        & > .run-list--marked { color: $accent; text-style: bold; }
        & > .run-list--running { color: $text-primary; text-style: bold; }
        & > .run-list--done { color: $text-success; }
        & > .run-list--broken { color: $text-error; }
    }
    """

    class Highlighted(Message):
        """The cursor stands on another run, or on none."""

    class Opened(Message):
        """A run is to be opened."""

    class Sorted(Message):
        """The title of a column was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[RunEntry] = []
        self._marked: Collection[str] = ()
        self._order = Order()
        self._cursor = 0
        self._settled = False
        self._now = time.time()
        self._columns: list[tuple[Column, int]] = []
        self._gap = 1

    @property
    def current(self) -> RunEntry | None:
        """The run under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    def show(self, rows: Sequence[RunEntry], marked: Collection[str], order: Order) -> None:
        """Draws the runs; cursor and scroll stay with the run they are on."""
        before, seen = self.current, self._sees_cursor()
        self._marked, self._order, self._now = set(marked), order, time.time()
        moved = self._take(list(rows))
        self._fit()
        if self.scroll_offset.y and moved:
            self.scroll_to(y=self.scroll_offset.y + moved, animate=False, force=True)
        if seen:
            # Who has scrolled away from it by the wheel is left where they are.
            self._keep_in_sight()
        self.refresh()
        if (before.run.path if before else None) != (self.current.run.path if self.current else None):
            self.post_message(self.Highlighted())

    def point_at(self, name: str) -> None:
        """Puts the cursor on the run of that name, if it is shown."""
        for place, listed in enumerate(self._rows):
            if listed.run.name == name:
                self._move_to(place)

    def _take(self, rows: list[RunEntry]) -> int:
        """Takes new rows; returns how many rows the one under the cursor moved down."""
        before, name = self._cursor, self.current.run.name if self.current and self._settled else None
        self._rows = rows
        # Runs that are not read yet change places as they are: until then the first row is meant, whatever it holds.
        self._settled = self._settled or bool(rows) and all(listed.read for listed in rows)
        places = [place for place, listed in enumerate(rows) if listed.run.name == name]
        self._cursor = places[0] if places else max(0, min(before, len(rows) - 1))
        return self._cursor - before if places else 0

    def _fit(self) -> None:
        width = self.scrollable_content_region.width
        self._gap = 2 if width >= ROOMY else 1
        self._columns = fitted(self._rows, self._order, self._now, width - 3, self._gap)
        self.virtual_size = Size(width, len(self._rows) + 1)

    def on_resize(self) -> None:
        """Fits the columns into the new width, and keeps the cursor in sight."""
        self._fit()
        self._keep_in_sight()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line in sight: the titles, then rows."""
        if y == 0:
            return self._title_line()
        place = self.scroll_offset.y + y - 1
        if place >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        return self._row_line(place)

    def _title_line(self) -> Strip:
        style = self.get_component_rich_style("run-list--title")
        texts = [(title(column, self._order), style) for column, _ in self._columns]
        return self._line(" ", style, texts, style)

    def _row_line(self, place: int) -> Strip:
        listed = self._rows[place]
        base = self.rich_style
        if place == self._cursor:
            base += self.get_component_rich_style("run-list--cursor", partial=True)
        marked = listed.run.name in self._marked
        texts = [
            (column.text(listed, self._now), base + self._style(column, listed, marked)) for column, _ in self._columns
        ]
        mark = base + self.get_component_rich_style("run-list--marked", partial=True)
        return self._line(MARKED if marked else " ", mark, texts, base)

    def _style(self, column: Column, listed: RunEntry, marked: bool) -> Style:
        part = "muted"
        if column.key == "name":
            part = "marked" if marked else "name"
        elif column.key == "state":
            state = listed.run.state
            broken = dict.fromkeys(("failed", "crashed", "damaged"), "broken")
            part = (broken | {"starting": "running"}).get(state, state)
        elif column.key == "accuracy" and listed.run.accuracy_mean is not None:
            part = "name"
        known = f"run-list--{part}" in self.COMPONENT_CLASSES
        return self.get_component_rich_style(f"run-list--{part if known else 'muted'}", partial=True)

    def _line(self, mark: str, mark_style: Style, texts: list[tuple[str, Style]], base: Style) -> Strip:
        segments = [Segment(mark, mark_style)]
        gap = " "
        for (text, style), (column, width) in zip(texts, self._columns, strict=True):
            segments += [Segment(gap, base), Segment(_cell(text, width, column.right), style)]
            gap = " " * self._gap
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def action_move(self, rows: int) -> None:
        """Moves the cursor by some rows, to the end at most."""
        self._move_to(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Moves the cursor by what is in sight."""
        self._move_to(self._cursor + pages * max(1, self.scrollable_content_region.height - 2))

    def action_open(self) -> None:
        """Asks for the run under the cursor."""
        if self._rows:
            self.post_message(self.Opened())

    def _move_to(self, place: int) -> None:
        place = max(0, min(place, len(self._rows) - 1))
        self._settled = True
        if place != self._cursor:
            self._cursor = place
            self.refresh()
            self.post_message(self.Highlighted())
        self._keep_in_sight()

    def _sees_cursor(self) -> bool:
        return 0 <= self._cursor - self.scroll_offset.y < max(1, self.scrollable_content_region.height - 1)

    def _keep_in_sight(self) -> None:
        # The line of titles hides the first line of what is scrolled to.
        self.scroll_to_region(Region(0, self._cursor, 1, 2), animate=False, force=True, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a run, a second one opens it; on a title it sorts by that column."""
        event.stop()
        if event.y == 0:
            self._sort_at(event.x)
            return
        place = self.scroll_offset.y + event.y - 1
        if place < len(self._rows):
            self._move_to(place)
            if event.chain > 1:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        end = 2
        for column, width in self._columns:
            end += width + self._gap
            if x < end:
                self.post_message(self.Sorted(column.key))
                return


def _cell(text: str, width: int, right: bool) -> str:
    """The text in exactly `width` cells; some signs take two."""
    # A folder made by hand may be named anything, line ends and all.
    short = shortened(clean(text), width)
    return set_cell_size(" " * (width - cell_len(short)) + short if right else short, width)
