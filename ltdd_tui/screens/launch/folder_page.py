"""The page "Your folder": what a folder of one's own images holds, and the settings that follow from it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, Input, Static
from textual_fspicker import SelectDirectory
from textual_fspicker.parts import DirectoryNavigation

from engine.run.adaptation import settings_of
from engine.run.data_settings import DatasetSettings, Fit
from engine.run.errors import Fault, LtddError
from engine.run.image_inventory import Inventory, inventory
from ltdd_tui.formatting import clean, short_path
from ltdd_tui.launch.form import OWN_IMAGES, PATH, Form
from ltdd_tui.launch.machine import calibrate_silently
from ltdd_tui.launch.own_images import (
    DEFAULT_MINUTES,
    Proposal,
    class_counts,
    facts,
    folder_of_classes,
    propose,
    summary,
)
from ltdd_tui.launch.plan import RunPlan, plan_lines, plan_run
from ltdd_tui.screens.launch.thumbnails import IMAGES_A_CLASS, Thumbnails
from ltdd_tui.widgets.bars import bar, gauge
from ltdd_tui.widgets.field import Entry
from ltdd_tui.widgets.lines import EMPTY, ERROR, MUTED, WARNING, LinesView, fit, labelled, wrapped
from ltdd_tui.widgets.panes import KeyFooter, Pane, Panes, TitleBar

LONGEST_NAME, LABEL_WIDTH = 18, 12
COUNT_WIDTH = 7
DEBOUNCE_SECONDS, PROGRESS_SECONDS = 0.4, 0.2
MOST_FAULTS, SMALLEST_WIDE = 8, 100


class PickFolder(SelectDirectory):
    """Lets one pick the folder of the images: enter goes into a folder, `s` takes the one that one is in."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "take", "Take this folder", id="pick_folder.take")]

    def __init__(self, place: Path) -> None:
        title = "Your images: a folder for each class, or train/ and test/ with these"
        super().__init__(place, title, select_button="Take it (s)", cancel_button="Cancel (esc)")

    def action_take(self) -> None:
        """Takes the folder that one is in."""
        self.dismiss(self.query_one(DirectoryNavigation).location)


class ScrollingLines(LinesView, can_focus=True):
    """Lines that arrows scroll, and that are drawn anew for each width."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.id = name


def class_lines(found: Inventory, width: int) -> list[Content]:
    """Name, train and test images and bar of each class, the largest first; then what a person should know of all."""
    classes = class_counts(found)
    name_width = min(max(cell_len(clean(one.name)) for one in classes), LONGEST_NAME, max(width // 3, 4))
    room = width - name_width - 2 * COUNT_WIDTH - 1
    lines = [Content.styled(f"{'class':{name_width}}{'train':>{COUNT_WIDTH}}{'test':>{COUNT_WIDTH}}", MUTED)]
    for one in classes:
        lines.append(
            Content.assemble(
                fit(one.name, name_width),
                f"{one.train:>{COUNT_WIDTH},}",
                (f"{one.test:>{COUNT_WIDTH},}", WARNING if one.hardly_tested else MUTED),
                (f" {bar(one.train, classes[0].train, room)}", "$primary"),
            )
        )
    return [*lines, EMPTY, *labelled(facts(found), width, LABEL_WIDTH).split("\n")]


def choice_lines(proposal: Proposal, run_plan: RunPlan, width: int) -> list[Content]:
    """Whether it fits into the minutes and what it costs, then each setting with its value, and its reason below."""
    lines = wrapped(proposal.too_few, width, WARNING, first=Content("! ")) if proposal.too_few else []
    lines += [*labelled(plan_lines(run_plan, stages_in_a_line=True), width, LABEL_WIDTH).split("\n"), EMPTY]
    for choice in proposal.choices:
        value = proposal.form.text(choice.setting) or "empty"
        lines.append(Content.assemble(choice.setting, "  ", (value, "bold $text-accent")))
        lines += wrapped(choice.reason, width, MUTED, first=Content("  "))
    return lines


def fault_lines(faults: Sequence[Fault], width: int) -> list[Content]:
    """What a run would refuse, and what can be done."""
    hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
    more = [f"and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
    told = [f"{fault.where}: {fault.what}" if fault.where else fault.what for fault in faults[:MOST_FAULTS]]
    lines = [line for text in [*told, *more] for line in wrapped(text, width, ERROR)]
    return lines + [line for hint in list(hints)[:MOST_FAULTS] for line in wrapped(f"hint: {hint}", width, MUTED)]


class FolderPage(Screen[Form | None]):
    """Looks a folder over in a thread; gives the form with its settings, or the form without them, or None."""

    HELP: ClassVar[str] = """\
