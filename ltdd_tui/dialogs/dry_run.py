"""The settings as a run would have them, every one with where it comes from."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, Vertical
from textual.content import Content
from textual.widgets import Static

from ltdd_tui.annotated import TYPED, Line, as_yaml
from ltdd_tui.dialogs.dialog import Dialog

WIDEST_VALUES = 36


class DryRun(Dialog[None]):
    """Scrolls through the resolved YAML; `y` copies it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", id="dry_run.copy"),
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
        """The lines, and the keys."""
        with Vertical(classes="dialog") as box:
            box.border_title = f"Dry run of {self._preset}: nothing is started"
            with ScrollableContainer():
                yield Static(self._drawn(), id="yaml")
            yield Static("y copies it as YAML    esc closes", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Lets the arrows scroll."""
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
                    (line.head, style or "$foreground 60%"),
                    " ",
                    (line.value, style),
                    gap,
                    (line.origin, "$foreground 60%"),
                )
            )
        return Content("\n").join(drawn)
