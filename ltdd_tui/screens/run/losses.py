"""Losses panel: the matching losses over the iterations, or the accuracy of the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from ltdd_tui.formatting import percent
from ltdd_tui.preferences import series_color
from ltdd_tui.runs.figures import checks, reference_accuracies
from ltdd_tui.runs.state import RunState, RunView
from ltdd_tui.screens.panel import Panel
from ltdd_tui.widgets.axis import reading
from ltdd_tui.widgets.chart import Level, Line, line
from ltdd_tui.widgets.curve import Curve

LOSS_TITLE, ACCURACY_TITLE = "Matching loss", "Accuracy of the checks"


class LossesPanel(Panel):
    """The matching losses of both networks; 1 means that the student did not come closer to the expert."""

    NAME = "losses"
    NUMBER = "2"
    TITLE = LOSS_TITLE
    HELP: ClassVar[str] = """\
## Matching loss

How far the student, trained on the synthetic images, still is from the expert: the distance that is left divided by
the distance at the start. **1** means that it did not come closer. `rep` is the loss of the representation, `cls` that
of the classifier (methods without classifier experts have none). A value that is not finite is a gap. Of a run of more
than 16,384 iterations every second one is shown, then every fourth, and so on; `events.jsonl` holds all.

With `a` the panel shows the accuracy of the checks instead, with random images, the start and the experts (`bound`:
trained on the whole long-tailed set) as dashed lines.

| key | |
|---|---|
| `l` | logarithmic or linear axis |
| `+` `-`, wheel | zoom in, zoom out |
| left, right | pan |
| `shift` left, right, or the mouse | read off values |
| `f` | fit: everything again |
| `a` | losses or accuracy |
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        *Curve.BINDINGS,
        Binding("a", "toggle_accuracy", "Accuracy", id="losses.accuracy"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._losses = Curve(log_axis=True, empty="no matching step yet")
        self._accuracy = Curve(empty="no check yet")
        self._accuracy.display = False
        for curve in (self._losses, self._accuracy):
            # The panel has the focus and hands the keys on.
            curve.can_focus = False
        self._state = RunState()

    def compose(self) -> ComposeResult:
        yield self._losses
        yield self._accuracy

    @property
    def curve(self) -> Curve:
        """The curve that is seen."""
        return self._accuracy if self._accuracy.display else self._losses

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._draw, init=False)

    def show(self, view: RunView) -> None:
        if view.state is not self._state:
            self._state = view.state
            self._draw()

    def action_toggle_accuracy(self) -> None:
        self._accuracy.display = not self._accuracy.display
        self._losses.display = not self._accuracy.display
        self._draw()

    def action_toggle_log(self) -> None:
        self.curve.action_toggle_log()
        self._draw()

    def action_zoom(self, direction: int) -> None:
        self.curve.action_zoom(direction)

    def action_pan(self, direction: int) -> None:
        self.curve.action_pan(direction)

    def action_read_off(self, direction: int) -> None:
        self.curve.action_read_off(direction)

    def action_fit(self) -> None:
        self.curve.action_fit()

    def _draw(self) -> None:
        dark = self.app.current_theme.dark
        title = ACCURACY_TITLE if self._accuracy.display else LOSS_TITLE
        subtitle = self._draw_accuracy(dark) if self._accuracy.display else self._draw_losses(dark)
        self.entitle(Content(f"{self.NUMBER} {title}{', log' if self.curve.log_axis else ''}"), subtitle)

    def _draw_losses(self, dark: bool) -> Content:
        steps = self._state.steps
        lines = [
            line(name, steps.iterations, values, series_color(place, dark))
            for place, (name, values) in enumerate({"rep": steps.loss_rep, "cls": steps.loss_cls}.items())
            if not np.isnan(values).all()
        ]
        self._losses.plot(lines)
        return _last_values(lines, reading)

    def _draw_accuracy(self, dark: bool) -> Content:
        iterations, means = checks(self._state)
        named = reference_accuracies(self._state).items()
        levels = [Level(name, value, series_color(place + 3, dark)) for place, (name, value) in enumerate(named)]
        lines = [line("check", iterations, means, series_color(2, dark))]
        self._accuracy.plot(lines, levels)
        return _last_values(lines, percent)


def _last_values(lines: Sequence[Line], written: Callable[[float], str]) -> Content:
    """The names of the curves in their colors, with their last values."""
    parts = [(f"{line.name} {written(float(line.y[-1]))}", line.color) for line in lines if len(line.y)]
    return Content("  ").join([Content.styled(text, color) for text, color in parts])
