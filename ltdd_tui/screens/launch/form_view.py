"""The form for a new run: the basic fields, the others under "more", what a field means, what is wrong, what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Button, Collapsible, Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.run.datasets import FACTS, FROM_FILES
from engine.run.errors import Fault
from engine.run.methods import METHODS
from engine.run.schema import Leaf, leaves
from ltdd_tui.formatting import stage_name
from ltdd_tui.launch.form import (
    DEVICE,
    FACTOR,
    LABELS,
    NAME,
    OWN_IMAGES,
    PATH,
    Form,
    fault_summary,
    field_help,
    find_settings,
    more_settings,
    place_of_images,
)
from ltdd_tui.widgets.field import Entry, Field, Fold, Spec, spec_of
from ltdd_tui.widgets.lines import FADED

# ---- "more": every setting that is not basic, by block, and a search among them. ----

MORE_LABEL_WIDTH = 21
# Mounting all of a block at once would keep the screen waiting.
FIELDS_AT_ONCE = 3


class Block(Fold):
    """The settings of one block; its fields are made when it is first opened."""

    def __init__(self, name: str, settings: list[Leaf]) -> None:
        super().__init__(title=stage_name(name), collapsed=True, id=f"block-{name}")
        self.block, self.settings = name, settings
        self._filling = asyncio.Lock()

    async def open(self, form: Form, faults: Mapping[str, Fault]) -> None:
        """Opens it, with all its fields."""
        self.collapsed = False
        async with self._filling:
            mounted = {field.spec.key for field in self.query(Field)}
            missing = [leaf for leaf in self.settings if leaf.key not in mounted]
            for start in range(0, len(missing), FIELDS_AT_ONCE):
                fields = [
                    Field(spec_of(leaf), form.text(leaf.key), MORE_LABEL_WIDTH)
                    for leaf in missing[start : start + FIELDS_AT_ONCE]
                ]
                await self.query_one(Collapsible.Contents).mount_all(fields)
                for field in fields:
                    field.show(form.text(field.spec.key), field.spec.key in form.typed, faults.get(field.spec.key))
                await asyncio.sleep(0)


def entitle(fold: Fold, name: str, settings: Sequence[Leaf], form: Form, faults: Mapping[str, Fault]) -> None:
    """Counts in a title the most urgent of what is below: faults, else changes, else settings."""
    keys = {leaf.key for leaf in settings}
    faulty, changed = len(keys & faults.keys()), len(keys & form.typed.keys())
    if faulty:
        fold.title = f"{name}: {faulty} problem{'s' if faulty > 1 else ''}"
    elif changed:
        fold.title = f"{name}: {changed} changed"
    else:
        fold.title = f"{name}: {len(keys)} setting{'s' if len(keys) > 1 else ''}"
    fold.mark(bool(faulty))


class Search(Entry):
    """Where one types a part of a setting's name; enter is over only when the best match has the focus."""

    def __init__(self, go: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(placeholder="find a setting: image_lr, momentum, ...", id="search", compact=True)
        self._go = go

    async def action_submit(self) -> None:
        """Goes to the best match."""
        if matches := find_settings(self.value):
            await self._go(matches[0].key)


class Matches(OptionList):
    """The settings that fit what was typed; enter is over only when the chosen one has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "go", "Go to", show=False, id="launch.match")]

    def __init__(self, go: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(id="matches", compact=True)
        self._go = go

    async def action_go(self) -> None:
        """Goes to the setting; to the best one where none is highlighted."""
        option = self.highlighted_option or next(iter(self.options), None)
        if option is not None and option.id:
            await self._go(option.id)


class MoreSettings(Fold):
    """All blocks, and the search; `go_to` puts the focus into the field of a setting."""

    def __init__(self, form: Form, go_to: Callable[[str], Awaitable[None]]) -> None:
        self._blocks, self._go_to = more_settings(), go_to
        self._form, self._faults = form, dict[str, Fault]()
        super().__init__(title="more", collapsed=True, id="more")

    async def open(self) -> None:
        """Shows search and blocks; they are made the first time."""
        self.collapsed = False
        contents = self.query_one(Collapsible.Contents)
        if not contents.query("#search"):
            blocks = [Block(name, settings) for name, settings in self._blocks.items()]
            await contents.mount_all([Search(self._go), Matches(self._go), *blocks])
            self.show(self._form, self._faults)

    async def open_for(self, key: str) -> None:
        """Opens what holds a setting."""
        await self.open()
        await self.query_one(f"#block-{key.partition('.')[0]}", Block).open(self._form, self._faults)

    def show(self, form: Form, faults: dict[str, Fault]) -> None:
        """Says in the titles what is changed and what is wrong below."""
        self._form, self._faults = form, faults
        entitle(self, "more", [leaf for settings in self._blocks.values() for leaf in settings], form, faults)
        for block in self.query(Block):
            entitle(block, stage_name(block.block), block.settings, form, faults)

    @on(Input.Changed, "#search")
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        settings, matches = find_settings(event.value), self.query_one("#matches", OptionList)
        matches.set_options(
            Option(Content.assemble(leaf.key, "  ", (leaf.help, FADED)), id=leaf.key) for leaf in settings
        )
        matches.set_class(bool(settings), "-some")

    @on(OptionList.OptionSelected, "#matches")
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            self.run_worker(self._go(event.option_id), exclusive=True, group="go")

    async def _go(self, key: str) -> None:
        self.query_one(Search).value = ""
        await self._go_to(key)

    @on(Collapsible.Expanded)
    def _expanded(self, event: Collapsible.Expanded) -> None:
        event.stop()
        if isinstance(event.collapsible, Block):
            self.run_worker(event.collapsible.open(self._form, self._faults))
        elif event.collapsible is self:
            self.run_worker(self.open(), exclusive=True, group="more")


# ---- The whole form. ----

BASIC_LABEL_WIDTH = 13
NOTES = {FACTOR: "head : tail", "ipc": "images a class"}


def basic_specs(devices: list[tuple[str, str]]) -> list[Spec]:
    """The fields that everybody sees, in order; `devices` as (words, value)."""
    datasets = []
    # One's own images are what most people come for: in sight, and not at the end.
    for name in sorted(leaves()["dataset.name"].choices, key=lambda name: (name != "digits", name != OWN_IMAGES)):
        facts = FACTS.get(name)  # type: ignore[call-overload]
        words = f"{len(facts.class_sizes)} classes, {facts.image_size} px" if facts else "your own images"
        datasets.append((f"{name} · {words}", name))
    options: dict[str, list[tuple[str, str]]] = {
        "dataset.name": datasets,
        "method": [(f"{name} · {traits.summary}", name) for name, traits in METHODS.items()],
        DEVICE: devices,
    }
    return [
        Spec(
            key,
            label,
            NOTES.get(key, ""),
            "a number, or natural" if key == FACTOR else "",
            tuple(options.get(key, ())),
            is_long=key == PATH,
            suggestions=("natural",) if key == FACTOR else (),
            help=leaves()[key].help if key in leaves() else "",
        )
        for key, label in LABELS.items()
    ]


class RunForm(Vertical):
    """Shows a form and its faults; what is typed goes to the screen as Field.Edited."""

    def __init__(self, form: Form, devices: list[tuple[str, str]]) -> None:
        super().__init__(id="form")
        self.border_title = "New run"
        self._form, self._faults = form, dict[str, Fault]()
        self._devices = devices
        # The key of the field in focus, and the summary of the faults that is shown.
        self._at = self._summary_shown = ""
        self.more = MoreSettings(form, self.go_to)
        self._scroll = VerticalScroll(id="fields", can_focus=False)
        self._preset_line, self._help = Static(id="preset-line"), Static(id="help")
        self._fault_summary = Static(id="fault-summary")
        # A click goes to the next fault; it is not to look like a link.
        self._fault_summary.auto_links = False
        self._browse = Button("pick a folder ...", id="browse", action="screen.pick_folder", compact=True)

    def compose(self) -> ComposeResult:
        yield self._preset_line
        with self._scroll:
            for spec in basic_specs(self._devices):
                yield Field(spec, self._form.text(spec.key), BASIC_LABEL_WIDTH)
                if spec.key == PATH:
                    yield self._browse
            yield self.more
        yield self._help
        yield self._fault_summary
        with Horizontal(id="buttons"):
            yield Button("Start", id="start", action="screen.start", variant="primary", compact=True)
            yield Button("Dry run", id="dry-run", action="screen.dry_run", compact=True)
            yield Button("Save", id="save", action="screen.save_preset", compact=True)
            yield Button("Reset", id="reset", action="screen.reset", compact=True)

    def on_mount(self) -> None:
        self.show(self._form, {}, "")

    def show(self, form: Form, faults: Mapping[str, Fault], free_name: str) -> None:
        """Puts a form into the fields, and each fault under its own."""
        self._form, self._faults = form, dict(faults)
        for field in self.query(Field):
            key = field.spec.key
            field.show(form.text(key), key in form.typed, faults.get(key))
            if key == NAME:
                field.suggest(free_name)
            elif key == PATH:
                field.suggest(place_of_images(form.text("dataset.name")))
                picks = form.text("dataset.name") in FROM_FILES
                field.set_class(picks, "-above-button")
                self._browse.set_class(picks, "-shown")
        self.more.show(form, self._faults)
        self._draw()

    def next_fault(self) -> str | None:
        """The fault after the one that one is at, around the end; None without faults."""
        keys = [key for key in self._faults if key]
        if not keys:
            return None
        return keys[(keys.index(self._at) + 1) % len(keys)] if self._at in keys else keys[0]

    async def go_to(self, key: str) -> None:
        """Puts the focus into a field, wherever it is hidden."""
        if not self._field(key):
            await self.more.open_for(key)
        if field := self._field(key):
            for above in field.ancestors:
                if isinstance(above, Fold):
                    above.collapsed = False
            self._focus(field.control, field)

    async def find(self) -> None:
        """Opens "more" and goes to its search."""
        await self.more.open()
        search = self.more.query_one(Search)
        self._focus(search, search)

    def _focus(self, control: Widget, shown: Widget) -> None:
        """Puts the focus into a control, and scrolls to what is to be seen with it."""
        # At once, so that the next key is the control's; `focus()` would wait behind what is typed already.
        self.screen.set_focus(control, scroll_visible=False)
        # Textual would scroll at once, to where it is before those above it are laid out.
        self.call_after_refresh(self._scroll.scroll_to_center, shown, animate=False)

    def _field(self, key: str) -> Field | None:
        return next((field for field in self.query(Field) if field.spec.key == key), None)

    @on(DescendantFocus)
    def _entered(self, event: DescendantFocus) -> None:
        if isinstance(field := event.widget.parent, Field):
            self._at = field.spec.key
            self._draw()

    def _draw(self) -> None:
        form, changes = self._form, len(self._form.typed)
        changed = f"  {changes} changed" if changes else ""
        preset = Content.assemble((form.preset or "no preset", "bold"), (changed, "$text-accent"))
        # Both are as high as ever: a layout would go through all fields.
        self._preset_line.update(preset, layout=False)
        what, kind = field_help(self._at, form) if self._at else ("choose a preset, or ctrl+o: images of your own", "")
        self._help.update(Content.assemble((what, "$text"), "\n", kind), layout=False)
        summary = fault_summary(self._faults)
        if summary != self._summary_shown:
            self._summary_shown = summary
            self._fault_summary.set_class(bool(summary), "-shown")
            self._fault_summary.update(Content.styled(summary, Style.from_meta({"@click": "screen.next_fault"})))
