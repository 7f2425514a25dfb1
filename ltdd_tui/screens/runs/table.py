"""The list of runs: what its columns say, how it sorts, which columns fit, and Textual's OptionList that shows it.

An OptionList and no DataTable: that lays out every row whenever one is added or taken away (docs/decisions/0008).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ltdd_tui.formatting import clean, duration, factor_name, mean_and_std, percent, shortened
from ltdd_tui.runs.index import RunEntry
from ltdd_tui.runs.state import VALIDATION

# Signs that every terminal font has; the words beside them say the same.
MARKS = {
    "running": "\u25ba",
    "done": "\u25cf",
    "stopped": "\u25a0",
    "failed": "\u00d7",
    "crashed": "\u00d7",
    "damaged": "?",
    "waiting": "\u25cb",
    "queued": "\u25cb",
    "starting": "\u25cb",
}
STATE_STYLES = dict.fromkeys(("running", "starting", "queued"), "bold $text-primary") | {"done": "$text-success"}
STATE_STYLES |= dict.fromkeys(("failed", "crashed", "damaged"), "$text-error")
ASCENDING, DESCENDING = "\u25b2", "\u25bc"
SHORTEST_NAME, WIDEST_STATE, WIDEST_DATASET, WIDEST_TAGS = 20, 30, 16, 24


@dataclass(frozen=True)
class Column:
    """One column: `text` of a run at a time (seconds since 1970), `sort_key` of it, None where it has nothing.

    `descending` columns start with their largest. Of those that do not fit, the ones of the least `priority` go first.
    """

    key: str
    title: str
    priority: int
    text: Callable[[RunEntry, float], str]
    sort_key: Callable[[RunEntry], float | str | None]
    right: bool = False
    descending: bool = False


def state_text(entry: RunEntry) -> str:
    """The state with its mark, and how far the run is."""
    return f"{MARKS.get(entry.run.state, ' ')} {entry.run.status}"


def accuracy_text(entry: RunEntry) -> str:
    """The result, or what the latest check says, marked as no more than that; with its label regime if not `stored`."""
    run = entry.run
    labels = "" if run.regimes == ("stored",) else f" {run.labels}"
    if run.accuracy_mean is not None:
        # A final figure is always one of several networks, unless its spread is none.
        return mean_and_std(run.accuracy_mean, run.accuracy_std, 2) + labels + " diverged" * run.diverged
    on = f" ({VALIDATION})" if run.check_on == VALIDATION else ""
    return f"{percent(run.check_mean)}{labels}{on} so far" if run.check_mean is not None else ""


COLUMNS = (
    Column("state", "state", 9, lambda entry, now: state_text(entry), lambda entry: entry.run.state),
    Column("name", "name", 10, lambda entry, now: entry.run.name, lambda entry: entry.run.name.casefold()),
    Column("dataset", "data set", 3, lambda entry, now: entry.run.dataset or "", lambda entry: entry.run.dataset),
    Column(
        "if",
        "IF",
        6,
        lambda entry, now: "" if (factor := entry.run.imbalance_factor) is None else factor_name(factor),
        lambda entry: factor if isinstance(factor := entry.run.imbalance_factor, float | int) else None,
        right=True,
    ),
    Column("ipc", "IPC", 6, lambda entry, now: str(entry.run.ipc or ""), lambda entry: entry.run.ipc, right=True),
    Column("method", "method", 7, lambda entry, now: entry.run.method or "", lambda entry: entry.run.method),
    Column(
        "seed",
        "seed",
        1,
        lambda entry, now: "" if entry.run.seed is None else str(entry.run.seed),
        lambda entry: entry.run.seed,
        right=True,
    ),
    Column(
        "accuracy",
        "accuracy %",
        8,
        lambda entry, now: accuracy_text(entry),
        lambda entry: entry.run.accuracy_mean,
        right=True,
        descending=True,
    ),
    Column(
        "verdict",
        "verdict",
        2,
        lambda entry, now: entry.run.verdict,
        lambda entry: entry.run.verdict or None,
    ),
    Column(
        "tags",
        "tags",
        5,
        lambda entry, now: " ".join(entry.run.tags),
        lambda entry: " ".join(entry.run.tags).casefold() or None,
    ),
    Column(
        "changed",
        "changed",
        4,
        lambda entry, now: duration(now - entry.run.changed, "age"),
        # Runs at work are the newest; among themselves they keep their places though each of them changes all the time.
        lambda entry: 1e12 + entry.created if entry.run.state == "running" else entry.run.changed,
        right=True,
        descending=True,
    ),
)
COLUMN_BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Order:
    """By which column a list is sorted, and whether the other way round than that column starts."""

    key: str = "changed"
    reversed: bool = False

    @property
    def descending(self) -> bool:
        """Whether the largest stands first."""
        return COLUMN_BY_KEY[self.key].descending != self.reversed

    def asked(self, key: str) -> Order:
        """The order after a column is asked for: once more for the same one turns it round."""
        return Order(key, not self.reversed) if key == self.key else Order(key)


def in_order(entries: Sequence[RunEntry], order: Order) -> list[RunEntry]:
    """The runs sorted; those that have nothing to sort by stand last, whichever way; ties go by name."""
    sort_key = COLUMN_BY_KEY[order.key].sort_key
    by_name = sorted(entries, key=lambda entry: entry.run.name)
    keyed: list[tuple[Any, RunEntry]] = [(key, entry) for entry in by_name if (key := sort_key(entry)) is not None]
    keyed.sort(key=lambda pair: pair[0], reverse=order.descending)
    return [entry for _, entry in keyed] + [entry for entry in by_name if sort_key(entry) is None]


def count_states(entries: Sequence[RunEntry], marked: int = 0) -> str:
    """How many runs there are, and how many of them a person should know of: `7 runs, 2 running, 1 failed`."""
    states = Counter(entry.run.state for entry in entries)
    noteworthy = ("starting", "queued", "running", "failed", "crashed", "damaged")
    counts = [f"{states[state]} {state}" for state in noteworthy if states[state]]
    counts += [f"{marked} marked"] if marked else []
    return ", ".join([f"{len(entries)} run{'' if len(entries) == 1 else 's'}", *counts])


def title(column: Column, order: Order) -> str:
    """The title of a column, with the direction where the list is sorted by it."""
    if column.key != order.key:
        return column.title
    arrow = DESCENDING if order.descending else ASCENDING
    return f"{arrow} {column.title}" if column.right else f"{column.title} {arrow}"


def fit_columns(
    entries: Sequence[RunEntry], order: Order, now: float, width: int, gap: int
) -> list[tuple[Column, int]]:
    """The columns that fit side by side into `width` cells, each with its own width; the name takes what is left."""
    widths = {
        # As a set, since most of 500 runs say the same in most columns.
        column.key: max(map(cell_len, {title(column, order)} | {clean(column.text(entry, now)) for entry in entries}))
        for column in COLUMNS
    }
    widths["state"] = min(WIDEST_STATE, widths["state"])
    widths["dataset"] = min(WIDEST_DATASET, widths["dataset"])
    widths["tags"] = min(WIDEST_TAGS, widths["tags"])
    tagged = any(entry.run.tags for entry in entries)
    judged = any(entry.run.verdict for entry in entries)
    # Columns that most people have nothing in are there only where somebody has.
    shown = [column for column in COLUMNS if {"tags": tagged, "verdict": judged}.get(column.key, True)]
    while True:
        left = width - sum(widths[column.key] + gap for column in shown if column.key != "name")
        if left >= min(widths["name"], SHORTEST_NAME) or len(shown) <= 2:
            return [
                (column, max(1, min(left, widths["name"])) if column.key == "name" else widths[column.key])
                for column in shown
            ]
        shown.remove(min(shown, key=lambda column: column.priority))


# ---- The widget. ----

MARKED = "\u258c"
ROOMY = 90


class LazyRow(Visual):
    """A line of an OptionList that is made when it comes into sight: of 500 runs, forty are on the screen."""

    def __init__(self, make: Callable[[], Content]) -> None:
        self._make = make

    def get_height(self, rules: RulesMap, width: int) -> int:
        return 1

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def render_strips(self, width: int, height: int | None, style: Style, options: RenderOptions) -> list[Strip]:
        # Not `Content.render_strips`, which wraps, and styles each piece of text for the mouse to select by.
        pieces = self._make().render(style, end="", parse_style=options.get_style)
        return [Strip([Segment(text, piece_style.rich_style) for text, piece_style in pieces])]


class RunList(OptionList, inherit_bindings=False):
    """Rows of runs, with a cursor that stays on its run wherever that moves; `titles` is to be shown above it."""

    TITLE = "list of runs"

    # Textual's own bindings have no ids, so that a person could not change them.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open", id="runs.open"),
        Binding("up,k", "move(-1)", "Up", show=False, id="list.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="list.down"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False, id="list.page_up"),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False, id="list.page_down"),
        Binding("home,g", "first", "First", show=False, id="list.first"),
        Binding("end,G", "last", "Last", show=False, id="list.last"),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True, markup=False)
        self.titles = Static(id="titles")
        # A click on a title is an action; it is not to look like a link.
        self.titles.auto_links = False
        self.entries: list[RunEntry] = []
        self._marked: Collection[str] = ()
        self._order = Order()
        self._settled = False

    @property
    def current(self) -> RunEntry | None:
        """The run under the cursor."""
        return self.entries[self.highlighted] if self.highlighted is not None else None

    def show(self, entries: Sequence[RunEntry], marked: Collection[str], order: Order) -> None:
        """Draws the runs; cursor and scroll stay with the run they are on."""
        before = self.highlighted or 0
        name = self.current.run.name if self.current and self._settled else None
        self.entries, self._marked, self._order = list(entries), set(marked), order
        # Runs change places while they are read: until all are, the cursor stays on its row and not on its run.
        self._settled = self._settled or (bool(entries) and all(entry.read for entry in entries))
        places = [place for place, entry in enumerate(entries) if entry.run.name == name]
        self._fill(places[0] if places else before, places[0] - before if places else 0)

    def point_at(self, name: str) -> None:
        """Puts the cursor on the run of that name, if it is shown."""
        for place, entry in enumerate(self.entries):
            if entry.run.name == name:
                self.highlighted = place

    def _fill(self, cursor: int, moved: int = 0) -> None:
        """Makes all rows anew, with the cursor on one that has moved down by so many rows."""
        scroll, height = self.scroll_offset.y, max(1, self.scrollable_content_region.height)
        sees_cursor = 0 <= (self.highlighted or 0) - scroll < height
        width, now = self.scrollable_content_region.width, time.time()
        gap = 2 if width >= ROOMY else 1
        columns = fit_columns(self.entries, self._order, now, width - 3, gap)
        self.titles.update(self._title_line(columns, gap))
        with self.prevent(OptionList.OptionHighlighted):
            self.set_options(Option(LazyRow(partial(self._row, entry, columns, gap, now))) for entry in self.entries)
            self.highlighted = cursor
        # Filling a list scrolls it to its top.
        self.scroll_to(y=scroll + moved if scroll else 0, animate=False, force=True, immediate=True)
        if sees_cursor:
            # Who has scrolled away from it by the wheel is left where they are.
            self.scroll_to_highlight()

    def _title_line(self, columns: list[tuple[Column, int]], gap: int) -> Content:
        cells = [
            Content.styled(
                _cell(title(column, self._order), width, column.right) + " " * gap,
                Style.from_meta({"@click": f"screen.sort_by('{column.key}')"}),
            )
            for column, width in columns
        ]
        return Content.assemble("  ", *cells)

    def _row(self, entry: RunEntry, columns: list[tuple[Column, int]], gap: int, now: float) -> Content:
        marked = entry.run.name in self._marked
        styles = {"state": STATE_STYLES.get(entry.run.state, "dim"), "name": "bold $accent" if marked else ""}
        if entry.run.accuracy_mean is not None:
            styles["accuracy"] = ""
        cells: list[str | tuple[str, str]] = [(MARKED if marked else " ", "bold $accent"), " "]
        for column, width in columns:
            text = _cell(column.text(entry, now), width, column.right)
            cells += [(text, styles.get(column.key, "dim")), " " * gap]
        return Content.assemble(*cells)

    def on_resize(self) -> None:
        self._fill(self.highlighted or 0)

    def on_option_list_option_highlighted(self) -> None:
        # Somebody has moved the cursor: from now on it stays with its run.
        self._settled = True

    def action_move(self, rows: int) -> None:
        """Moves the cursor by some rows, to the end at most; Textual's own goes round."""
        if self.entries:
            self.highlighted = (self.highlighted or 0) + rows

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a run, a second one opens it; in Textual's own, the first one selects."""
        event.prevent_default()
        place = event.style.meta.get("option")
        if place is not None:
            self.highlighted = place
            if event.chain > 1:
                self.action_select()


def _cell(text: str, width: int, right: bool) -> str:
    """The text in exactly `width` cells; some signs take two."""
    if len(text) <= width and text.isascii() and text.isprintable():
        return text.rjust(width) if right else text.ljust(width)
    # A folder made by hand may be named anything, line ends and all.
    short = shortened(text, width)
    return set_cell_size(" " * (width - cell_len(short)) + short if right else short, width)
