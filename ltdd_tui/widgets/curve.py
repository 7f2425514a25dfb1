"""The Curve widget: any number of points, zoomed and panned by keys and mouse, on a linear or logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ltdd_tui.widgets.axis import Window
from ltdd_tui.widgets.chart import Chart, ChartView, Level, Line, draw, whole
from ltdd_tui.widgets.lines import strip_of

ZOOM = Binding.Group("Zoom", compact=True)
ZOOM_STEP, PAN_STEP, CURSOR_STEP = 0.7, 0.2, 1 / 60


class Curve(Widget, can_focus=True):
    """Curves over a common x axis; `plot` gives it new ones, and equal ones cost nothing."""

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

    def __init__(self, *, log_axis: bool = False, empty: str = "nothing to draw yet") -> None:
        super().__init__()
        self.log_axis = log_axis
        self._empty = empty
        self._lines: list[Line] = []
        self._levels: list[Level] = []
        self._whole: Window | None = None
        self._window: Window | None = None
        self._cursor: float | None = None
        self._chart: Chart | None = None
        self._strips: list[Strip] | None = None

    def plot(self, lines: Sequence[Line], levels: Sequence[Level] = ()) -> None:
        """Draws these curves and levels."""
        same = len(lines) == len(self._lines) and all(map(Line.same_as, lines, self._lines))
        if same and list(levels) == self._levels:
            return
        before, self._whole = self._whole, whole(lines)
        self._lines, self._levels = list(lines), list(levels)
        if self._whole is None:
            self._window = None
        elif self._window is not None:
            # Who looks at the end goes on looking at the end.
            at_end = before is not None and self._window.right >= before.right
            moved = Window(self._whole.right - self._window.width, self._whole.right) if at_end else self._window
            self._window = moved.within(self._whole)
        self._redraw()

    @property
    def window(self) -> Window | None:
        """The part of the x axis that is seen, None where there is nothing."""
        return self._window or self._whole

    def action_toggle_log(self) -> None:
        self.log_axis = not self.log_axis
        self._redraw()

    def action_zoom(self, direction: int) -> None:
        """Shows less (-1) or more (1) of the x axis, around the cursor or else the end."""
        if self.window is not None:
            self._zoom(direction, self.window.right if self._cursor is None else self._cursor)

    def action_pan(self, direction: int) -> None:
        if self.window is not None and self._whole is not None:
            self._look_at(self.window.panned(direction * PAN_STEP, self._whole))

    def action_fit(self) -> None:
        """Shows the whole of the x axis."""
        self._cursor = None
        self._look_at(None)

    def action_read_off(self, direction: int) -> None:
        """Moves the cursor at which values are read off."""
        if window := self.window:
            at = window.right if self._cursor is None else self._cursor + direction * window.width * CURSOR_STEP
            self._point_at(min(max(at, window.left), window.right))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._point_at(self._x_below(event))

    def on_leave(self) -> None:
        self._point_at(None)

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
        self._redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._redraw()

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
        if self.window is not None and self._whole is not None:
            self._look_at(self.window.zoomed(ZOOM_STEP**-direction, about, self._whole))

    def _look_at(self, window: Window | None) -> None:
        self._window = None if window == self._whole else window
        self._redraw()

    def _point_at(self, x: float | None) -> None:
        if x != self._cursor:
            self._cursor = x
            self._redraw()

    def _x_below(self, event: events.MouseEvent) -> float | None:
        """The x that the mouse points at."""
        if self._chart is None or self.window is None:
            return None
        column = event.get_content_offset_capture(self).x
        share = (column - self._chart.left) / max(self._chart.across - 1, 1)
        return self.window.left + min(max(share, 0.0), 1.0) * self.window.width

    def _redraw(self) -> None:
        self._strips = None
        self.refresh()

    def _drawn(self) -> list[Strip]:
        window, (width, height) = self.window, self.size
        if window is None or not width or not height:
            self._chart = None
            blank = Strip.blank(width, self.rich_style)
            empty = strip_of(Content.styled(self._empty[:width].center(width), ".curve--empty"), self)
            return [empty if at == (height - 1) // 2 else blank for at in range(height)]
        self._chart = draw(self._lines, self._levels, ChartView(window, self.log_axis, self._cursor), width, height)
        return [strip_of(row, self) for row in self._chart.rows]
