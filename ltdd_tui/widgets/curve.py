"""The Curve widget: any number of points, smoothed, zoomed and panned, on a linear or logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from ltdd_tui.widgets.axis import Floats, Window
from ltdd_tui.widgets.chart import Chart, ChartView, Level, Line, draw, whole
from ltdd_tui.widgets.lines import strip_of

ZOOM, SMOOTHING = Binding.Group("Zoom", compact=True), Binding.Group("Smoothing", compact=True)
ZOOM_STEP, PAN_STEP, CURSOR_STEP = 0.7, 0.2, 1 / 60
MOST_WITH_RAW = 2
"""Of more curves than these the values behind their averages would hide each other."""
SMOOTHING_BINDINGS = [
    Binding("comma", "smooth(-1)", "Less smooth", group=SMOOTHING, id="curve.less_smooth"),
    Binding("full_stop", "smooth(1)", "Smoother", group=SMOOTHING, id="curve.smoother"),
]


# ---- Smoothing: an exponential moving average with bias correction. ----

WEIGHTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
"""Weight of the average before against the new value; 0 smooths nothing. 0.9 averages over about 10 points."""
POINTS_SHOWN = 80
"""A chart is some 50 to 100 columns wide: what is noisier than that many points can show is averaged."""


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential moving average at each place, of the values so far that are numbers; NaN stays NaN.

    Divided by the sum of its weights, which is the bias correction of Kingma and Ba (2015, section 3): without it, its
    start would be pulled to 0.
    """
    known = np.isfinite(values)
    if not weight or not known.any():
        return values
    sums, span = values[known], 1
    # A sum over `span` values, and the one before it with smaller weights, give the sum over twice as many.
    while span < len(sums) and weight**span > np.finfo(float).eps:
        sums[span:] += weight**span * sums[:-span]
        span *= 2
    average = np.full(len(values), np.nan)
    average[known] = sums * (1 - weight) / (1 - weight ** np.arange(1.0, len(sums) + 1))
    return average


def weight_for(points: int) -> float:
    """The smallest weight under which so many points look like a line."""
    return next((weight for weight in WEIGHTS if (1 - weight) * points <= POINTS_SHOWN), WEIGHTS[-1])


def next_weight(weight: float, direction: int) -> float:
    """The next smaller (-1) or larger (1) weight."""
    place = WEIGHTS.index(weight) + direction
    return WEIGHTS[min(max(place, 0), len(WEIGHTS) - 1)]


# ---- The widget. ----


class SharedX:
    """The part of the x axis that all its curves show, and where values are read off on each of them."""

    def __init__(self) -> None:
        self._extents: dict[Curve, Window | None] = {}
        self._zoomed: Window | None = None
        self.cursor: float | None = None

    @property
    def whole(self) -> Window | None:
        """The extent of all curves."""
        known = [extent for extent in self._extents.values() if extent]
        if not known:
            return None
        return Window(min(extent.left for extent in known), max(extent.right for extent in known))

    @property
    def window(self) -> Window | None:
        """The part that is seen, None where there is nothing."""
        return self._zoomed or self.whole

    @property
    def is_zoomed(self) -> bool:
        """Whether that is not all."""
        return self._zoomed is not None

    def extend(self, curve: Curve, extent: Window | None) -> None:
        """Takes note of how far a curve reaches now; who looks at the end goes on looking at the end."""
        before = self.whole
        self._extents[curve] = extent
        after, seen = self.whole, self._zoomed
        if after is None:
            self._zoomed = None
        elif seen is not None:
            at_end = before is not None and seen.right >= before.right
            self._zoomed = (Window(after.right - seen.width, after.right) if at_end else seen).within(after)
        if after != before:
            self._redraw()

    def look_at(self, window: Window | None) -> None:
        """Shows another part, with None all."""
        self._zoomed = None if window == self.whole else window
        for curve in self._extents:
            curve.change_view()

    def point_at(self, x: float | None) -> None:
        """Reads values off at `x`."""
        if x != self.cursor:
            self.cursor = x
            self._redraw()

    def _redraw(self) -> None:
        for curve in self._extents:
            curve.redraw()


