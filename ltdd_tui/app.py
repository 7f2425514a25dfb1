"""The screen `ltdd-tui`: pick, launch, watch, compare. It reads run folders and starts workers, and loads no torch."""

from __future__ import annotations

import asyncio
import difflib
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast, get_args

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.filter import LineFilter
from textual.screen import ModalScreen, Screen

from engine.run.errors import Fault
from engine.run.folder import RunFolder, write_atomically
from ltdd_tui.keys import KeyQueue, active_keys, checked, key_places
from ltdd_tui.preferences import (
    DARK,
    DEFAULT_THEME,
    LIGHT,
    ImageMode,
    load_layout,
    load_preferences,
    preferences_file,
    remember,
    template,
    with_remembered,
)
from ltdd_tui.runs.find import last_change, run_folders
from ltdd_tui.runs.worker import WorkerHandles
from ltdd_tui.screens.launch.screen import LaunchScreen
from ltdd_tui.widgets.lines import NO_CONTROL_CHARACTERS, free_lines_of_removed_widgets, unmarked

if TYPE_CHECKING:
    from ltdd_tui.screens.actions import OpenCompare, OpenRun
    from ltdd_tui.screens.run.images.panel import ImagesPanel

FAULT_SECONDS, SEEN_SECONDS = 12, 6
# The first screen is drawn by then; a thread imports the other screens, so that each opens at once.
LOADS_AFTER_SECONDS = 0.4
MOST_RUNS_OFFERED = 5  # by the command palette, before anything is typed
# What the palette says of the actions of a screen; only those are offered that have a key there and can be done now.
SCREEN_COMMANDS = {
    "resume": ("Resume run", "go on from the last checkpoint"),
    "stop": ("Stop run", "at its next safe point; resume goes on"),
    "evaluate": ("Evaluate run", "on further networks"),
    "export": ("Export run", "as image folder, tensors, or for TensorBoard"),
    "rename": ("Rename run", "give it another name"),
    "delete": ("Delete run", "asks first"),
    "tag": ("Tag run", "tags and a note of your own"),
    "copy_table('markdown')": ("Copy table as Markdown", "what is listed or compared, through the terminal"),
    "copy_table('csv')": ("Copy table as CSV", "with all digits, through the terminal"),
    "compare": ("Compare runs", "the ones marked in the list"),
    "copy_path": ("Copy path", "of the run's folder, through the terminal"),
    "open_folder": ("Open folder", "of the run, in the file manager"),
    "maximize_panel": ("Maximize panel", "and back"),
    "start": ("Start run", "with the settings of the form"),
    "pick_folder": ("Your images", "look a folder over, and let it choose the settings"),
    "new_sweep": ("New sweep", "a grid of runs: pick one, see what it costs"),
    "save_preset": ("Save preset", "the settings of the form, under a name of yours"),
}


def load_screens() -> None:
    """Imports the remaining screens after the first paint; from then on all keys are known, and each opens at once."""
    import ltdd_tui.screens.compare.screen
    import ltdd_tui.screens.help
    import ltdd_tui.screens.launch.screen
    import ltdd_tui.screens.run.screen
    import ltdd_tui.screens.runs.screen
    import ltdd_tui.screens.sweep.screen  # noqa: F401


class RunCommands(Provider):
    """Offers each run by name in the command palette, the newest first."""

    async def startup(self) -> None:
        """Lists the runs once, when the palette opens: `get_system_commands` would look at the disk at each key."""
        runs_dir = cast("LtddApp", self.app).runs_dir
        self._runs = await asyncio.to_thread(
            lambda: sorted(run_folders(runs_dir, with_sweeps=True), key=last_change, reverse=True),
        )

    async def discover(self) -> Hits:
        for run in self._runs[:MOST_RUNS_OFFERED]:
            yield DiscoveryHit(unmarked(f"Open run {run.name}"), self._opens(run), help=unmarked(str(run.root)))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for folder in self._runs:
            if (score := matcher.match(name := unmarked(f"Open run {folder.name}"))) > 0:
                yield Hit(score, matcher.highlight(name), self._opens(folder), help=unmarked(str(folder.root)))

    def _opens(self, folder: RunFolder) -> Callable[[], None]:
        return partial(cast("LtddApp", self.app).open_run, folder)


