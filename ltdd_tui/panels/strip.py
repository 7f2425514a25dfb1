"""The line that names all panels with their keys: which are seen, which are not; a click does what the key does."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from textual import events
from textual.message import Message

from ltdd_tui.drawing.lines import Line, Span, width_of
from ltdd_tui.panels.panel import Panel
from ltdd_tui.panels.rows import Rows


class PanelStrip(Rows):
    """One line over the panels."""

    DEFAULT_CSS = "PanelStrip { height: 1; padding: 0 1; }"

    class Picked(Message):
        """A panel's name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, panels: Sequence[type[Panel]]) -> None:
        super().__init__()
        self._panels = panels
        self._seen: Collection[str] = ()

    def show(self, seen: Collection[str]) -> None:
        """Marks the panels that are seen."""
        self._seen = tuple(seen)
        self.draw(lambda width: [tuple(span for _, span in self._entries(width))])

    def on_click(self, event: events.Click) -> None:
        """Posts the name below the mouse."""
        x = event.x - 1
        for name, span in self._entries(self.size.width):
            x -= len(span.text)
            if x < 0:
                if name:
                    self.post_message(self.Picked(name))
                return

    def _entries(self, width: int) -> list[tuple[str, Span]]:
        """Every panel's name where they fit, else only of those that are seen; between them gaps, of no name."""
        every = {panel.NAME for panel in self._panels}
        forms = [self._named(every, gap) for gap in (3, 2, 1)]
        return next((form for form in forms if width_of(_line(form)) <= width), self._named(self._seen, 2))

    def _named(self, named: Collection[str], gap: int) -> list[tuple[str, Span]]:
        entries = []
        for panel in self._panels:
            text = f"{panel.NUMBER} {panel.NAME}" if panel.NAME in named else panel.NUMBER
            entries.append((panel.NAME, Span(text, "accent" if panel.NAME in self._seen else "muted")))
            entries.append(("", Span(" " * gap)))
        return entries[:-1]


def _line(entries: Sequence[tuple[str, Span]]) -> Line:
    return tuple(span for _, span in entries)
