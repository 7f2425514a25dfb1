"""What can be done with the form of a new run: start it, look at all of it, keep it, measure the machine for it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import on, work
from textual.screen import Screen
from textual.widgets import Button

from engine.run.errors import LtddError
from engine.run.folder import expanded
from engine.run.presets import resolve
from ltdd_tui.annotated import annotated
from ltdd_tui.basic_fields import fault_line
from ltdd_tui.dialogs.dry_run import DryRun
from ltdd_tui.dialogs.save_preset import SavePreset
from ltdd_tui.form import Form, filled
from ltdd_tui.launching import begin
from ltdd_tui.naming import cell_name
from ltdd_tui.panels.run_form import PATH, PICKED_FROM_DISK
from ltdd_tui.planning import calibrate_silently
from ltdd_tui.preparing import with_absolute_path
from ltdd_tui.prospect import Prospect

if TYPE_CHECKING:
    from ltdd_tui.app import LtddApp

DEEDS = {"start": "start", "dry-run": "dry_run", "save": "save_preset", "reset": "reset", "browse": "pick_folder"}


class LaunchActions(Screen[None]):
    """The deeds of the launch screen; the screen itself keeps the form and shows what comes of it."""

    def __init__(self, form: Form, runs_dir: Path) -> None:
        super().__init__()
        self.form, self.runs_dir = form, runs_dir
        self._starting, self._measuring = asyncio.Lock(), asyncio.Lock()

    def take(self, form: Form, remember: bool = False) -> None:
        """Makes another form the present one."""
        raise NotImplementedError

    async def assessed(self) -> Prospect:
        """What comes of the form as it is now."""
        raise NotImplementedError

    def assess(self) -> None:
        """Has that looked at and shown."""
        raise NotImplementedError

    async def go_to(self, key: str) -> None:
        """Puts the focus into a field."""
        raise NotImplementedError

    def fill_list(self) -> None:
        """Lists the presets anew."""
        raise NotImplementedError

    @property
    def _ltdd(self) -> LtddApp:
        return cast("LtddApp", self.app)

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.run_action(DEEDS[event.button.id or ""])

    @work(group="start")
    async def action_start(self) -> None:
        """Starts the run and shows it; with faults, goes to the first one and starts nothing."""
        # A key that repeats must not start a second run.
        if self._starting.locked():
            return
        async with self._starting:
            prospect = await self._without_faults("the run is not started")
            if prospect is not None:
                await self._start(prospect)

    async def _start(self, prospect: Prospect) -> None:
        try:
            folder, errand = await asyncio.to_thread(
                begin, prospect.form, prospect.form.name or prospect.name, self.runs_dir
            )
        except (LtddError, OSError) as error:
            self.notify(str(error), title="the run is not started", severity="error", timeout=10, markup=False)
            return
        self.form = replace(self.form, name="")
        self._ltdd.control(folder).sent(errand)
        self._ltdd.open_run(folder)
        # Not needed for the first picture, and slow to import.
        from ltdd_tui.screens.start_and_stop import see_through

        self.app.run_worker(see_through(self._ltdd, errand, folder, "the run", unless_shown=True), group="errands")

    @work(exclusive=True, group="deed")
    async def action_dry_run(self) -> None:
        """Shows every setting with where it comes from."""
        prospect = await self._without_faults("there is nothing to show yet")
        if prospect is not None:
            form = prospect.form
            resolved = await asyncio.to_thread(resolve, form.preset, form.overrides())
            self.app.push_screen(DryRun(form.preset, annotated(resolved)))

    @work(exclusive=True, group="deed")
    async def action_save_preset(self) -> None:
        """Asks for a name, and lists the new preset."""
        prospect = await self._without_faults("it cannot be saved like this")
        if prospect is None:
            return
        settings = with_absolute_path(prospect.settings)
        name = await self.app.push_screen_wait(SavePreset(settings, prospect.form.preset, cell_name(settings)))
        if name:
            self.notify(f"saved as {name}")
            self.take(replace(filled(name, self.form.device), name=self.form.name), remember=True)
            self.fill_list()

    async def _without_faults(self, otherwise: str) -> Prospect | None:
        """What comes of the form where nothing is wrong with it; else goes to the first fault."""
        prospect = await self.assessed()
        if not prospect.faults:
            return prospect
        self.notify(fault_line(prospect.faults), title=otherwise, severity="error", markup=False)
        await self.go_to(next(iter(prospect.faults)))
        return None

    @work(group="measure")
    async def action_measure(self) -> None:
        """Times the steps of a run on this machine, so that estimates need not guess."""
        # Two at once would measure each other.
        if self._measuring.locked():
            return
        async with self._measuring:
            await self._measure()

    async def _measure(self) -> None:
        self.notify("ten seconds, or twice that where steps are compiled", title="measuring this machine")
        settings, device = (await self.assessed()).settings, self.form.device
        if not await asyncio.to_thread(calibrate_silently, settings, device):
            self.notify("`ltdd-tui estimate` tells why", title="it could not be measured", severity="error")
        self.fill_list()
        self.assess()

    @work(exclusive=True, group="deed")
    async def action_pick_folder(self) -> None:
        """Lets one pick the folder of the images."""
        from textual_fspicker import SelectDirectory

        start = expanded(self.form.text(PATH) or ".")
        place = start if os.path.isdir(start) else Path.cwd()
        found = await self.app.push_screen_wait(SelectDirectory(place, title="the folder that holds train/<class>/*"))
        if found is not None:
            form = self.form
            if form.text("dataset.name") not in PICKED_FROM_DISK:
                form = form.with_text("dataset.name", "folder")
            self.take(form.with_text(PATH, str(found)))