class LtddApp(App[None]):
    """The app over the runs of one folder; `folder` is the run that it opens with, if any.

    Theme, keys and images follow preferences.yaml, else what was chosen on the screen last. Screens do not know the
    app: they post messages such as OpenRun, and share `worker_handles`.
    """

    TITLE = "ltdd-tui"
    CSS_PATH = "style.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall")]
    COMMANDS = App.COMMANDS | {RunCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        # Only one of the first two works at a time: on the first screen, there is nothing to go back to.
        Binding("q", "back", "Back", id="app.back"),
        Binding("q", "leave", "Quit", id="app.back"),
        Binding("escape", "step_back", "Step back", show=False, id="app.step_back"),
        Binding("f1,question_mark", "help", "Help", id="app.help"),
        Binding("f2", "runs", "Runs", id="app.runs"),
        Binding("f3", "launch", "New run", id="app.launch"),
        Binding("ctrl+p", "command_palette", "Commands", priority=True, id="app.palette"),
        Binding("f12", "keep_screenshot", "Screenshot", show=False, id="app.screenshot"),
        Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit", priority=True),
    ]

    def __init__(self, runs_dir: Path, device: str = "auto", folder: RunFolder | None = None) -> None:
        asked, faults = load_preferences()
        layout, layout_faults = load_layout()
        self.preferences = with_remembered(asked, layout)
        self._set_by_file, self._faults = asked.model_fields_set, faults + layout_faults
        super().__init__()
        free_lines_of_removed_widgets()
        self.runs_dir, self.worker_handles = runs_dir, WorkerHandles(device)
        self.key_queue = KeyQueue(self, super().on_event)
        self._opens_with = folder
        self._first_screen: Screen[object] | None = None

    def on_mount(self) -> None:
        self._apply_preferences()
        self.push_screen(LaunchScreen(self.runs_dir, self.worker_handles))
        if self._opens_with is not None:
            self.open_run(self._opens_with)
            self._first_screen = self.screen
        self.set_timer(LOADS_AFTER_SECONDS, self._load_the_rest)

    def on_resize(self, event: events.Resize) -> None:
        """Tells every screen of the stack: Textual leaves out those far below, which would keep their old layout."""
        for screen in {*self.screen_stack} - {self.screen, *self._background_screens}:
            screen.post_message(event)

    def _load_the_rest(self) -> None:
        # The command line turned the garbage collector off for the start.
        gc.enable()
        self.run_worker(load_screens, thread=True)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), NO_CONTROL_CHARACTERS]

    async def on_event(self, event: events.Event) -> None:
        """Hands on keys, pastes and the mouse one by one, so that each key has had its effect before the next one."""
        await self.key_queue.handle(event)

    def on_key_queue_passed(self, passed: KeyQueue.Passed) -> None:
        self.key_queue.passed(passed)

    def _handle_exception(self, error: Exception) -> None:
        """Reports an error of the program itself, and ends it.

        While the app ends, screens lose their parts before their work is over: what they miss then is no fault.
        """
        if not self._exit:
            super()._handle_exception(error)

    # ---- Screens: which one is shown. ----

    def on_open_run(self, message: OpenRun) -> None:
        self.open_run(message.folder)

    def on_open_compare(self, message: OpenCompare) -> None:
        self.open_compare(message.folders)

    def open_run(self, folder: RunFolder) -> None:
        """Shows one run, live or finished, or a sweep, above the screen it was picked on."""
        from engine.sweep.cells import SweepFolder
        from ltdd_tui.screens.run.screen import RunScreen
        from ltdd_tui.screens.sweep.screen import SweepScreen

        self._close_dialogs()
        if SweepFolder(folder.root).exists():
            self.push_screen(SweepScreen(folder, self.worker_handles))
        else:
            self.push_screen(RunScreen(folder, self.worker_handles, self.preferences.images))

    def open_compare(self, folders: Sequence[RunFolder]) -> None:
        """Shows two to six runs side by side."""
        from ltdd_tui.screens.compare.screen import CompareScreen

        self._close_dialogs()
        self.push_screen(CompareScreen(folders, self.preferences.images))

    def action_runs(self) -> None:
        """Shows the list of runs."""
        from ltdd_tui.screens.runs.screen import RunsScreen

        self._back_to(RunsScreen)
        if not isinstance(self.screen, RunsScreen):
            self.push_screen(RunsScreen(self.runs_dir, self.worker_handles))

    def action_launch(self, own_images: bool = False) -> None:
        """Goes back to the form for a new run; with `own_images`, to the folder that it is for."""
        self._back_to(LaunchScreen)
        if own_images and isinstance(self.screen, LaunchScreen):
            self.screen.action_pick_folder()

    def _back_to(self, kind: type[Screen[None]]) -> None:
        """Closes what lies above the nearest screen of that kind; without one, above the form."""
        while not isinstance(self.screen, (kind, LaunchScreen)):
            # And not popped: whoever waits for the answer of a dialog gets none, instead of waiting for ever.
            self.screen.dismiss(None)

    def _close_dialogs(self) -> None:
        """Answers the dialogs that are open, as escape does: no screen is opened on top of them."""
        while isinstance(self.screen, ModalScreen):
            self.screen.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hides the binding of the screen that is already open, and of going back from the first one."""
        if action in ("back", "leave"):
            return (action == "leave") == self._is_on_first_screen
        return type(self.screen).__name__ != {"runs": "RunsScreen", "launch": "LaunchScreen"}.get(action)

    # ---- Going back: `q` does it at once and ends the program on its first screen; escape goes step by step, and never
    # ends it: one is pressed, or sent by a terminal, too easily for that.

    @property
    def _is_on_first_screen(self) -> bool:
        """Whether the form is shown, or the run that the program was opened with."""
        return isinstance(self.screen, LaunchScreen) or self.screen is self._first_screen

    async def action_back(self) -> None:
        """Goes back from a maximized panel, else to the screen below."""
        if self.screen.maximized:
            self.screen.minimize()
        elif len(self.screen_stack) > 2:
            self.pop_screen()

    async def action_step_back(self) -> None:
        """Goes back by as little as there is: from a filter, marks or a maximized panel, else from the screen."""
        step_back = getattr(self.screen, "step_back", None)
        if step_back is not None and step_back():
            return
        if self.screen.maximized or not self._is_on_first_screen:
            await self.action_back()
        elif self.screen is self._first_screen:
            self.notify("q ends the program, F2 lists all runs", timeout=3)

    @work(exclusive=True, group="leave")
    async def action_leave(self) -> None:
        """Ends the program, while runs go on; the form asks first where something that was typed would be lost."""
        if self.screen.maximized:
            self.screen.minimize()
        elif not isinstance(self.screen, LaunchScreen) or await self.screen.may_quit():
            self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: screens, what can be done on the present one, and how the program looks."""
        yield SystemCommand("New run", "the form, its presets, and what a run would cost", self.action_launch)
        yield SystemCommand("Runs", f"all runs below {self.runs_dir}", self.action_runs)
        active = {one.binding.action: one.binding for one in screen.active_bindings.values() if one.node is screen}
        for action, (name, help_text) in SCREEN_COMMANDS.items():
            if action in active:
                yield SystemCommand(name, help_text, partial(screen.run_action, action))
        if copies := active.get("copy"):
            # A run and a dry run copy different things: the binding says what.
            yield SystemCommand(copies.description, copies.tooltip, partial(screen.run_action, "copy"))
        yield SystemCommand("Theme", "choose how the program looks", self.search_themes)
        for theme in sorted(self.available_themes):
            yield SystemCommand(f"Theme: {theme}", f"now: {self.theme}", partial(setattr, self, "theme", theme), False)
        images = self.preferences.images
        for mode in get_args(ImageMode):
            yield SystemCommand(f"Images: {mode}", f"now: {images}", partial(self.use_images, mode), mode != images)
        yield SystemCommand("Screenshot", "the screen as an SVG file in this folder", self.action_keep_screenshot)
        yield SystemCommand("Preferences", "where preferences.yaml is, and all it can set", self.action_preferences)
        yield SystemCommand("Help", "for this screen, and its keys", self.action_help)
        yield SystemCommand("Quit", "runs go on without the screen", self.action_quit)

    # ---- A person's own: theme, keys, how images are drawn, help, and pictures of the screen. ----

    def _apply_preferences(self) -> None:
        """Sets theme and keys, and tells what of the preferences cannot be used."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        where, chosen, theme = str(preferences_file()), self.preferences.keys, self.preferences.theme
        if chosen:
            # Which ids there are is known only when all classes with bindings are imported.
            load_screens()
        keys, wrong = checked(chosen, key_places(), where) if chosen else ({}, [])
        faults = [*self._faults, *wrong]
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
            self._warn_until_seen("\n".join(lines))

    def _warn_until_seen(self, text: str) -> None:
        """Shows a warning again and again, until somebody has been there for a while to read it."""
        until = time.monotonic() + FAULT_SECONDS

        def again() -> None:
            first_input = self.key_queue.first_input_seconds
            if first_input is None or until - first_input < SEEN_SECONDS:
                self._warn_until_seen(text)

        self.notify(text, title="preferences", severity="warning", timeout=FAULT_SECONDS, markup=False)
        self.set_timer(FAULT_SECONDS, again)

    def watch_theme(self, theme: str) -> None:
        """Keeps a theme that was chosen on the screen for the next session."""
        if self._running and theme != self.preferences.theme:
            self._choose("theme", theme)

    def on_images_panel_preferred(self, preferred: ImagesPanel.Preferred) -> None:
        self.use_images(preferred.mode)

    def use_images(self, mode: ImageMode) -> None:
        """Draws images another way, here and in the next session."""
        from ltdd_tui.screens.compare.images import ComparedImages
        from ltdd_tui.screens.run.images.panel import ImagesPanel

        self._choose("images", mode)
        for screen in self.screen_stack:
            for panel in (*screen.query(ImagesPanel), *screen.query(ComparedImages)):
                panel.draw_as(mode)

    def _choose(self, name: str, value: str) -> None:
        """Keeps a choice for the next session, unless preferences.yaml sets it: that file is a person's own."""
        self.preferences = self.preferences.model_copy(update={name: value})
        if name in self._set_by_file:
            told = f"this session only: {preferences_file()} overrides it"
            return self.notify(told, title=f"{name}: {value}", markup=False)
        try:
            remember(**{name: value})
        except OSError as error:
            self.notify(f"cannot be kept: {error.strerror}", title=f"{name}: {value}", severity="warning", markup=False)

    def action_help(self) -> None:
        """Shows help for the screen and the panel in focus, with all keys."""
        from ltdd_tui.screens.help import HelpScreen, help_texts  # here, as Markdown takes a moment to load

        if not isinstance(self.screen, HelpScreen):
            groups = active_keys(self.screen)
            palette = next((row.keys for group in groups for row in group.rows if row.id == "app.palette"), "")
            self.push_screen(HelpScreen(help_texts(self.screen), groups, preferences_file(), palette))

    def action_keep_screenshot(self) -> None:
        """Writes the screen as an SVG file into the present folder, and says where; a browser gets it as a download."""
        if self.is_web:
            self.deliver_screenshot()
            return self.notify("your browser saves it", title="screenshot")
        try:
            path = Path(self.save_screenshot()).absolute()
        except OSError as error:
            # A disk that is full names no file.
            what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            return self.notify(what, title="no screenshot", severity="error", markup=False)
        self.notify(str(path), title="screenshot", timeout=8, markup=False)

    def action_preferences(self) -> None:
        """Says where preferences.yaml is, after making it where there is none, and copies its path."""
        path = preferences_file()
        try:  # only a new file: what a person wrote is never written over
            if not path.exists():
                write_atomically(path, template())
        except OSError as error:
            return self.notify(f"{path}: {error.strerror}", title="preferences", severity="error", markup=False)
        self.copy_to_clipboard(str(path))
        self.notify(f"{path}\nthe path is copied; changes show at the next start", title="preferences", markup=False)


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
