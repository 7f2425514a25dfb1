"""What the command palette offers: screens, runs by name, what can be done with a run, and how the program looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

from textual.command import DiscoveryHit, Hit, Hits, Provider

from engine.run.folder import RunFolder
from ltdd_tui.preferences import ImageMode
from ltdd_tui.runs import last_change, run_folders

if TYPE_CHECKING:
    from ltdd_tui.app import LtddApp

MOST_DISCOVERED = 5
# What a screen offers where it has the action, by name.
SCREEN_DEEDS = {
    "resume": ("Resume run", "go on from the last checkpoint"),
    "stop": ("Stop run", "at its next safe point; resume goes on"),
    "evaluate": ("Evaluate run", "on further networks"),
    "export": ("Export run", "as image folder, tensors, or for TensorBoard"),
    "rename": ("Rename run", "give it another name"),
    "delete": ("Delete run", "asks first"),
    "compare": ("Compare runs", "the ones marked in the list"),
    "copy": ("Copy path", "of the run's folder, through the terminal"),
    "copy_path": ("Copy path", "of the run's folder, through the terminal"),
    "open_folder": ("Open folder", "of the run, in the file manager"),
    "maximize_panel": ("Maximize panel", "and back"),
    "start": ("Start run", "with the settings of the form"),
    "save_preset": ("Save preset", "the settings of the form, under a name of yours"),
}


@dataclass(frozen=True)
class Deed:
    """One entry of the palette."""

    name: str
    tells: str
    do: Callable[[], Any]
    discovered: bool = True


class LtddCommands(Provider):
    """Gives the palette its entries; runs are looked up when it opens."""

    async def startup(self) -> None:
        """Looks up the names of the runs, in a thread."""
        self._runs = await asyncio.to_thread(self._newest)

    def _newest(self) -> list[RunFolder]:
        return sorted(run_folders(self._ltdd.runs_dir), key=last_change, reverse=True)

    @property
    def _ltdd(self) -> LtddApp:
        return cast("LtddApp", self.app)

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for deed in self._deeds():
            if deed.discovered:
                yield DiscoveryHit(deed.name, deed.do, help=deed.tells)

    async def search(self, query: str) -> Hits:
        """What matches what is typed."""
        matcher = self.matcher(query)
        for deed in self._deeds():
            if (score := matcher.match(deed.name)) > 0:
                yield Hit(score, matcher.highlight(deed.name), deed.do, help=deed.tells)

    def _deeds(self) -> Iterator[Deed]:
        app = self._ltdd
        yield Deed("New run", "the form, its presets, and what a run would cost", app.action_launch)
        yield Deed("Runs", f"all runs below {app.runs_dir}", app.action_runs)
        for action, (name, tells) in SCREEN_DEEDS.items():
            if hasattr(self.screen, f"action_{action}") and self.screen.check_action(action, ()) is not False:
                yield Deed(name, tells, partial(self.screen.run_action, action))
        for place, folder in enumerate(self._runs):
            yield Deed(
                f"Open run {folder.name}", str(folder.root), partial(app.open_run, folder), place < MOST_DISCOVERED
            )
        yield Deed("Theme", "choose how the program looks", app.search_themes)
        for theme in sorted(app.available_themes):
            yield Deed(f"Theme: {theme}", f"now: {app.theme}", partial(setattr, app, "theme", theme), discovered=False)
        for mode in get_args(ImageMode):
            tells = f"now: {app.preferences.images}"
            yield Deed(f"Images: {mode}", tells, partial(app.use_images, mode), mode != app.preferences.images)
        yield Deed("Screenshot", "the screen as an SVG file in this folder", app.action_keep_screenshot)
        yield Deed("Preferences", "where preferences.yaml is; made with all that can be set", app.action_preferences)
        yield Deed("Help", "for this screen, and its keys", app.action_help)
        yield Deed("Quit", "runs go on without the screen", app.action_quit)
