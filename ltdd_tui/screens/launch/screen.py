"""The form for a new run, between the presets and the plan of the run that it describes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize, ScreenResume
from textual.screen import Screen
from textual.timer import Timer

from engine.run.errors import LtddError
from engine.run.folder import RunFolder, expanded
from engine.run.presets import resolve
from ltdd_tui.formatting import gibibytes
from ltdd_tui.launch.create import begin, cell_name, with_absolute_path
from ltdd_tui.launch.form import (
    DEVICE,
    FOLDER_PRESET,
    OWN_IMAGES,
    PATH,
    Form,
    fault_summary,
    first_form,
    form_of_preset,
)
from ltdd_tui.launch.machine import calibrate_silently, device_choices, device_here, experts_gib
from ltdd_tui.launch.plan import RunPlan, plan_run
from ltdd_tui.runs.find import at_work, run_folders
from ltdd_tui.runs.worker import WorkerHandles
from ltdd_tui.screens.dialogs import Confirm, StartBeside
from ltdd_tui.screens.launch.dialogs import DryRun, PickSweep, SavePreset, annotated
from ltdd_tui.screens.launch.form_view import RunForm
from ltdd_tui.screens.launch.plan_view import PlanPanel
from ltdd_tui.screens.launch.preset_list import PresetPicker, preset_rows
from ltdd_tui.widgets.field import Field
from ltdd_tui.widgets.panes import KeyFooter, Pane, Panes, TitleBar

DEBOUNCE_SECONDS = 0.15
SMALLEST_FOR_MORE = (160, 50)
"""From this size on, all settings are in sight from the beginning."""


class LaunchScreen(Screen[None]):
    """Keeps the form, plans the run in a thread as one types, and starts it."""

    HELP: ClassVar[str] = """\
# New run

Pick a **preset** on the left with enter or a click: it fills the form. Change what you like. The right pane shows the
**long tail** that is trained on, from the largest class to the smallest, the number of real and of synthetic images,
and the time, memory and disk that the run takes *on this machine*.

**Imbalance** is the largest class over the smallest; `natural` takes every image as it is. **IPC** is how many
synthetic images each class will have. Classes with fewer real images than that are marked with `!`.

Errors appear under their fields. Under **more** are all other settings, by what they belong to; a preset sets them
already. Experts that an earlier run trained are taken from the cache.

A **sweep** (`F4`) is a grid of runs, such as a table of a paper: pick one, see what it costs, and start it.

