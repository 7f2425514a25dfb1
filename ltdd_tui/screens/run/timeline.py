"""The slider below the panels: moves through the iterations of a run, and plays them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from ltdd_tui.formatting import units
from ltdd_tui.widgets.bars import gauge
from ltdd_tui.widgets.lines import GOOD, MUTED, TRACK, WARNING, LinesView, fit

KNOB, MARK_BEHIND, MARK_AHEAD = "●", "┻", "┴"
LABEL_CELLS, SHORTEST = 10, 6
STEPS = 100
PLAY_STEPS, PLAY_SECONDS = 40, 0.25


def scrub_line(at: int | None, last: int, frames: Sequence[int], width: int, playing: bool, end: str) -> Content:
    """The slider at iteration `at` of `last`, None is the `end`; `frames` are the iterations with a mark.

    Before the first iteration, `end` is all there is to tell.
    """
    if not last:
        return Content.styled(f"{fit('replay', LABEL_CELLS)}{end}", MUTED)
    cells = _track_cells(last, width)
    style = MUTED if at is None else WARNING
    knob = _cell(at, last, cells)
    marks = {
        cell: (MARK_BEHIND, style) if cell < knob else (MARK_AHEAD, TRACK)
        for cell in (_cell(frame, last, cells) for frame in frames)
    }
    where = end if at is None else f"{units(at)} of {units(last)}"
    return Content.assemble(
        (fit("▶ playing" if playing else "replay", LABEL_CELLS), WARNING if playing else style),
        gauge(knob, cells, cells, style, marks | {knob: (KNOB, style)}),
        (fit(where, width - LABEL_CELLS - cells, right=True), GOOD if at is None else style),
    )


def iteration_at(x: int, last: int, width: int) -> int | None:
    """The iteration below the cell `x` of the line; None at the right end, which is live."""
    at = round(min(1.0, max(0.0, (x - LABEL_CELLS) / (_track_cells(last, width) - 1))) * last)
    return None if at >= last else at


def _track_cells(last: int, width: int) -> int:
    """The cells of the track: what the label before it and the widest figure behind it leave."""
    return max(SHORTEST, width - LABEL_CELLS - len(f"{units(last)} of {units(last)}") - 1)


def _cell(at: int | None, last: int, track: int) -> int:
    return track - 1 if at is None or at >= last else round(at / last * (track - 1))


class Scrubber(LinesView, can_focus=True):
    """One line; `at` is the iteration that is shown, None the live end."""

    ALLOW_MAXIMIZE = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Back", show=False, id="replay.back"),
        Binding("right,l", "step(1)", "On", show=False, id="replay.on"),
        Binding("shift+left,H", "leap(-1)", "Check before", show=False, id="replay.check_before"),
        Binding("shift+right,L", "leap(1)", "Check after", show=False, id="replay.check_after"),
        Binding("home", "go(0)", "Start", show=False, id="replay.start"),
        Binding("end", "go(None)", "Live end", show=False, id="replay.live"),
    ]
    HELP = """\
Moves through the iterations of a run: every panel shows how things stood then. The marks are the iterations at which
pictures were saved or the set was checked, or to which matching went back when it diverged.

- left, right: a hundredth of the run; with shift: to the check before or after
- home: the start, end: the live end; space plays; a click or a drag goes there
"""

    class Moved(Message):
        """Another iteration, `at` of the slider, is to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.at: int | None = None
        self._last = 0
        self._frames: Sequence[int] = ()
        self._end = ""
        self._player: Timer | None = None
        self._dragged = False

    def show(self, last: int, frames: Sequence[int], end: str) -> None:
        """Draws the run at iteration `last`; `end` names the right end of the slider, live while the run works.

        Before the first iteration it says why there is none.
        """
        if (last, frames, end) == (self._last, self._frames, self._end):
            return
        self._last, self._frames, self._end = last, frames, end
        if self.at is not None and self.at >= last:
            self.action_go(None)
        self._redraw()

    def action_step(self, direction: int) -> None:
        self.action_go(self._here + direction * max(1, self._last // STEPS))

    def action_leap(self, direction: int) -> None:
        """Moves to the nearest mark before or after."""
        here = self._here
        place = bisect.bisect_left(self._frames, here) - 1 if direction < 0 else bisect.bisect_right(self._frames, here)
        self.action_go(self._frames[place] if 0 <= place < len(self._frames) else (0 if direction < 0 else None))

    def action_go(self, at: int | None) -> None:
        """Moves by hand, which ends playing."""
        self._stop_playing()
        self._move(at)

    def toggle_play(self) -> None:
        """Plays from here to the end, or from the start where it is at the end; stops where it plays already."""
        if self._player:
            self._stop_playing()
        elif self._last:
            self.action_go(0 if self.at is None else self.at)
            self._player = self.set_interval(PLAY_SECONDS, self._play_on)
        self._redraw()

    def _play_on(self) -> None:
        self._move(self._here + max(1, self._last // PLAY_STEPS))
        if self.at is None:
            self._stop_playing()
            self._redraw()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = True
        self.capture_mouse()
        self._go_to_mouse(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged:
            self._go_to_mouse(event)

    def on_mouse_up(self) -> None:
        self._dragged = False
        self.release_mouse()

    @property
    def _here(self) -> int:
        return self._last if self.at is None else self.at

    def _go_to_mouse(self, event: events.MouseEvent) -> None:
        if self._last:
            self.action_go(iteration_at(event.x - self.styles.padding.left, self._last, self.size.width))

    def _move(self, at: int | None) -> None:
        at = None if at is None or at >= self._last else max(0, at)
        if at != self.at:
            self.at = at
            self._redraw()
            self.post_message(self.Moved())

    def _stop_playing(self) -> None:
        if self._player:
            self._player.stop()
            self._player = None

    def _redraw(self) -> None:
        playing = self._player is not None
        self.draw(lambda width: [scrub_line(self.at, self._last, self._frames, width, playing, self._end)])
