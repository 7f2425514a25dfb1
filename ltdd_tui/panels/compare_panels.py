"""The panels of a comparison: they are given the runs with their colors, and draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ltdd_tui.comparison import (
    Contender,
    class_lines,
    differing_settings,
    group_lines,
    seed_means,
    smoothed,
    window_for,
)
from ltdd_tui.drawing import compare_lines
from ltdd_tui.lines import Level, line
from ltdd_tui.panels.curve import Curve
from ltdd_tui.panels.panel import RowsPanel
from ltdd_tui.panels.rows import Drawing
from ltdd_tui.progress import LossTrack, checks

LOSSES = ("rep", "cls")


@dataclass(frozen=True)
class Compared:
    """The runs of a comparison, each with its color; `base` is the place of the one that differences are to."""

    found: Sequence[Contender]
    colors: Sequence[str]
    base: int = 0


class ComparisonPanel(RowsPanel):
    """A panel of lines about all runs."""

    def compare(self, compared: Compared) -> None:
        """Draws the runs."""
        self.rows.draw(self.drawing(compared))

    def drawing(self, compared: Compared) -> Drawing:
        """The lines for a width."""
        raise NotImplementedError


class FiguresPanel(ComparisonPanel):
    """Accuracy of every run, what it started from, and what is published."""

    NAME, NUMBER, TITLE = "figures", "1", "Accuracy %"
    HELP: ClassVar[str] = """
    **Accuracy**: networks trained on the distilled images alone, tested on real ones. *final* is the set at the end,
    *best* the best check on the way; *start* is the set before the first step, *random* as many real images. *many*,
    *med* and *few* are the classes by how many images they have. *paper* is the published figure of this cell (its best
    checkpoint on the test set, which flatters it), *diff* the way from it to *final*. Runs that differ in their seed
    alone get a line with mean and standard deviation.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Figures and means over seeds."""
        found, colors, means = compared.found, compared.colors, seed_means(compared.found)
        return lambda width: compare_lines.figures(found, colors, means, width)


class ClassesPanel(ComparisonPanel):
    """Every class of every run, head to tail."""

    NAME, NUMBER, TITLE = "classes", "4", "By class, head to tail"
    HELP: ClassVar[str] = """
    **By class**: the largest class first, with its number of real images. The first run with its accuracy, the others
    with theirs and the difference to it; `b` takes the next run as the one that differences are to.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Classes, then groups."""
        lines, groups = class_lines(compared.found), group_lines(compared.found)
        found, colors, base = compared.found, compared.colors, compared.base
        return lambda width: compare_lines.classes(found, colors, lines, groups, base, width)


class SettingsPanel(ComparisonPanel):
    """The settings in which the runs differ."""

    NAME, NUMBER, TITLE = "settings", "5", "Settings that differ"
    HELP: ClassVar[str] = """
    **Settings** that are not the same in all runs. What a run has as the first one does is muted.
    """

    def drawing(self, compared: Compared) -> Drawing:
        """Only what differs."""
        found, colors, differences = compared.found, compared.colors, differing_settings(compared.found)
        return lambda width: compare_lines.settings(found, colors, differences, width)


class CurvePanel(Vertical):
    """Curves of all runs over their iterations."""

    NAME: ClassVar[str]
    NUMBER: ClassVar[str]
    TITLE: ClassVar[str]

    def __init__(self, curve: Curve) -> None:
        super().__init__(id=self.NAME, classes="panel")
        self.curve = curve

    def compose(self) -> ComposeResult:
        """The curves; they take the keys themselves."""
        yield self.curve


class ComparedLosses(CurvePanel):
    """One matching loss of every run."""

    NAME, NUMBER, TITLE = "losses", "2", "Matching loss"
    HELP: ClassVar[str] = """
    **Matching loss**: how far the students still are from the experts; 1 is no closer than at the start. `w` changes
    between the representation (rep) and the classifier (cls), `~` between a running mean and every value.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "which", "rep or cls", id="compare.which_loss"),
        Binding("tilde", "smooth", "Running mean", show=False, id="compare.smooth"),
    ]

    def __init__(self) -> None:
        super().__init__(Curve(log_axis=True, empty="no matching step yet"))
        self._tracks: dict[str, LossTrack] = {}
        self._which, self._smooth = 0, True
        self._compared = Compared((), ())

    def compare(self, compared: Compared) -> None:
        """Draws the loss of each run."""
        self._compared = compared
        lines, window = [], 1
        for one, color in zip(compared.found, compared.colors, strict=True):
            track = self._tracks.setdefault(one.name, LossTrack())
            track.take(one.view.state.points)
            values = (track.rep, track.cls)[self._which]
            if not np.isnan(values).all():
                window = window_for(len(values)) if self._smooth else 1
                lines.append(line(one.tag, track.iterations, smoothed(values, window), color))
        self.curve.plot(lines)
        mean = f", mean of {window}" if window > 1 else ""
        self.border_title = f"{self.NUMBER} {self.TITLE} {LOSSES[self._which]}{mean}"

    def action_which(self) -> None:
        """Changes between the losses of both networks."""
        self._which = 1 - self._which
        self.compare(self._compared)

    def action_smooth(self) -> None:
        """Changes between a running mean and every value."""
        self._smooth = not self._smooth
        self.compare(self._compared)


class ComparedAccuracy(CurvePanel):
    """The checks of every run, and what is published."""

    NAME, NUMBER, TITLE = "accuracy", "3", "Accuracy of the checks"
    HELP: ClassVar[str] = """
    **Accuracy of the checks**: one network or few, trained on the set as it was at that iteration. Dashed: what is
    published for the cell.
    """

    def __init__(self) -> None:
        super().__init__(Curve(empty="no check yet"))

    def on_mount(self) -> None:
        """Titles the panel."""
        self.border_title = f"{self.NUMBER} {self.TITLE}"

    def compare(self, compared: Compared) -> None:
        """Draws the checks of each run."""
        lines = [
            line(one.tag, *checks(one.view.state), color)
            for one, color in zip(compared.found, compared.colors, strict=True)
        ]
        published = dict.fromkeys(one.published for one in compared.found if one.published is not None)
        color = self.app.theme_variables["foreground"]
        self.curve.plot(lines, [Level("paper", figure, color) for figure in published])