class Curve(Widget, can_focus=True):
    """Curves over a common x axis; `plot` gives it new ones, and equal ones cost nothing.

    `x` is shared by curves that are zoomed and read off together. `smooths`: noisy curves are averaged, and of one or
    two the values stay in sight behind.
    """

    class ViewChanged(Message):
        """Somebody looks at the curve another way: `words` says how."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "toggle_log", "Log", tooltip="Logarithmic or linear axis", id="curve.log"),
        Binding("plus,equals_sign", "zoom(-1)", "Zoom in", group=ZOOM, id="curve.zoom_in"),
        Binding("minus", "zoom(1)", "Zoom out", group=ZOOM, id="curve.zoom_out"),
        Binding("left", "pan(-1)", "Pan left", show=False, id="curve.left"),
        Binding("right", "pan(1)", "Pan right", show=False, id="curve.right"),
        Binding("shift+left", "read_off(-1)", "Read off to the left", show=False, id="curve.read_left"),
        Binding("shift+right", "read_off(1)", "Read off to the right", show=False, id="curve.read_right"),
        Binding("f", "fit", "Fit", tooltip="Everything again", id="curve.fit"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"curve--axis", "curve--grid", "curve--cursor", "curve--empty"}
    DEFAULT_CSS = """
    Curve {
        height: 1fr;
        width: 1fr;
        & > .curve--axis { color: $foreground 70%; }
        & > .curve--grid { color: $foreground 14%; }
        & > .curve--cursor { color: $accent; text-style: bold; }
        & > .curve--empty { color: $text-muted; }
    }
    """

    def __init__(
        self,
        *,
        log_axis: bool = False,
        smooths: bool = False,
        empty: str = "nothing to draw yet",
        x: SharedX | None = None,
    ) -> None:
        super().__init__()
        self.log_axis = log_axis
        self._smooths, self._chosen_weight = smooths, None if smooths else 0.0
        self._empty = empty
        self._plotted: list[Line] = []
        self._lines: list[Line] = []
        self._levels: list[Level] = []
        self._x = x or SharedX()
        self._chart: Chart | None = None
        self._strips: list[Strip] | None = None

    def plot(self, lines: Sequence[Line], levels: Sequence[Level] = ()) -> None:
        """Draws these curves and levels."""
        same = len(lines) == len(self._plotted) and all(map(Line.same_as, lines, self._plotted))
        if same and list(levels) == self._levels:
            return
        self._plotted, self._levels = list(lines), list(levels)
        self._smooth()
        self._x.extend(self, whole(lines))
        self.redraw()

    def say_when_empty(self, text: str) -> None:
        """What is told where there is nothing to draw."""
        if text != self._empty:
            self._empty = text
            self.redraw()

    @property
    def window(self) -> Window | None:
        """The part of the x axis that is seen, None where there is nothing."""
        return self._x.window

    @property
    def has_lines(self) -> bool:
        """Whether there is anything to draw."""
        return whole(self._plotted) is not None

    @property
    def weight(self) -> float:
        """The weight of the average that is drawn, 0 where values are drawn as they are."""
        if self._chosen_weight is not None:
            return self._chosen_weight
        return weight_for(max((len(line.x) for line in self._plotted), default=0))

    @property
    def words(self) -> str:
        """How it is looked at, for a title: `, log, EMA 0.9, zoomed`."""
        words = ["log"] * self.log_axis + [f"EMA {self.weight:g}"] * (self.weight > 0) + ["zoomed"] * self._x.is_zoomed
        return "".join(f", {word}" for word in words)

    def action_toggle_log(self) -> None:
        self.log_axis = not self.log_axis
        self.change_view()

    def action_smooth(self, direction: int) -> None:
        """Averages over more points (1) or fewer (-1)."""
        if self._smooths:
            self._chosen_weight = next_weight(self.weight, direction)
            self._smooth()
            self.change_view()

    def action_zoom(self, direction: int) -> None:
        """Shows less (-1) or more (1) of the x axis, around the cursor or else the end."""
        if self.window is not None:
            self._zoom(direction, self.window.right if self._x.cursor is None else self._x.cursor)

    def action_pan(self, direction: int) -> None:
        if self.window is not None and self._x.whole is not None:
            self._x.look_at(self.window.panned(direction * PAN_STEP, self._x.whole))

    def action_fit(self) -> None:
        """Shows the whole of the x axis."""
        self._x.point_at(None)
        self._x.look_at(None)

    def action_read_off(self, direction: int) -> None:
        """Moves the cursor at which values are read off."""
        if window := self.window:
            cursor = self._x.cursor
            at = window.right if cursor is None else cursor + direction * window.width * CURSOR_STEP
            self._x.point_at(min(max(at, window.left), window.right))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._x.point_at(self._x_below(event))

    def on_leave(self) -> None:
        self._x.point_at(None)

    @on(events.MouseScrollUp)
    @on(events.MouseScrollDown)
    def _zoom_by_wheel(self, event: events.MouseScrollUp | events.MouseScrollDown) -> None:
        about = self._x_below(event)
        if about is not None:
            event.stop()
            self._zoom(-1 if isinstance(event, events.MouseScrollUp) else 1, about)

    @on(events.MouseScrollLeft)
    @on(events.MouseScrollRight)
    def _pan_by_wheel(self, event: events.MouseScrollLeft | events.MouseScrollRight) -> None:
        event.stop()
        self.action_pan(-1 if isinstance(event, events.MouseScrollLeft) else 1)

    def on_resize(self) -> None:
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.redraw()

    def render_lines(self, crop: Region) -> list[Strip]:
        # Drawn here and not in `render_line`, so that one change draws all lines once.
        if self._strips is None:
            self._strips = self._drawn()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        if self._strips is not None and y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def _zoom(self, direction: int, about: float) -> None:
        if self.window is not None and self._x.whole is not None:
            self._x.look_at(self.window.zoomed(ZOOM_STEP**-direction, about, self._x.whole))

    def change_view(self) -> None:
        """Draws it anew, and says so."""
        self.redraw()
        self.post_message(self.ViewChanged())

    def _smooth(self) -> None:
        """Averages what is to be drawn, and keeps the values of a few curves behind."""
        if not self.weight:
            self._lines = self._plotted
            return
        behind = [replace(line, faint=True) for line in self._plotted] if len(self._plotted) <= MOST_WITH_RAW else []
        self._lines = [*behind, *(replace(line, y=smoothed(line.y, self.weight)) for line in self._plotted)]

    def _x_below(self, event: events.MouseEvent) -> float | None:
        """The x that the mouse points at."""
        if self._chart is None or self.window is None:
            return None
        column = event.get_content_offset_capture(self).x
        share = (column - self._chart.left) / max(self._chart.across - 1, 1)
        return self.window.left + min(max(share, 0.0), 1.0) * self.window.width

    def redraw(self) -> None:
        """Draws all of it anew."""
        self._strips = None
        self.refresh()

    def _drawn(self) -> list[Strip]:
        window, (width, height) = self.window, self.size
        if window is None or not self.has_lines or not width or not height:
            self._chart = None
            blank = Strip.blank(width, self.rich_style)
            empty = strip_of(Content.styled(self._empty[:width].center(width), ".curve--empty"), self)
            return [empty if at == (height - 1) // 2 else blank for at in range(height)]
        self._chart = draw(self._lines, self._levels, ChartView(window, self.log_axis, self._x.cursor), width, height)
        return [strip_of(row, self) for row in self._chart.rows]
