"""Three ways to show a run that is followed: JSON lines, plain lines, and bars on a terminal."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.run.events import Stamped, Warned, encode
from ltdd_tui.consoles import note, note_console
from ltdd_tui.plain import Pacer, losses, news, progress_line
from ltdd_tui.state import RunState
from ltdd_tui.wording import duration, percent, stage_name

Item = Stamped | Warned


class Display(contextlib.AbstractContextManager["Display"], Protocol):
    """What `follow` tells: each item with the state after it, and now and then that time has passed."""

    def show(self, item: Item, state: RunState) -> None:
        """Takes note of one item."""

    def refresh(self, state: RunState) -> None:
        """Draws what changes with time alone."""

    def say(self, text: str) -> None:
        """Tells a person something that is no event."""


class _Steady:
    """A display that needs no room on the screen."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def refresh(self, state: RunState) -> None:
        """Nothing changes with time alone."""

    def say(self, text: str) -> None:
        """To stderr."""
        note(text)


class JsonLines(_Steady):
    """The events as they were written, to stdout; warnings about the file itself to stderr."""

    def show(self, item: Item, state: RunState) -> None:
        """Prints one line."""
        if isinstance(item, Warned):
            note(f"warning: {item.message}")
        else:
            print(encode(item.event, item.seq, item.seconds), flush=True)


class Lines(_Steady):
    """Plain lines to stderr."""

    def __init__(self) -> None:
        self._pacer = Pacer()

    def show(self, item: Item, state: RunState) -> None:
        """Prints what the item says, or how far its stage is."""
        said = news(item, state)
        if said is not None:
            note(said)
        stage = state.stages.current
        if stage and isinstance(item, Stamped) and self._pacer.due(stage, item.seconds):
            note(progress_line(stage, state, item.seconds))


class Bars:
    """A bar for every stage and the figures of now, redrawn in place on stderr; what is news scrolls by above."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or note_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, item: Item, state: RunState) -> None:
        """Lets news scroll by."""
        said = news(item, state)
        if said is not None:
            self.say(said)

    def refresh(self, state: RunState) -> None:
        """Draws the bars anew."""
        self._live.update(bars(state, time.time()), refresh=True)

    def say(self, text: str) -> None:
        """Above the bars."""
        self._console.print(Text(text))


def bars(state: RunState, now: float) -> RenderableType:
    """The stages that have begun, and a line of figures."""
    table = Table.grid(padding=(0, 2))
    for stage in state.stages.by_name.values():
        if stage.status == "pending":
            continue
        left = stage.seconds_left(now)
        table.add_row(
            stage_name(stage.name),
            ProgressBar(total=max(stage.total, 1), completed=stage.done, width=30),
            f"{stage.done:g}/{stage.total} {stage.unit}",
            duration(stage.elapsed(now)),
            "" if not left else f"about {duration(left)} left",
        )
    return Group(table, Text(summary(state)))


def summary(state: RunState) -> str:
    """The figures of now in one line: losses, last and best check, memory."""
    parts = [losses(state.points[-1])] if state.points else []
    checks = [event for event in state.evaluations.values() if event.subject == "check"]
    if checks:
        best = max(checks, key=lambda event: event.accuracy_mean)
        parts.append(
            f"last check {percent(checks[-1].accuracy_mean)}, best {percent(best.accuracy_mean)} at {best.iteration}"
        )
    if state.reading:
        parts.append(f"{state.reading.device} {state.reading.memory_gib:.1f}/{state.reading.memory_total_gib:.1f} GiB")
    return "   ".join(part for part in parts if part)