# Your folder

The classes from the largest to the smallest, with their train and test images; then what a person should know of the
files: how large and of what kind they are, which repeat each other, which stand in train and in test, which cannot be
read. Beside it some images of each class, as small as networks will see them.

On the right are the settings that follow from these images and from this machine, each with its reason. **minutes** is
how long a run may take: the settings change with it.

Enter on the button, or `u`, takes them into the form, where each of them can be changed. `f` goes to the form without
them. Escape leaves everything as it was.
"""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (SMALLEST_WIDE, "-wide"), (160, "-huge")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "use", "Use these settings", id="folder.use"),
        Binding("f", "plain_form", "Form without them", id="folder.form"),
        Binding("m", "minutes", "Minutes", id="folder.minutes"),
        Binding("ctrl+b", "measure", "Measure this machine", show=False, id="launch.measure"),
        Binding("q,escape", "leave", "Back", id="folder.leave"),
    ]
    AUTO_FOCUS = ""
    CSS_PATH = "folder_page.tcss"

    def __init__(self, path: str, form: Form, runs_dir: Path) -> None:
        super().__init__()
        self._path, self._form, self._runs_dir = str(folder_of_classes(Path(path))), form, runs_dir
        self._inventory: Inventory | None = None
        self._proposal: Proposal | None = None
        self._looked_at, self._has_left = (0, 0), False
        self._timer: Timer | None = None
        self._title = TitleBar("Your folder")
        self._about, self._choices = ScrollingLines("classes"), ScrollingLines("reasons")
        self._thumbnails = Thumbnails()
        self._minutes = Entry(f"{DEFAULT_MINUTES:g}", type="number", compact=True, id="minutes")
        self._use = Button("Use these settings (u)", id="use", action="screen.use", variant="primary", compact=True)
        plain = Button("Without them (f)", id="plain", action="screen.plain_form", compact=True)
        settings = Vertical(
            Horizontal(Static("minutes a run may take ", markup=False), self._minutes, id="ask"),
            self._choices,
            Horizontal(self._use, plain, id="buttons"),
            id="settings",
        )
        self._about.border_title, settings.border_title = "Classes", "Settings that follow"
        self._panes = Panes(
            Pane(self._about, "Classes", "#classes"),
            Pane(settings, "Settings", "#use"),
            Pane(self._thumbnails, "Images", "#thumbnails"),
        )

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._panes
        yield KeyFooter()

    def on_mount(self) -> None:
        self._title.tell(short_path(Path(self._path)), "looking at the images")
        self._ticking = self.set_interval(PROGRESS_SECONDS, self._show_progress)
        self._look()

    def on_unmount(self) -> None:
        self._has_left = True

    @on(Resize)
    def _fit(self) -> None:
        # By the width and not by its class, which comes only after this.
        self._panes.one_at_a_time(self.size.width < SMALLEST_WIDE)
        self._share_rows()

    def _share_rows(self) -> None:
        """Gives the classes the rows that they need, half at most: the images have the rest."""
        if self._inventory is not None and (width := self._about.content_size.width):
            rows = min(len(class_lines(self._inventory, width)) + 2, self._panes.size.height // 2)
            self._panes.query_one(Horizontal).styles.grid_rows = f"{rows} 1fr"

    # ---- Looking at the files, in a thread. ----

    @work(group="look")
    async def _look(self) -> None:
        dataset = DatasetSettings(name="folder", path=self._path)
        try:
            found = await asyncio.to_thread(inventory, dataset, self._progress)
        except _Left:
            return
        except (LtddError, OSError) as error:
            self._ticking.stop()
            self._tell_faults(error.faults if isinstance(error, LtddError) else [Fault(str(error), self._path)])
            return
        self._ticking.stop()
        self._inventory = found
        self._title.tell(short_path(Path(self._path)), summary(found))
        self._about.draw(lambda width: class_lines(found, width))
        self._share_rows()
        self._propose()

    def _progress(self, done: int, files: int) -> None:
        # In the thread that looks; who left the page waits for no end of it.
        if self._has_left:
            raise _Left
        self._looked_at = done, files

    def _show_progress(self) -> None:
        done, files = self._looked_at
        if files and self._inventory is None:
            text = Content(f"{done:,} of {files:,} files looked at")
            self._about.draw(lambda width: [text, gauge(done, files, width, "$primary")])

    @work(exclusive=True, group="propose")
    async def _propose(self) -> None:
        """The settings for the minutes as they stand, or what a run would refuse; the newest wins."""
        if self._inventory is None or (minutes := _minutes(self._minutes.value)) is None:
            return
        if faults := self._inventory.survey.faults:
            self._tell_faults(faults)
            return
        try:
            proposal = await asyncio.to_thread(propose, self._inventory, self._path, self._form, minutes)
            run_plan = await asyncio.to_thread(plan_run, proposal.form, self._runs_dir)
        except LtddError as error:
            self._tell_faults(error.faults)
            return
        first, self._proposal = self._proposal is None, proposal
        self._show(self._inventory, proposal, run_plan)
        if first and self.focused is None:
            # Of tabs, the first one is what a person wants to see first.
            self.set_focus(self._about if self.size.width < SMALLEST_WIDE else self._use)

    # ---- What is shown. ----

    def _show(self, found: Inventory, proposal: Proposal, run_plan: RunPlan) -> None:
        self._choices.draw(lambda width: choice_lines(proposal, run_plan, width))
        names = [one.name for one in class_counts(found)]
        files = [found.thumbnails(found.survey.names.index(name), IMAGES_A_CLASS) for name in names]
        side = proposal.form.text("dataset.resolution") or found.sides[1]
        self._thumbnails.show(names, files, int(side), cast(Fit, proposal.form.text("dataset.fit")))

    def _tell_faults(self, faults: Sequence[Fault]) -> None:
        # By their places below the folder, which stands above: whole paths would take a line of their own.
        below = [replace(fault, where=fault.where.removeprefix(f"{self._path}/")) for fault in faults]
        self._choices.draw(lambda width: fault_lines(below, width))
        if self._inventory is None:
            self._about.draw(lambda width: wrapped("the images cannot be used as they are", width))
        self._panes.see("settings")

    # ---- What can be done. ----

    @on(Input.Changed, "#minutes")
    def _other_minutes(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_SECONDS, self._propose)

    @on(Input.Submitted, "#minutes")
    def _entered(self) -> None:
        self.set_focus(self._use)

    def action_minutes(self) -> None:
        """Goes to the field for the minutes."""
        self._panes.see("settings")
        self.set_focus(self._minutes)

    def action_use(self) -> None:
        """Gives the form with these settings."""
        if self._proposal is not None:
            self.dismiss(self._proposal.form)

    @work(exclusive=True, group="measure")
    async def action_measure(self) -> None:
        """Times the steps of a run on this machine, so that minutes need not be guessed."""
        if (proposal := self._proposal) is not None:
            self.notify("ten seconds, or twice that where steps are compiled", title="measuring this machine")
            await asyncio.to_thread(calibrate_silently, settings_of(proposal.choices), proposal.form.device)
            self._propose()

    def action_leave(self) -> None:
        """Leaves everything as it was."""
        self.dismiss(None)

    def action_plain_form(self) -> None:
        """Gives the form with the folder alone."""
        form = self._form.with_text("dataset.name", OWN_IMAGES)
        self.dismiss(form.with_text(PATH, self._path))


class _Left(Exception):
    """Ends the look at the files in its thread once nobody waits for it."""


def _minutes(text: str) -> float | None:
    """The minutes that were typed, where they are a number above 0."""
    try:
        minutes = float(text)
    except ValueError:
        return None
    return minutes if 0 < minutes < 1e6 else None
