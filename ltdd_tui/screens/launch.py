"""The form for a new run between the presets and what will come of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize, ScreenResume
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, Footer

from engine.run.errors import LtddError
from engine.run.folder import expanded
from engine.run.presets import resolve
from ltdd_tui.annotated import annotated
from ltdd_tui.basic_fields import fault_line
from ltdd_tui.dialogs.dry_run import DryRun
from ltdd_tui.dialogs.save_preset import SavePreset
from ltdd_tui.form import DEVICE, Form, filled, first_form
from ltdd_tui.launching import begin
from ltdd_tui.machine import device_choices
from ltdd_tui.naming import cell_name
from ltdd_tui.panels.more_settings import MoreSettings
from ltdd_tui.panels.outlook import OutlookPanel
from ltdd_tui.panels.preset_picker import PresetPicker
from ltdd_tui.panels.run_form import PATH, PICKED_FROM_DISK, FaultLine, RunForm
from ltdd_tui.panels.top_line import TopLine
from ltdd_tui.planning import device_here
from ltdd_tui.preparing import with_absolute_path
from ltdd_tui.preset_rows import preset_rows
from ltdd_tui.prospect import Prospect, assess
from ltdd_tui.widgets.field import Field
from ltdd_tui.widgets.panes import Pane, Panes

DEBOUNCE_SECONDS = 0.15
DEEDS = {"start": "start", "dry-run": "dry_run", "save": "save_preset", "reset": "reset", "browse": "pick_folder"}


class LaunchScreen(Screen[None]):
    """Keeps the form, asks in a thread what would come of it, and starts the run."""

    HELP: ClassVar[str] = """\
# New run

Pick a **preset** on the left with enter or a click: it fills the form. Change what you like; on the right stands at
once what you will get: the **long tail** that is trained on, from the largest class to the smallest, how many images
become how few, and the time, memory and disk that it takes *on this machine*.

**Imbalance** is the largest class over the smallest; `natural` takes every image as it is. **IPC** is how many
synthetic images each class will have. Classes with fewer real images than that are marked with `!`.

What is wrong is told under its field, all of it at once. Under **more** are all other settings, by what they belong to;
a preset has them right, so nobody needs to open it. Experts that an earlier run trained are taken from the cache.

