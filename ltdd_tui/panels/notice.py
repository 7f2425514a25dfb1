"""The box above the panels that says what is the matter with a run."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ltdd_tui.drawing.lines import clean
from ltdd_tui.notices import Notice

LONGEST = 500


class NoticeBox(VerticalScroll, can_focus=False):
    """Not there at all while there is nothing to say."""

    DEFAULT_CSS = """
    NoticeBox {
        display: none; height: auto; max-height: 9; padding: 0 1; border: round $primary;
        Static { height: auto; }
        &.-error { border: round $error; border-title-color: $text-error; }
        &.-warning { border: round $warning; border-title-color: $text-warning; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Notice | None = None
        self._words = Static()

    def compose(self) -> ComposeResult:
        """The words."""
        yield self._words

    def show(self, notice: Notice | None) -> None:
        """Shows a notice, or with None nothing."""
        if notice == self._shown:
            return
        self._shown = notice
        self.display = notice is not None
        if notice is None:
            return
        for severity in ("error", "warning", "information"):
            self.set_class(severity == notice.severity, f"-{severity}")
        self.border_title = Content(clean(notice.title))
        lines = [Content(clean(line[:LONGEST])) for line in notice.lines]
        if notice.hint:
            lines.append(Content.assemble(("hint: ", "$text-muted"), clean(notice.hint)))
        self._words.update(Content("\n").join(lines))
        self._words.display = bool(lines)