Your own images: `ctrl+o`, and pick their folder, or enter in the field *images in*. A page shows what the folder holds,
and the settings that follow from that, before they fill the form.
"""
    # Presets and costs leave the form too little room below that.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide"), (160, "-huge")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", id="launch.start"),
        Binding("ctrl+e", "dry_run", "Dry run", id="launch.dry_run"),
        Binding("ctrl+n", "save_preset", "Save", id="launch.save"),
        Binding("ctrl+r", "reset", "Reset", show=False, id="launch.reset"),
        Binding("ctrl+z", "undo", "Undo", show=False, id="launch.undo"),
        Binding("slash", "filter", "Filter", id="launch.filter"),
        Binding("ctrl+g", "find_setting", "Find", id="launch.find"),
        Binding("ctrl+o", "pick_folder", "Your images", id="launch.folder"),
        Binding("ctrl+b", "measure", "Measure this machine", show=False, id="launch.measure"),
        Binding("f4", "new_sweep", "New sweep", show=False, id="launch.sweep"),
        Binding("f8", "next_fault", "Next problem", show=False, id="launch.fault"),
    ]
    AUTO_FOCUS = "#preset-list"
    CSS_PATH = "launch.tcss"

    def __init__(self, runs_dir: Path, worker_handles: WorkerHandles) -> None:
        super().__init__()
        self.form, self.runs_dir = first_form(worker_handles.device), runs_dir
        self._worker_handles = worker_handles
        self._devices = device_choices(worker_handles.device)
        self._past: list[Form] = []
        self._run_plan: RunPlan | None = None
        self._timer: Timer | None = None
        self._planning, self._starting, self._measuring = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._title = TitleBar("ltdd-tui")
        self._presets = PresetPicker()
        self._fields = RunForm(self.form, self._devices)
        self._plan_panel = PlanPanel()
        self._panes = Panes(
            Pane(self._presets, "Presets", "#preset-list"),
            Pane(self._fields, "New run", "#fields Select"),
            Pane(self._plan_panel, "What you will get", "#tail-rows"),
        )

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._panes
        yield KeyFooter()

    def on_mount(self) -> None:
        # All of it in threads: the frame is drawn first.
        self.fill_list()
        self.plan_run()
        self._count()
        # By the size and not by its classes, which come only after this.
        if self.size.width >= SMALLEST_FOR_MORE[0] and self.size.height >= SMALLEST_FOR_MORE[1]:
            self.call_after_refresh(self._fields.more.open)

    @on(Resize)
    def _fit(self) -> None:
        self._panes.one_at_a_time(self.has_class("-narrow"))

    @on(ScreenResume)
    def _again(self) -> None:
        # A run that was started meanwhile has taken its name, and left experts in the cache.
        if self._run_plan is not None:
            self.plan_run()
            self._count()

    @work(exclusive=True, group="presets")
    async def fill_list(self) -> None:
        """Lists the presets as they are now on the disk."""
        rows, faults = await asyncio.to_thread(preset_rows, device_here(self.form.device))
        self._presets.show(rows, self.form.preset)
        for fault in faults[:3]:
            self.notify(str(fault), title="a preset is left out", severity="warning", markup=False)

    @work(exclusive=True, group="count")
    async def _count(self) -> None:
        """Says how many runs there are, and what the cached experts take."""
        summary = await asyncio.to_thread(self._count_runs_and_cache)
        self._title.tell(summary, self._devices[0][0].removeprefix("auto: "))

    def _count_runs_and_cache(self) -> str:
        cache = f"experts' cache {gibibytes(experts_gib())}"
        try:
            runs = sum(1 for _ in run_folders(self.runs_dir, with_sweeps=True))
            working = len(at_work(self.runs_dir))
        except OSError as error:
            return f"{self.runs_dir}: {error.strerror}   {cache}"
        of_them = f", {working} at work" if working else ""
        return f"{runs} run{'' if runs == 1 else 's'}{of_them}   {cache}"

    # ---- The form, and the plan of the run that it describes. ----

    def take(self, form: Form, remember: bool = False) -> None:
        """Replaces the form; with `remember`, ctrl+z brings the old one back."""
        if remember and form != self.form:
            self._past.append(self.form)
        self.form = form
        self._show()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_SECONDS, self.plan_run)

    def _show(self) -> None:
        """Shows the form as it is now, with the faults of the last plan: a newer plan may take a while."""
        plan = self._run_plan
        self._fields.show(self.form, plan.faults if plan else {}, plan.name if plan else "")
        self._presets.mark(self.form.preset)

    def plan_run(self) -> None:
        """Plans the run of the present form in a thread, and shows the plan."""
        # One that is at work goes on until it has seen the newest form.
        if not self._planning.locked():
            self.run_worker(self.plan_in_thread(), group="plan")

    async def plan_in_thread(self) -> RunPlan:
        """Plans the run of the present form, shows the plan and returns it."""
        async with self._planning:
            while True:
                form = self.form
                self._run_plan = await asyncio.to_thread(plan_run, form, self.runs_dir)
                self._show()
                self._plan_panel.show(self._run_plan)
                if form is self.form:
                    return self._run_plan

    @on(Field.Edited)
    def _edited(self, event: Field.Edited) -> None:
        event.stop()
        event.field.taken()
        form = self.form.with_text(event.key, event.text)
        if form.preset != self.form.preset:
            self.notify(f"settings of the preset {form.preset}; ctrl+z brings back the others", timeout=6)
        self.take(form, remember=form.preset != self.form.preset)
        if event.key == DEVICE:
            self.fill_list()

    @on(PresetPicker.Picked)
    def _picked(self, event: PresetPicker.Picked) -> None:
        event.stop()
        try:
            form = form_of_preset(event.name, self.form.device)
        except LtddError as error:
            self.notify(str(error), title=event.name, severity="error", markup=False)
            return
        if self.form.typed:
            self.notify("ctrl+z brings back what was typed", timeout=3)
        self.take(form, remember=True)
        if event.name == FOLDER_PRESET:
            self.action_pick_folder(self.form.text(PATH))
        elif self.has_class("-narrow"):
            self._panes.enter("form")

    def action_reset(self) -> None:
        """Takes back all that was typed over the preset."""
        self.take(self.form.reset(), remember=True)

    async def may_quit(self) -> bool:
        """Whether the program may end: where something that was typed would be lost, it asks. In a Textual worker."""
        if not (changes := len(self.form.typed)):
            return True
        what = f"{changes} setting{'s' if changes > 1 else ''} changed in the form: not saved"
        quits: bool | None = await self.app.push_screen_wait(Confirm("Quit ltdd-tui?", what, "Quit", "Stay"))
        return bool(quits)

    def action_undo(self) -> None:
        """Brings back the form that a preset or a reset has replaced."""
        if self._past:
            self.take(self._past.pop())

    # ---- Focus. ----

    def action_filter(self) -> None:
        """Goes to the filter of the presets."""
        self._panes.see("presets")
        self._presets.focus_filter()

    async def action_find_setting(self) -> None:
        """Goes to the search among all settings."""
        self._panes.see("form")
        await self._fields.find()

    async def action_next_fault(self) -> None:
        """Goes from fault to fault."""
        if key := self._fields.next_fault():
            await self.go_to(key)

    async def go_to(self, key: str) -> None:
        """Puts the focus into a field, wherever it is."""
        self._panes.see("form")
        if key:
            await self._fields.go_to(key)

    # ---- What can be done with the form. ----

    @work(group="start")
    async def action_start(self) -> None:
        """Starts the run and shows it; with faults, goes to the first one and starts nothing."""
        # A key that repeats must not start a second run.
        if self._starting.locked():
            return
        async with self._starting:
            run_plan = await self._without_faults("the run is not started")
            if run_plan is not None:
                await self._start(run_plan)

    async def _start(self, run_plan: RunPlan) -> None:
        working = await asyncio.to_thread(self._runs_at_work)
        choice = await self.app.push_screen_wait(StartBeside(working)) if working else "beside"
        if choice is None:
            return
        name, behind = run_plan.form.name or run_plan.name, working if choice == "queue" else []
        try:
            folder, process = await asyncio.to_thread(begin, run_plan.form, name, self.runs_dir, behind)
        except (LtddError, OSError) as error:
            self.notify(str(error), title="the run is not started", severity="error", timeout=10, markup=False)
            return
        self.form = replace(self.form, name="")
        self._worker_handles.of(folder).launched(process)
        # Not needed for the first picture, and slow to import.
        from ltdd_tui.screens.actions import OpenRun, end_announced

        self.post_message(OpenRun(folder))
        end = end_announced(self.app, self._worker_handles, process, folder, "the run", unless_shown=True)
        self.app.run_worker(end, group="worker end")

    @work(exclusive=True, group="dialog")
    async def action_new_sweep(self) -> None:
        """Lets one pick a sweep, says what it costs, and starts it."""
        # Not needed for the first picture, and slow to import.
        from engine.sweep.grid import load_sweep
        from ltdd_tui.launch.sweeps import begin_sweep, cost_text, folder_of, known_sweeps
        from ltdd_tui.screens.actions import OpenRun, end_announced

        device = self.form.device
        sweeps, faults = await asyncio.to_thread(known_sweeps)
        for fault in faults[:3]:
            self.notify(str(fault), title="a sweep is left out", severity="warning", markup=False)
        name = await self.app.push_screen_wait(PickSweep(sweeps))
        if name is None:
            return
        try:
            sweep = await asyncio.to_thread(load_sweep, name)
            details = await asyncio.to_thread(cost_text, sweep, device)
            if not await self.app.push_screen_wait(Confirm(f"Start the sweep {name}?", details, "Start")):
                return
            working = await asyncio.to_thread(self._runs_at_work)
            choice = await self.app.push_screen_wait(StartBeside(working)) if working else "beside"
            if choice is None:
                return
            folder = await asyncio.to_thread(folder_of, sweep, self.runs_dir, None)
            behind = working if choice == "queue" else []
            process = await asyncio.to_thread(begin_sweep, folder, device, (), behind, sweep)
        except (LtddError, OSError) as error:
            self.notify(str(error), title="the sweep is not started", severity="error", timeout=10, markup=False)
            return
        run = RunFolder(folder.root)
        self._worker_handles.of(run).launched(process)
        self.post_message(OpenRun(run))
        self.app.run_worker(
            end_announced(self.app, self._worker_handles, process, run, "the sweep"), group="worker end"
        )

    def _runs_at_work(self) -> list[RunFolder]:
        with contextlib.suppress(OSError):
            return at_work(self.runs_dir)
        return []

    @work(exclusive=True, group="dialog")
    async def action_dry_run(self) -> None:
        """Shows every setting with where it comes from."""
        run_plan = await self._without_faults("there is nothing to show yet")
        if run_plan is not None:
            form = run_plan.form
            resolved = await asyncio.to_thread(resolve, form.preset, form.overrides())
            self.app.push_screen(DryRun(form.preset, annotated(resolved)))

    @work(exclusive=True, group="dialog")
    async def action_save_preset(self) -> None:
        """Asks for a name, and lists the new preset."""
        run_plan = await self._without_faults("it cannot be saved like this")
        if run_plan is None:
            return
        settings = with_absolute_path(run_plan.settings)
        name = await self.app.push_screen_wait(SavePreset(settings, run_plan.form.preset, cell_name(settings)))
        if name:
            self.notify(f"saved as {name}")
            self.take(replace(form_of_preset(name, self.form.device), name=self.form.name), remember=True)
            self.fill_list()

    async def _without_faults(self, otherwise: str) -> RunPlan | None:
        """The plan of the present form where it has no fault; else goes to the first fault and returns None."""
        run_plan = await self.plan_in_thread()
        if not run_plan.faults:
            return run_plan
        self.notify(fault_summary(run_plan.faults), title=otherwise, severity="error", markup=False)
        await self.go_to(next(iter(run_plan.faults)))
        return None

    @work(group="measure")
    async def action_measure(self) -> None:
        """Times the steps of a run on this machine, so that estimates need not guess."""
        # Two at once would measure each other.
        if self._measuring.locked():
            return
        async with self._measuring:
            self.notify("ten seconds, or twice that where steps are compiled", title="measuring this machine")
            settings, device = (await self.plan_in_thread()).settings, self.form.device
            if not await asyncio.to_thread(calibrate_silently, settings, device):
                self.notify("`ltdd-tui estimate` tells why", title="it could not be measured", severity="error")
            self.fill_list()
            self.plan_run()

    @on(Field.Entered)
    def _path_entered(self, event: Field.Entered) -> None:
        event.stop()
        own = event.key == PATH and self.form.text("dataset.name") == OWN_IMAGES
        if own and event.text and os.path.isdir(path := expanded(event.text)):
            self.action_pick_folder(str(path))

    @work(exclusive=True, group="dialog")
    async def action_pick_folder(self, path: str = "") -> None:
        """Lets one pick the folder of the images, unless it is known, and shows what it holds before the form."""
        from ltdd_tui.screens.launch.folder_page import FolderPage, PickFolder  # slow to import

        if not path:
            start = expanded(self.form.text(PATH) or ".")
            place = start if os.path.isdir(start) else Path.cwd()
            path = str(await self.app.push_screen_wait(PickFolder(place)) or "")
        if path and (form := await self.app.push_screen_wait(FolderPage(path, self.form, self.runs_dir))):
            self.take(form, remember=True)
            self._panes.see("form")
            self.set_focus(self.query_one("#start"))
            self.notify("enter starts the run; every setting can be changed before")
