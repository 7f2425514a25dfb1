"""Losses panel: the matching losses over the iterations, and below them the accuracy of the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from ltdd_tui.formatting import percent
from ltdd_tui.preferences import series_color
from ltdd_tui.runs.figures import checks, reference_accuracies
from ltdd_tui.runs.state import DISTILL, VALIDATION, RunState, RunView
from ltdd_tui.screens.panel import Panel
from ltdd_tui.widgets.axis import reading
from ltdd_tui.widgets.chart import Level, Line, line
from ltdd_tui.widgets.curve import SMOOTHING_BINDINGS, Curve, SharedX

LOSS_TITLE, ACCURACY_TITLE = "Matching loss", "Accuracy of the checks"
Shows = Literal["both", "losses", "accuracy"]
NO_STEP_YET, NO_STEPS = "no matching step yet", "this method has no matching steps"
ROWS_FOR_BOTH = 12
"""Fewer rows hold one curve that can be read, but not two."""


class LossesPanel(Panel):
    """The matching losses: of trajectories, where 1 means no closer to the expert, of features, or of statistics."""

    NAME = "losses"
    NUMBER = "2"
    TITLE = LOSS_TITLE
    HELP: ClassVar[str] = """\
## Matching loss

How far the student, trained on the synthetic images, still is from the expert: the distance that is left divided by
the distance at the start. **1** means that it did not come closer. `rep` is the loss of the representation, `cls`
that of the classifier (methods without classifier experts have none). Of `dm` and `idm` the loss is another: the
squared distance between mean features of real and synthetic images, in units of the features; `idm` adds a
cross-entropy. Of `rldd` it is the teacher's cross-entropy and the weighted distances of statistics. A value that is
not finite is a gap. Of a run of more than 16,384 iterations every second one is shown, then every fourth, and so on;
`events.jsonl` holds all.

Below is the accuracy of the checks, with random images, the start and the experts (`bound`: trained on the whole
long-tailed set) as dashed lines. Where a run sets validation images apart, the curve is on those, and so is called
`validation`; the dashed lines, with that of the final set, stay on test images. Where there is no room for both, `a`
changes between them.

The losses are drawn as an exponential moving average, corrected for its start; the values themselves are faint behind
it. The title names the weight of the average: EMA 0.9 averages over about ten iterations. Letters on the lines are the
first letters of their names.

| key | |
|---|---|
| `a` | both, the losses, the accuracy |
| `,` `.` | smooth less, smooth more |
| `l` | logarithmic or linear axis |
| `+` `-`, wheel | zoom in, zoom out, all curves together |
| left, right | pan |
| `shift` left, right, or the mouse | read off values |
| `f` | fit: everything again |
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        *Curve.BINDINGS,
        *SMOOTHING_BINDINGS,
        Binding("a", "cycle_curves", "Curves", tooltip="Losses, accuracy or both", id="losses.accuracy"),
    ]

    def __init__(self) -> None:
        super().__init__()
        x = SharedX()
        self._losses = Curve(log_axis=True, smooths=True, empty=NO_STEP_YET, x=x)
        self._accuracy = Curve(empty="no check yet", x=x)
        self._shows: Shows = "both"
        for curve in (self._losses, self._accuracy):
            # The panel has the focus and hands the keys on.
            curve.can_focus = False
        self._state = RunState()

    def compose(self) -> ComposeResult:
        yield self._losses
        yield self._accuracy

    @property
    def curve(self) -> Curve:
        """The curve that is seen, or the upper one."""
        return self._losses if self._losses.display else self._accuracy

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    def on_resize(self) -> None:
        self._draw()

    def on_curve_view_changed(self) -> None:
        self._draw()

    def show(self, view: RunView) -> None:
        if view.state is not self._state:
            self._state = view.state
            self._draw()

    def action_cycle_curves(self) -> None:
        """Shows both curves, the losses alone, or the accuracy alone."""
        choices: tuple[Shows, ...] = ("both", "losses", "accuracy") if self._can_show_both else ("losses", "accuracy")
        now = choices.index(self._shows) if self._shows in choices else 0
        self._shows = choices[(now + 1) % len(choices)]
        self._draw()

    def action_toggle_log(self) -> None:
        self.curve.action_toggle_log()

    def action_smooth(self, direction: int) -> None:
        self._losses.action_smooth(direction)

    def action_zoom(self, direction: int) -> None:
        self.curve.action_zoom(direction)

    def action_pan(self, direction: int) -> None:
        self.curve.action_pan(direction)

    def action_read_off(self, direction: int) -> None:
        self.curve.action_read_off(direction)

    def action_fit(self) -> None:
        self.curve.action_fit()

    @property
    def _can_show_both(self) -> bool:
        return self.content_size.height >= ROWS_FOR_BOTH and self._accuracy.has_lines

    def _draw(self) -> None:
        dark = self.app.current_theme.dark
        of_losses, of_accuracy = self._draw_losses(dark), self._draw_accuracy(dark)
        self._accuracy.display = self._shows == "accuracy" or (self._shows == "both" and self._can_show_both)
        self._losses.display = self._shows != "accuracy"
        labels = self._state.first_regime_told
        # The curve is not of the images that the dashed lines are of.
        labels += f" ({VALIDATION}; lines: test)" if self._state.validates else ""
        title = LOSS_TITLE if self._losses.display else ACCURACY_TITLE + labels
        below = f" · accuracy{labels}" if self._losses.display and self._accuracy.display else ""
        values = [of_losses] * self._losses.display + [of_accuracy] * self._accuracy.display
        self.entitle(Content(f"{self.NUMBER} {title}{self.curve.words}{below}"), Content("  ").join(values))

    def _draw_losses(self, dark: bool) -> Content:
        steps = self._state.steps
        lines = [
            line(name, steps.iterations, values, series_color(place, dark))
            for place, (name, values) in enumerate({"rep": steps.loss_rep, "cls": steps.loss_cls}.items())
            if not np.isnan(values).all()
        ]
        self._losses.say_when_empty(NO_STEP_YET if self._state.has_stage(DISTILL) else NO_STEPS)
        self._losses.plot(lines)
        return _last_values(lines, reading)

    def _draw_accuracy(self, dark: bool) -> Content:
        iterations, means = checks(self._state)
        named = reference_accuracies(self._state).items()
        levels = [Level(name, value, series_color(place + 3, dark)) for place, (name, value) in enumerate(named)]
        name = VALIDATION if self._state.validates else "accuracy"
        lines = [line(name, iterations, means, series_color(2, dark))]
        self._accuracy.plot(lines, levels)
        return _last_values(lines, percent)


def _last_values(lines: Sequence[Line], written: Callable[[float], str]) -> Content:
    """The names of the curves in their colors, with their last values."""
    parts = [(f"{line.name} {written(float(line.y[-1]))}", line.color) for line in lines if len(line.y)]
    return Content("  ").join([Content.styled(text, color) for text, color in parts])
