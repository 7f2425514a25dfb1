"""The list of presets: in groups, filtered as one types, each with what it promises and costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key, Resize
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.run.device_profiles import Device
from engine.run.errors import Fault
from engine.run.estimate import Estimate, estimate_or_none
from engine.run.presets import PresetInfo, list_presets
from engine.run.settings import Expected
from ltdd_tui.formatting import DAY, duration, percent, shortened
from ltdd_tui.launch.form import FIRST_PRESET, PRESET_OF
from ltdd_tui.launch.machine import memory_gib
from ltdd_tui.widgets.field import Entry
from ltdd_tui.widgets.lines import FADED, fit

START, MINE = "start here", "my presets"


class PresetRow(NamedTuple):
    """One preset, below the title `group`; its cost is None where only the data's files tell.

    takes_too_long: longer than anybody waits, on this machine. needs_too_much: more memory than the device has.
    """

    name: str
    group: str
    expected: Expected | None
    estimate: Estimate | None
    takes_too_long: bool = False
    needs_too_much: bool = False


def preset_rows(device: Device) -> tuple[list[PresetRow], list[Fault]]:
    """All presets, the quickstart first and one's own after it, and what is wrong with those that are left out."""
    presets, faults = list_presets()
    memory = memory_gib(device)
    rows = [_row(preset, device, memory) for preset in presets]
    order = {START: 0, MINE: 1}
    return sorted(
        rows, key=lambda row: (order.get(row.group, 2), row.group == START and row.name != FIRST_PRESET)
    ), faults


def _row(preset: PresetInfo, device: Device, memory: float | None) -> PresetRow:
    dataset = preset.settings.dataset.name
    group = dataset if dataset.endswith("-lt") else f"{dataset}-lt"
    if preset.origin == "yours":
        group = MINE
    elif preset.name in PRESET_OF.values():
        group = START
    estimate = estimate_or_none(preset.settings, device)
    too_long = estimate is not None and estimate.total_seconds > LONGEST_SECONDS
    too_much = estimate is not None and memory is not None and estimate.memory_gib > memory
    return PresetRow(preset.name, group, preset.settings.expected, estimate, too_long, too_much)


def matching(rows: Sequence[PresetRow], query: str) -> list[PresetRow]:
    """The presets whose name or group has every word of the query."""
    words = query.lower().split()
    return [row for row in rows if all(word in f"{row.group} {row.name}".lower() for word in words)]


LONGEST_SECONDS = 7 * DAY
FIGURES_WIDTH = 19
# A list of full names is wanted only where all of them fit.
ROOM_TO_SPARE = 20
HEADER = "paper %   time   GiB  "
PICKED, TOO_MUCH = "●", "!"
LEGEND = f"faint: over a week here, {TOO_MUCH} memory"


class PresetList(OptionList):
    """An OptionList with vim's keys too."""

    TITLE = "Presets"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="list.down"),
        Binding("k", "cursor_up", "Up", show=False, id="list.up"),
        Binding("g", "first", "First", show=False, id="list.first"),
        Binding("G", "last", "Last", show=False, id="list.last"),
    ]


class PresetPicker(Vertical):
    """Tells the screen which preset was picked; it is picked by enter or a click, not by passing over it."""

    class Picked(Message):
        """A preset was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__(id="presets")
        self.border_title, self.border_subtitle = "Presets", LEGEND
        self._rows: Sequence[PresetRow] = ()
        self._picked = ""
        self._width = 0
        self._filter_box = Entry(placeholder="/ filter", id="filter", compact=True)
        self._list = PresetList(id="preset-list", compact=True)

    def compose(self) -> ComposeResult:
        yield self._filter_box
        yield Static(HEADER, id="columns")
        yield self._list

    def show(self, rows: Sequence[PresetRow], picked: str) -> None:
        """Lists these presets; `picked` is marked, and where one starts."""
        self._rows, self._picked = rows, picked
        self._fill(at=picked)

    def mark(self, picked: str) -> None:
        """Marks another preset as the one in the form."""
        if picked != self._picked:
            self._picked = picked
            self._fill()

    def focus_filter(self) -> None:
        """Puts the focus into the filter."""
        self.screen.set_focus(self._filter_box)

    @on(Resize)
    def _refit(self) -> None:
        if self.content_size.width != self._width:
            self._fill()

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted, "#filter")
    def _to_list(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.set_focus(self._list)

    def on_key(self, event: Key) -> None:
        """From the filter, down leads into the list, and escape takes the filter away."""
        if self._filter_box.has_focus and event.key in ("down", "escape"):
            if event.key == "escape":
                self._filter_box.value = ""
            self.screen.set_focus(self._list)
            event.stop()

    @on(OptionList.OptionSelected)
    def _pick(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            self.post_message(self.Picked(event.option_id))

    def _fill(self, at: str | None = None) -> None:
        presets, self._width = self._list, self.content_size.width
        at = at or (presets.highlighted_option.id if presets.highlighted_option else self._picked)
        shown = matching(self._rows, self._filter_box.value)
        presets.clear_options()
        for group, rows in groupby(shown, key=lambda row: row.group):
            presets.add_option(Option(Content(group), disabled=True))
            presets.add_options([Option(self._line(row), id=row.name) for row in rows])
        if not shown:
            presets.add_option(Option(Content("no preset matches"), disabled=True))
        ids = [option.id for option in presets.options]
        wanted = at if at in ids else next((row.name for row in shown), None)
        presets.highlighted = ids.index(wanted) if wanted is not None else None

    def _line(self, row: PresetRow) -> Content:
        # One column is the list's own scrollbar.
        width = max(self._width - FIGURES_WIDTH - 4, 8)
        # The title of the group says the rest of the name already.
        name = row.name if len(row.name) <= width - ROOM_TO_SPARE else row.name.removeprefix(f"{row.group}-")
        time, memory = "-", "-"
        if row.estimate is not None:
            time = duration(row.estimate.total_seconds, "estimate").replace(" days", " d")
            memory = f"{row.estimate.memory_gib:.1f}"
        figures = f"{percent(row.expected.accuracy if row.expected else None):>5} {time:>6} {memory:>5}"
        picked = row.name == self._picked
        return Content.assemble(
            (
                f"{PICKED if picked else ' '} {fit(shortened(name, width), width)} ",
                "bold" if picked else FADED if row.takes_too_long else "",
            ),
            (figures, FADED),
            (TOO_MUCH, "bold $text-warning") if row.needs_too_much else " ",
        )
