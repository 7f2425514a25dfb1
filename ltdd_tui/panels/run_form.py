"""The form for a new run: the basic fields, the others under "more", what a field means, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Static

from engine.run.errors import Fault
from ltdd_tui.basic_fields import basic_specs, fault_line, place_of_images, told
from ltdd_tui.form import NAME, Form
from ltdd_tui.panels.more_settings import MoreSettings
from ltdd_tui.widgets.field import Field

LABEL_WIDTH = 13
PATH = "dataset.path"
PICKED_FROM_DISK = ("folder", "imagenet-lt", "tiny-imagenet")


class FaultLine(Static):
    """How many faults there are; a click goes to the next one."""

    class Clicked(Message):
        """Somebody wants to see a fault."""

    def on_click(self) -> None:
        """Asks to be taken there."""
        self.post_message(self.Clicked())


class RunForm(Vertical):
    """Shows a form and its faults; what is typed goes to the screen as Field.Edited."""

    DEFAULT_CSS = """
    RunForm #preset-line { height: 1; margin-bottom: 1; }
    RunForm #fields { height: 1fr; scrollbar-size-vertical: 1; }
    RunForm #browse { margin-left: 15; display: none; }
    RunForm #browse.-shown { display: block; }
    RunForm #told { height: 4; color: $text-muted; border-top: solid $foreground 22%; }
    RunForm FaultLine { height: auto; max-height: 2; color: $text-error; display: none; }
    RunForm FaultLine.-shown { display: block; }
    RunForm #deeds { height: 1; margin-top: 1; }
    RunForm #deeds Button { margin-right: 1; padding: 0; min-width: 0; width: auto; }
    RunForm #deeds #start { text-style: bold; padding: 0 2; }
    """
    DEEDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("dry-run", "Dry run"),
        ("save", "Save"),
        ("reset", "Reset"),
    )

    def __init__(self, form: Form, devices: list[tuple[str, str]]) -> None:
        super().__init__(id="form")
        self.border_title = "New run"
        self._form, self._faults = form, dict[str, Fault]()
        self._devices = devices
        self._at = self._faults_told = ""
        self.more = MoreSettings(self.go_to)
        self._scroll = VerticalScroll(id="fields", can_focus=False)
        self._preset_line, self._told, self._fault_line = Static(id="preset-line"), Static(id="told"), FaultLine()
        self._browse = Button("pick a folder ...", id="browse", compact=True)

    def compose(self) -> ComposeResult:
        """From top to bottom: which preset, the fields, what the present one means, the faults, the buttons."""
        yield self._preset_line
        with self._scroll:
            for spec in basic_specs(self._devices):
                yield Field(spec, self._form.text(spec.key), LABEL_WIDTH)
                if spec.key == PATH:
                    yield self._browse
            yield self.more
        yield self._told
        yield self._fault_line
        with Horizontal(id="deeds"):
            yield Button("Start", id="start", variant="primary", compact=True)
            for name, words in self.DEEDS:
                yield Button(words, id=name, compact=True)

    def on_mount(self) -> None:
        """Draws the first form."""
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
                picks = form.text("dataset.name") in PICKED_FROM_DISK
                field.set_class(picks, "-above-button")
                self._browse.set_class(picks, "-shown")
        self.more.tell(form, faults)
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
            await self.more.open_for(key, self._form, self._faults)
        if field := self._field(key):
            for above in field.ancestors:
                if isinstance(above, MoreSettings) or above.id == f"block-{key.partition('.')[0]}":
                    above.collapsed = False  # type: ignore[attr-defined]
            # At once, so that the next key is the field's; `focus()` would wait behind what is typed already.
            self.screen.set_focus(field.control, scroll_visible=False)
            # Textual would scroll at once, to where the field is before those above it are laid out.
            self.call_after_refresh(self._scroll.scroll_to_center, field, animate=False)

    async def find(self) -> None:
        """Opens "more" and goes to its search."""
        await self.more.open()
        self.more.tell(self._form, self._faults)
        self.more.focus_search()

    def _field(self, key: str) -> Field | None:
        return next((field for field in self.query(Field) if field.spec.key == key), None)

    @on(Field.Entered)
    def _entered(self, event: Field.Entered) -> None:
        self._at = event.key
        self._draw()

    @on(MoreSettings.Opened)
    async def _make(self, event: MoreSettings.Opened) -> None:
        event.stop()
        if event.block is None:
            self.more.tell(self._form, self._faults)
        else:
            self.run_worker(event.block.open(self._form, self._faults))

    def _draw(self) -> None:
        form, changes = self._form, len(self._form.typed)
        changed = f"  {changes} changed" if changes else ""
        preset = Content.assemble((form.preset or "no preset", "bold"), (changed, "$text-accent"))
        # Both are as high as ever: a layout would go through all fields.
        self._preset_line.update(preset, layout=False)
        what, kind = told(self._at, form) if self._at else ("choose a preset, or change what you like", "")
        self._told.update(Content.assemble((what, "$text"), "\n", kind), layout=False)
        line, text = self._fault_line, fault_line(self._faults)
        if text != self._faults_told:
            self._faults_told = text
            line.set_class(bool(text), "-shown")
            line.update(Content(text))