Your own images: choose the data set `folder`, and a folder that holds `train/<class>/*` and, if you like, `test/`.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", id="launch.start"),
        Binding("ctrl+e", "dry_run", "Dry run", id="launch.dry_run"),
        Binding("ctrl+n", "save_preset", "Save", id="launch.save"),
        Binding("ctrl+r", "reset", "Reset", show=False, id="launch.reset"),
        Binding("ctrl+z", "undo", "Undo", show=False, id="launch.undo"),
        Binding("slash", "filter", "Filter", id="launch.filter"),
        Binding("ctrl+g", "find_setting", "Find", id="launch.find"),
        Binding("ctrl+o", "pick_folder", "Pick a folder", show=False, id="launch.folder"),
        Binding("f8", "next_fault", "Next fault", show=False, id="launch.fault"),
    ]
    AUTO_FOCUS = "#preset-list"
    DEFAULT_CSS = """
    LaunchScreen {
        #presets { width: 40; }
        #form { width: 1fr; }
        #outlook { width: 38; }
        &.-huge #presets { width: 48; }
        &.-huge #outlook { width: 76; }
        &.-narrow #presets, &.-narrow #outlook { width: 1fr; }
        &.-tall #fields > Field { margin-bottom: 1; }
        &.-tall #browse { margin: 0 0 1 15; }
        &.-tall #fields > Field.-above-button { margin-bottom: 0; }
    }
    """

    def __init__(self, runs_dir: Path, device: str) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._devices = device_choices(device)
        self._form = first_form(device)
        self._past: list[Form] = []
        self._prospect: Prospect | None = None
        self._timer: Timer | None = None
        self._assessing = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Top line, the three panes, keys."""
        yield TopLine(self._runs_dir, self._devices[0][0])
        yield Panes(
            Pane(PresetPicker(), "Presets", "#preset-list"),
            Pane(RunForm(self._form, self._devices), "New run", "#fields Select"),
            Pane(OutlookPanel(), "What you will get", "#tail-rows"),
        )
        yield Footer()

    def on_mount(self) -> None:
        """Lists the presets and looks at the first form, after the frame is drawn."""
        self._list_presets()
        self._assess()
        if self.has_class("-huge") and self.has_class("-tall"):
            self.call_after_refresh(self.query_one(MoreSettings).open)

    @on(Resize)
    def _fit(self) -> None:
        self.query_one(Panes).one_at_a_time(self.has_class("-narrow"))

    @on(ScreenResume)
    def _again(self) -> None:
        """A run that was started meanwhile has taken its name, and left experts in the cache."""
        if self._prospect is not None:
            self._assess()
            self.query_one(TopLine).count()

    @work(exclusive=True, group="presets")
    async def _list_presets(self) -> None:
        rows, faults = await asyncio.to_thread(preset_rows, device_here(self._form.device))
        self.query_one(PresetPicker).show(rows, self._form.preset)
        for fault in faults[:3]:
            self.notify(str(fault), title="a preset is left out", severity="warning", markup=False)

    # What is typed, and what comes of it.

    def _take(self, form: Form, remember: bool = False) -> None:
        """Makes another form the present one; what it replaces can be brought back where that is remembered."""
        if remember and form != self._form:
            self._past.append(self._form)
        self._form = form
        self._show()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_SECONDS, self._assess)

    def _show(self) -> None:
        """The form as it is now, with what the last look at it found."""
        seen = self._prospect
        self.query_one(RunForm).show(self._form, seen.faults if seen else {}, seen.name if seen else "")
        self.query_one(PresetPicker).mark(self._form.preset)

    def _assess(self) -> None:
        # One that is at work goes on until it has seen the newest form.
        if not self._assessing.locked():
            self.run_worker(self._assessed(), group="assess")

    async def _assessed(self) -> Prospect:
        """Looks at the form as it is now, shows what comes of it, and says it."""
        async with self._assessing:
            while True:
                form = self._form
                self._prospect = await asyncio.to_thread(assess, form, self._runs_dir)
                self._show()
                self.query_one(OutlookPanel).show(self._prospect)
                if form is self._form:
                    return self._prospect

    @on(Field.Edited)
    def _edited(self, event: Field.Edited) -> None:
        event.stop()
        self._take(self._form.with_text(event.key, event.text))
        if event.key == DEVICE:
            self._list_presets()

    @on(PresetPicker.Picked)
    def _picked(self, event: PresetPicker.Picked) -> None:
        event.stop()
        try:
            form = filled(event.name, self._form.device)
        except LtddError as error:
            self.notify(str(error), title=event.name, severity="error", markup=False)
            return
        if self._form.typed:
            self.notify("ctrl+z brings back what was typed", timeout=3)
        self._take(form, remember=True)
        if self.has_class("-narrow"):
            self.query_one(Panes).enter("form")

    def action_reset(self) -> None:
        """The preset as it is."""
        self._take(self._form.reset(), remember=True)

    def action_undo(self) -> None:
        """Brings back the form that a preset or a reset has replaced."""
        if self._past:
            self._take(self._past.pop())

    # What is done with it.

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.run_action(DEEDS[event.button.id or ""])

    @work(exclusive=True, group="deed")
    async def action_start(self) -> None:
        """Starts the run and shows it; with faults, goes to the first one and starts nothing."""
        prospect = await self._without_faults("the run is not started")
        if prospect is None:
            return
        try:
            folder = await asyncio.to_thread(begin, prospect.form, prospect.form.name or prospect.name, self._runs_dir)
        except LtddError as error:
            self.notify(str(error), title="the run is not started", severity="error", timeout=10, markup=False)
            return
        self._form = replace(self._form, name="")
        self.app.open_run(folder)  # type: ignore[attr-defined]

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
            self._take(replace(filled(name, self._form.device), name=self._form.name), remember=True)
            self._list_presets()

    async def _without_faults(self, otherwise: str) -> Prospect | None:
        """What comes of the form where nothing is wrong with it; else goes to the first fault."""
        prospect = await self._assessed()
        if not prospect.faults:
            return prospect
        self.notify(fault_line(prospect.faults), title=otherwise, severity="error", markup=False)
        await self._go_to(next(iter(prospect.faults)))
        return None

    @work(exclusive=True, group="deed")
    async def action_pick_folder(self) -> None:
        """Lets one pick the folder of the images."""
        from textual_fspicker import SelectDirectory

        start = expanded(self._form.text(PATH) or ".")
        place = start if start.is_dir() else Path.cwd()
        found = await self.app.push_screen_wait(SelectDirectory(place, title="the folder that holds train/<class>/*"))
        if found is not None:
            form = self._form
            if form.text("dataset.name") not in PICKED_FROM_DISK:
                form = form.with_text("dataset.name", "folder")
            self._take(form.with_text(PATH, str(found)))

    # Where one is.

    def action_filter(self) -> None:
        """Goes to the filter of the presets."""
        self.query_one(Panes).see("presets")
        self.call_after_refresh(self.query_one(PresetPicker).focus_filter)

    async def action_find_setting(self) -> None:
        """Goes to the search among all settings."""
        self.query_one(Panes).see("form")
        await self.query_one(RunForm).find()

    @on(FaultLine.Clicked)
    async def action_next_fault(self) -> None:
        """Goes from fault to fault."""
        if key := self.query_one(RunForm).next_fault():
            await self._go_to(key)

    async def _go_to(self, key: str) -> None:
        self.query_one(Panes).see("form")
        if key:
            await self.query_one(RunForm).go_to(key)
