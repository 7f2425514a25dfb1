"""The dialogs of the form: all settings with where each comes from, and the name of a new preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, Vertical
from textual.content import Content
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.run.errors import LtddError
from engine.run.presets import DEFAULT, OVERRIDE, Resolved, extending, preset_files, save_preset, user_folder
from engine.run.settings import RunSettings
from engine.run.yaml_text import dump_yaml
from ltdd_tui.formatting import clean, short_path
from ltdd_tui.screens.dialogs import Dialog, FormDialog
from ltdd_tui.widgets.lines import FADED

# ---- Dry run. ----

TYPED = "typed here"


class Line(NamedTuple):
    """One line of YAML: `head` up to the colon, `value` behind it, and the value's origin ("" for a block)."""

    head: str
    value: str
    origin: str


def annotated(resolved: Resolved) -> list[Line]:
    """The resolved settings as YAML, a setting a line; its origin is a file and line, the default, or the form."""
    return list(_lines(resolved.settings.model_dump(mode="json"), resolved.origins, ()))


def as_yaml(lines: list[Line]) -> str:
    """The lines as text that a preset may hold; origins are comments."""
    texts = [(f"{line.head} {line.value}".rstrip(), line.origin) for line in lines]
    width = max((len(text) for text, _ in texts), default=0)
    return "".join(f"{text:{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in texts)


def _lines(values: Mapping[str, Any], origins: Mapping[str, str], above: tuple[str, ...]) -> Iterator[Line]:
    indent = "  " * len(above)
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, Mapping):
            yield Line(f"{indent}{key}:", "", "")
            yield from _lines(value, origins, path)
        else:
            # As an entry of a list: a bare scalar would end with YAML's document mark.
            text = dump_yaml([value], width=10_000, default_flow_style=True).strip()[1:-1]
            origin = origins.get(".".join(path), DEFAULT)
            yield Line(f"{indent}{key}:", text, TYPED if origin == OVERRIDE else PurePath(origin).name)


WIDEST_VALUES = 36


class DryRun(Dialog[None]):
    """Scrolls through the resolved YAML; `y` copies it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", tooltip="The settings as YAML, through the terminal", id="dry_run.copy"),
        Binding("enter,q", "cancel", "Close", id="dry_run.close"),
        Binding("j", "scroll(1)", "Down", show=False, id="dry_run.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="dry_run.up"),
    ]
    DEFAULT_CSS = """
    DryRun .dialog { width: 96; height: 90%; padding: 1 1 0 2; }
    DryRun ScrollableContainer { height: 1fr; scrollbar-size: 1 1; }
    DryRun #yaml { width: auto; }
    """

    def __init__(self, preset: str, lines: list[Line]) -> None:
        super().__init__()
        self._preset, self._lines = preset, lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = f"Dry run of {self._preset}: nothing is started"
            with ScrollableContainer():
                yield Static(self._drawn(), id="yaml")
            yield Static("y copies it as YAML    esc closes", classes="hint", markup=False)

    def on_mount(self) -> None:
        # Lets the arrows scroll.
        self.query_one(ScrollableContainer).focus()

    def action_copy(self) -> None:
        """Puts the YAML on the clipboard, also over ssh where the terminal lets it."""
        self.app.copy_to_clipboard(as_yaml(self._lines))
        self.notify("the settings are on the clipboard")

    def action_scroll(self, by: int) -> None:
        """Moves by a line."""
        self.query_one(ScrollableContainer).scroll_relative(y=by, animate=False)

    def _drawn(self) -> Content:
        # A few long lists need not push all origins out of a narrow window.
        width = min(max(len(line.head) + len(line.value) + 1 for line in self._lines), WIDEST_VALUES)
        drawn = []
        for line in self._lines:
            style = "bold $text-accent" if line.origin == TYPED else "" if line.origin else "bold"
            gap = " " * max(width - len(line.head) - len(line.value) + 2, 2)
            drawn.append(
                Content.assemble(
                    (line.head, style or FADED),
                    " ",
                    (line.value, style),
                    gap,
                    (line.origin, FADED),
                )
            )
        return Content("\n").join(drawn)


# ---- Save as preset. ----


class SavePreset(FormDialog[str]):
    """Saves settings as what they differ in from `base`; gives the name. One's own of the same name asks twice."""

    def __init__(self, settings: RunSettings, base: str, name: str) -> None:
        super().__init__("Save as preset", "Save")
        self._settings, self._base, self._suggested = settings, base, name
        self._overwrites = False

    def compose_fields(self) -> ComposeResult:
        yield Static("name", classes="label")
        yield Input(self._suggested, id="name")
        yield Static("", classes="fault", markup=False)
        yield Static(f"it goes to {short_path(user_folder())}, as:", classes="hint", markup=False)
        yield Static(self._text(self._suggested), classes="hint", id="text", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _look(self, event: Input.Changed) -> None:
        """Says at once when a name is one's own preset already."""
        _, origin = preset_files().get(event.value, ("", ""))
        self._overwrites = origin == "yours"
        button = self.query_one("#yes", Button)
        button.label, button.variant = ("Overwrite", "warning") if self._overwrites else ("Save", "primary")
        self.show_fault("a preset of yours has this name: Overwrite replaces it" if self._overwrites else "")
        self.query_one("#text", Static).update(self._text(event.value))

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        """Enter saves, but goes to the button first where something would be replaced."""
        if self._overwrites:
            event.prevent_default()
            self.query_one("#yes").focus()

    def give(self) -> None:
        """Saves the preset, and closes with its name."""
        name = self.query_one(Input).value.strip()
        try:
            save_preset(name, extending(self._settings, self._base, name), self._overwrites)
        except LtddError as error:
            fault = error.faults[0]
            self.show_fault(f"{fault.what}\n{fault.hint.removesuffix(', or --overwrite your own')}")
        except OSError as error:
            self.show_fault(f"it cannot be written: {error.strerror}")
        else:
            self.dismiss(name)

    def _text(self, name: str) -> str:
        try:
            return extending(self._settings, self._base, name)
        except LtddError as error:
            return str(error)


# ---- New sweep. ----


class PickSweep(Dialog[str]):
    """Lists sweeps by name, each with what it is; gives the name of the one that is picked."""

    DEFAULT_CSS = """
    PickSweep OptionList { height: auto; max-height: 14; background: transparent; border: none; padding: 0; }
    """

    def __init__(self, sweeps: Mapping[str, str]) -> None:
        super().__init__()
        self._sweeps = sweeps

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "New sweep"
            about = {
                name: Content.assemble(clean(name), "\n", (clean(own), FADED)) for name, own in self._sweeps.items()
            }
            yield OptionList(*(Option(text, id=name) for name, text in about.items()), compact=True)
            place = short_path(user_folder() / "sweeps")
            text = f"Enter says what one costs, before it starts. Sweeps of your own lie in {place}."
            yield Static(text, classes="hint", markup=False)

    @on(OptionList.OptionSelected)
    def _pick(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
