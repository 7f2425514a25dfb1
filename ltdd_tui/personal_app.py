"""The side of the app that is a person's own: theme, keys, how images are drawn, help, and pictures of the screen."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from engine.run.errors import Fault
from engine.run.folder import write_atomically
from ltdd_tui.keys import active_keys, checked, key_places
from ltdd_tui.keys_in_order import KeysInOrder
from ltdd_tui.preferences import (
    DEFAULT_THEME,
    ImageMode,
    layout_faults,
    load_layout,
    load_preferences,
    preferences_file,
    remember,
    template,
    with_remembered,
)
from ltdd_tui.themes import DARK, LIGHT

if TYPE_CHECKING:
    from ltdd_tui.panels.images import ImagesPanel

FAULT_SECONDS, SEEN_SECONDS = 12, 6


class PersonalApp(KeysInOrder):
    """An app that looks and listens as preferences.yaml says, else as it was told last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "help", "Help", id="app.help"),
        Binding("ctrl+p", "command_palette", "Commands", show=False, priority=True, id="app.palette"),
        Binding("f12", "keep_screenshot", "Screenshot", show=False, id="app.screenshot"),
    ]

    def __init__(self) -> None:
        asked, faults = load_preferences()
        self.preferences = with_remembered(asked, load_layout())
        self._set_by_file = asked.model_fields_set
        self._faults = [*faults, *layout_faults()]
        super().__init__()

    def look_as_preferred(self) -> None:
        """Sets theme and keys, and tells what of the preferences cannot be used."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        where = str(preferences_file())
        chosen = self.preferences.keys
        keys, wrong = checked(chosen, key_places(), where) if chosen else ({}, [])
        faults = [*self._faults, *wrong]
        theme = self.preferences.theme
        if theme not in self.available_themes:
            near = difflib.get_close_matches(theme, self.available_themes, 1)
            hint = f"did you mean {near[0]}?" if near else "the command palette lists them"
            faults.append(Fault(f"there is no theme {theme!r}", f"{where}: theme", hint))
            theme = DEFAULT_THEME
        self.preferences = self.preferences.model_copy(update={"theme": theme})
        self.theme = theme
        self.set_keymap(keys)
        if faults:
            lines = [f"{fault.where}: {fault.what}" + (f"; {fault.hint}" if fault.hint else "") for fault in faults]
            self._tell_until_seen("\n".join(lines))

    def _tell_until_seen(self, text: str) -> None:
        """Shows a warning again and again, until somebody has been there for a while to read it."""
        until = time.monotonic() + FAULT_SECONDS

        def again() -> None:
            if self.somebody_since is None or until - self.somebody_since < SEEN_SECONDS:
                self._tell_until_seen(text)

        self.notify(text, title="preferences", severity="warning", timeout=FAULT_SECONDS, markup=False)
        self.set_timer(FAULT_SECONDS, again)

    def watch_theme(self, theme: str) -> None:
        """Keeps a theme that was chosen on the screen for the next session."""
        if self._running and theme != self.preferences.theme:
            self._choose("theme", theme)

    def on_images_panel_preferred(self, preferred: ImagesPanel.Preferred) -> None:
        """Keeps for the next session how images were asked for in a panel."""
        self.use_images(preferred.mode)

    def use_images(self, mode: ImageMode) -> None:
        """Draws images another way, here and in the next session."""
        from ltdd_tui.panels.images import ImagesPanel

        self._choose("images", mode)
        for screen in self.screen_stack:
            for panel in screen.query(ImagesPanel):
                panel.draw_as(mode)

    def _choose(self, name: str, value: str) -> None:
        self.preferences = self.preferences.model_copy(update={name: value})
        if name in self._set_by_file:
            self.notify(f"for this session: {preferences_file()} sets another", title=f"{name}: {value}", markup=False)
            return
        try:
            remember(**{name: value})
        except OSError as error:
            self.notify(f"cannot be kept: {error.strerror}", title=f"{name}: {value}", severity="warning", markup=False)

    def action_help(self) -> None:
        """Shows help for the screen and the panel in focus, with all keys."""
        # Markdown takes a moment to load, which the first screen need not wait for.
        from ltdd_tui.screens.help import HelpScreen, help_texts

        if not isinstance(self.screen, HelpScreen):
            groups = active_keys(self.screen)
            palette = next((row.keys for group in groups for row in group.rows if row.id == "app.palette"), "")
            self.push_screen(HelpScreen(help_texts(self.screen), groups, preferences_file(), palette))

    def action_keep_screenshot(self) -> None:
        """Writes the screen as an SVG file into the present folder, and says where."""
        try:
            path = Path(self.save_screenshot()).absolute()
        except OSError as error:
            # A disk that is full names no file.
            what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            self.notify(what, title="no screenshot", severity="error", markup=False)
            return
        self.notify(str(path), title="screenshot", timeout=8, markup=False)

    def action_preferences(self) -> None:
        """Says where preferences.yaml is, after making it where there is none, and copies its path."""
        path = preferences_file()
        try:
            # Only a new file: what a person wrote is never written over.
            if not path.exists():
                write_atomically(path, template())
        except OSError as error:
            self.notify(f"{path}: {error.strerror}", title="preferences", severity="error", markup=False)
            return
        self.copy_to_clipboard(str(path))
        self.notify(f"{path}\nthe path is copied; changes show at the next start", title="preferences", markup=False)
