"""Boxes to tick that show by a sign, and not by a color alone, whether they are ticked.

Textual 8.2.8 draws the same X or dot in both states: with NO_COLOR, or to a color-blind eye, each looks ticked.
"""

from __future__ import annotations

from typing import TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widgets import RadioButton, SelectionList
from textual.widgets.option_list import OptionDoesNotExist

Value = TypeVar("Value")
TICKED, NOT_TICKED = "[x]", "[ ]"
CHOSEN, NOT_CHOSEN = "(●)", "( )"


class TickList(SelectionList[Value]):
    """A SelectionList whose boxes are empty unless they are ticked."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        try:
            option = self.get_option_at_index(self.scroll_offset.y + y)
        except OptionDoesNotExist:
            return strip
        # The box in three segments, the middle one of which knows what a click ticks; then a space and the text.
        _, inner, _, space, *text = strip
        style = (space.style or Style.null()) + Style(meta=inner.style.meta if inner.style else None)
        return Strip([Segment(TICKED if option.value in self.selected else NOT_TICKED, style), space, *text])


class RadioChoice(RadioButton):
    """A RadioButton that is empty unless it is the one chosen."""

    @property
    def _button(self) -> Content:
        return Content.styled(CHOSEN if self.value else NOT_CHOSEN, self.get_visual_style("toggle--label"))
