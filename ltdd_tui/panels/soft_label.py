"""The soft label of one image, as bars or, where there is no room for them, in words."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from ltdd_tui.soft_label import bar, in_words, shares

NAME_CELLS, PERCENT_CELLS = 11, 6
SMALLEST_BAR = 4


class SoftLabel(Widget):
    """Bars of the likeliest classes; the class that the image stands for is marked."""

    DEFAULT_CSS = """
    SoftLabel { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._title, self._fault = "", ""
        self._label: Sequence[float] = ()
        self._names: Sequence[str] = ()
        self._own = 0

    def put(self, title: str, label: Sequence[float], names: Sequence[str], own: int, fault: str = "") -> None:
        """Shows a probability for each of `names`, `own` being the class of the image; or what is wrong."""
        self._title, self._label, self._names, self._own, self._fault = title, label, names, own, fault
        self.refresh()

    def render(self) -> RenderResult:
        """As many classes as there are lines, or one line of words."""
        width, height = self.size
        if self._fault:
            return Content.styled(self._fault, "$text-warning")
        if height <= 2:
            words = in_words(self._label, self._names, max(width - len(self._title) - 2, 0))
            return Content.assemble((f"{self._title}  ", "$text-muted"), words)
        shown, rest = shares(self._label, height - 1)
        lines = [Content.styled(self._title[:width], "$text-muted")]
        lines += [self._line(place, width) for place in shown]
        if len(shown) < len(self._label):
            lines.append(self._bar(f"{len(self._label) - len(shown)} others", rest, width, "$text-muted"))
        return Content("\n").join(lines)

    def _line(self, place: int, width: int) -> Content:
        style = "$accent" if place == self._own else "$primary"
        return self._bar(self._names[place], self._label[place], width, style)

    def _bar(self, name: str, share: float, width: int, style: str) -> Content:
        cells = max(width - NAME_CELLS - PERCENT_CELLS, SMALLEST_BAR)
        short = name if len(name) < NAME_CELLS else name[: NAME_CELLS - 2] + "…"
        return Content.assemble(
            short.ljust(NAME_CELLS), (bar(share, cells), style), f"{share * 100:.0f} %".rjust(PERCENT_CELLS)
        )
