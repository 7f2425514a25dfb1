"""The page "Your folder": what a folder of one's own images holds, and the settings that follow from it."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, Input, Static
from textual_fspicker import SelectDirectory
from textual_fspicker.parts import DirectoryNavigation

from engine.run.data_settings import DatasetSettings
from engine.run.errors import Fault, LtddError
from engine.run.image_inventory import Inventory, inventory
from ltdd_tui.formatting import clean, short_path
from ltdd_tui.launch.form import OWN_IMAGES, PATH, Form
from ltdd_tui.launch.own_images import (
    DEFAULT_MINUTES,
    ClassCount,
    Proposal,
    class_counts,
    facts,
    folder_of_classes,
    propose,
    summary,
)
from ltdd_tui.launch.plan import plan_lines
from ltdd_tui.screens.launch.plan_view import labelled
from ltdd_tui.screens.launch.thumbnails import IMAGES_A_CLASS, Thumbnails
from ltdd_tui.widgets.bars import bar, gauge
from ltdd_tui.widgets.field import Entry
from ltdd_tui.widgets.lines import FADED, fit
from ltdd_tui.widgets.panes import KeyFooter, Pane, Panes, TitleBar

LONGEST_NAME, LABEL_WIDTH = 18, 12
COUNT_WIDTH = 7
DEBOUNCE_SECONDS, PROGRESS_SECONDS = 0.4, 0.2
MOST_FAULTS = 8


class PickFolder(SelectDirectory):
    """Lets one pick the folder of the images: enter goes into a folder, `s` takes the one that one is in."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "take", "Take this folder", id="pick_folder.take")]

    def __init__(self, place: Path) -> None:
        title = "Your images: a folder for each class, or train/ and test/ with these"
        super().__init__(place, title, select_button="Take it (s)", cancel_button="Cancel (esc)")

    def action_take(self) -> None:
        """Takes the folder that one is in."""
        self.dismiss(self.query_one(DirectoryNavigation).location)


def class_rows(classes: Sequence[ClassCount], width: int) -> Content:
    """Name, train and test images and bar of each class, the largest first."""
    name_width = min(max(len(clean(one.name)) for one in classes), LONGEST_NAME, max(width // 3, 4))
    room = width - name_width - 2 * COUNT_WIDTH - 1
    rows = [((f"{'class':{name_width}}{'train':>{COUNT_WIDTH}}{'test':>{COUNT_WIDTH}}", FADED),)]
    for one in classes:
        rows.append(
            (
                (fit(one.name, name_width), ""),
                (f"{one.train:>{COUNT_WIDTH},}", ""),
                (f"{one.test:>{COUNT_WIDTH},}", "$text-warning" if one.hardly_tested else FADED),
                (f" {bar(one.train, classes[0].train, room)}", "$primary"),
            )
        )
    return Content("\n").join(Content.assemble(*row) for row in rows)


def choice_lines(proposal: Proposal, width: int) -> Content:
    """What the run costs, then each setting with its value, and its reason below."""
    lines = [labelled(plan_lines(proposal.plan, stages_in_a_line=True), width, LABEL_WIDTH), Content("")]
    for choice in proposal.choices:
        value = proposal.form.text(choice.setting) or "empty"
        lines.append(Content.assemble(choice.setting, "  ", (value, "bold $text-accent")))
        lines += [Content.styled(f"  {line}", FADED) for line in textwrap.wrap(choice.reason, width - 2)]
    return Content("\n").join(lines)


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
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-huge")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "use", "Use these settings", id="folder.use"),
        Binding("f", "plain_form", "Form without them", id="folder.form"),
        Binding("m", "minutes", "Minutes", id="folder.minutes"),
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
        self._facts, self._thumbnails, self._choices = Static(), Thumbnails(), Static()
        self._minutes = Entry(f"{DEFAULT_MINUTES:g}", type="number", compact=True, id="minutes")
        self._use = Button("Use these settings (u)", id="use", action="screen.use", variant="primary", compact=True)
        plain = Button("Without them (f)", id="plain", action="screen.plain_form", compact=True)
        self._about = VerticalScroll(self._facts, id="classes")
        settings = Vertical(
            Horizontal(Static("minutes a run may take ", markup=False), self._minutes, id="ask"),
            VerticalScroll(self._choices, id="reasons"),
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
        self._panes.one_at_a_time(self.has_class("-narrow"))
        self._show()

    # ---- Looking at the files, in a thread. ----

    @work(group="look")
    async def _look(self) -> None:
        dataset = DatasetSettings(name=OWN_IMAGES, path=self._path)
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
        self._show()
        if found.survey.faults:
            self._tell_faults(found.survey.faults)
        else:
            self._propose()

    def _progress(self, done: int, files: int) -> None:
        # In the thread that looks; who left the page waits for no end of it.
        if self._has_left:
            raise _Left
        self._looked_at = done, files

    def _show_progress(self) -> None:
        done, files = self._looked_at
        width = self._facts.content_size.width
        if files and width:
            self._facts.update(
                Content.assemble(f"{done:,} of {files:,} files looked at\n", gauge(done, files, width, "$primary"))
            )

    @work(exclusive=True, group="propose")
    async def _propose(self) -> None:
        """The settings for the minutes as they stand; the newest wins."""
        if self._inventory is None or (minutes := _minutes(self._minutes.value)) is None:
            return
        try:
            proposal = await asyncio.to_thread(
                propose, self._inventory, self._path, self._form, minutes, self._runs_dir
            )
        except LtddError as error:
            self._tell_faults(error.faults)
            return
        first, self._proposal = self._proposal is None, proposal
        self._show()
        if first and self.focused is None:
            # Of tabs, the first one is what a person wants to see first.
            self.set_focus(self._about if self.has_class("-narrow") else self._use)

    # ---- What is shown. ----

    def _show(self) -> None:
        found, proposal = self._inventory, self._proposal
        width = self._about.content_size.width - 1
        if found is None or width < COUNT_WIDTH * 4:
            return
        classes = class_counts(found)
        about = labelled(facts(found), width, LABEL_WIDTH)
        told = Content("\n\n").join([class_rows(classes, width), about])
        self._facts.update(told)
        # The images have what the classes leave them, and at least half.
        rows = min(len(told.plain.split("\n")) + 2, self._panes.size.height // 2)
        self._panes.query_one(Horizontal).styles.grid_rows = f"{rows} 1fr"
        if proposal is None:
            return
        self._thumbnails.show(
            [one.name for one in classes],
            [found.thumbnails(found.survey.names.index(one.name), IMAGES_A_CLASS) for one in classes],
            int(proposal.form.text("dataset.resolution") or found.sides[1]),
            "crop",
        )
        self._choices.update(choice_lines(proposal, max(self._choices.content_size.width, 20)))

    def _tell_faults(self, faults: Sequence[Fault]) -> None:
        lines = [Content.styled(clean(f"{fault.where}: {fault.what}"), "$text-error") for fault in faults[:MOST_FAULTS]]
        hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
        lines += [Content.styled(clean(f"hint: {hint}"), FADED) for hint in list(hints)[:MOST_FAULTS]]
        self._choices.update(Content("\n").join(lines))
        if self._inventory is None:
            self._facts.update("the images cannot be used as they are")

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
