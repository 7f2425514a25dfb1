"""The lines over the panels of a run: which run, how it stands, its stages."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from ltdd_tui.drawing.headline import headline
from ltdd_tui.drawing.stage_line import stage_line
from ltdd_tui.live import View
from ltdd_tui.panels.rows import Rows


class RunHead(Vertical):
    """One or two lines on the run, and one on its stages."""

    DEFAULT_CSS = """
    RunHead { height: auto; padding: 0 1; }
    RunHead .headline { height: 1; }
    RunHead .stages { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[object, ...] = ()
        self._line, self._stages = Rows(classes="headline"), Rows(classes="stages")

    def compose(self) -> ComposeResult:
        """The lines."""
        yield self._line
        yield self._stages

    def show(self, view: View, now: float, word: str) -> None:
        """Draws the run at `now`; `word` stands for its status where that alone would mislead."""
        works = view.state.status == "running" and view.at is None
        parts = (view.version, view.at, word, self.content_size.width, now if works else 0.0)
        if parts == self._drawn:
            return
        self._drawn = parts
        self._line.styles.height = len(headline(view, now, max(1, self.content_size.width), word))
        self._line.draw(lambda width: headline(view, now, width, word))
        self._stages.draw(lambda width: [stage_line(view.state, now, width)])
