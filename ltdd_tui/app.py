"""The screen `ltdd-tui`: pick, launch, watch, compare. It reads run folders and starts workers, and loads no torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import ModalScreen, Screen

from engine.run.folder import RunFolder
from ltdd_tui.commands_palette import LtddCommands
from ltdd_tui.control import Control
from ltdd_tui.keys import load_screens
from ltdd_tui.personal_app import PersonalApp
from ltdd_tui.screens.launch import LaunchScreen

# By then the first picture is there; what it did without is loaded beside it, so that no screen keeps one waiting.
LOADS_AFTER_SECONDS = 0.4


class LtddApp(PersonalApp):
    """The app over the runs of one folder; `folder` is the run that it opens with, if any."""

    TITLE = "ltdd-tui"
    CSS_PATH = "style.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall")]
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {LtddCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f3", "launch", "New run", id="app.launch"),
        Binding("f2", "runs", "Runs", id="app.runs"),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
    ]

    def __init__(self, runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.device = device
        self._opens_with = folder
        self._controls: dict[Path, Control] = {}

    def on_mount(self) -> None:
        """Sets the theme and keys, and opens the first screen."""
        self.look_as_preferred()
        self.push_screen(LaunchScreen(self.runs_dir, self.device))
        if self._opens_with is not None:
            self._show_run(self._opens_with, is_all=True)
        self.set_timer(LOADS_AFTER_SECONDS, self._load_the_rest)

    def _load_the_rest(self) -> None:
        """What the first picture did without, also the search for garbage."""
        gc.enable()
        self.run_worker(load_screens, thread=True)

    def control(self, folder: RunFolder) -> Control:
        """The worker of a run, as all screens know it."""
        if folder.root not in self._controls:
            self._controls[folder.root] = Control(folder, self.device)
        return self._controls[folder.root]

    def known_control(self, folder: RunFolder) -> Control | None:
        """The same, where a screen has had to do with it."""
        return self._controls.get(folder.root)

    def open_run(self, folder: RunFolder) -> None:
        """Shows one run, live or finished, above the screen it was picked on."""
        self._show_run(folder, is_all=False)

    def _show_run(self, folder: RunFolder, is_all: bool) -> None:
        from ltdd_tui.screens.run import RunScreen

        self._close_dialogs()
        self.push_screen(RunScreen(folder, is_all))

    def open_compare(self, folders: Sequence[RunFolder]) -> None:
        """Shows two to six runs side by side."""
        from ltdd_tui.screens.compare import CompareScreen

        self._close_dialogs()
        self.push_screen(CompareScreen(folders))

    def action_runs(self) -> None:
        """Shows the list of runs."""
        from ltdd_tui.screens.runs import RunsScreen

        self._back_to(RunsScreen)
        if not isinstance(self.screen, RunsScreen):
            self.push_screen(RunsScreen(self.runs_dir))

    def action_launch(self) -> None:
        """Goes back to the form for a new run."""
        self._back_to(LaunchScreen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where one is already is not offered."""
        return type(self.screen).__name__ != {"runs": "RunsScreen", "launch": "LaunchScreen"}.get(action)

    def _handle_exception(self, error: Exception) -> None:
        """Tells of an error of the program itself, and ends it.

        While the app ends, screens lose their parts before their work is over: what they miss then is no fault.
        """
        if not self._exit:
            super()._handle_exception(error)

    def _back_to(self, kind: type[Screen[None]]) -> None:
        """Closes what lies above the nearest screen of that kind; without one, above the form."""
        while not isinstance(self.screen, (kind, LaunchScreen)):
            # And not popped: whoever waits for the answer of a dialog gets none, instead of waiting for ever.
            self.screen.dismiss(None)

    def _close_dialogs(self) -> None:
        """Answers the dialogs that are open, as escape does: no screen is opened on top of them."""
        while isinstance(self.screen, ModalScreen):
            self.screen.dismiss(None)


def open_screen(runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> int:
    """Runs the app to its end; returns the exit code, which is not 0 where the app itself broke."""
    app = LtddApp(runs_dir, device, folder)
    if app.preferences.images != "off":
        # It asks the terminal what pictures it can show, which works only before the screen is taken over.
        import textual_image.widget  # noqa: F401
    # What is loaded by now stays: a garbage collection that goes through it all holds the loop up for 50 ms and more.
    gc.freeze()
    app.run()
    return app.return_code or 0
