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

Value = TypeVar("Value")
TICKED, NOT_TICKED = "[x]", "[ ]"
CHOSEN, NOT_CHOSEN = "(●)", "( )"


class TickList(SelectionList[Value]):
    """A SelectionList whose boxes are empty unless they are ticked."""

    def render_line(self, y: int) -> Strip:
        # The line of an OptionList, to which SelectionList would add its box; its style knows what a click ticks.
        strip = super(SelectionList, self).render_line(y)
        style = next((segment.style for segment in strip if segment.style), Style.null())
        place = style.meta.get("option")
        if place is None:
            return strip
        ticked = self.get_option_at_index(place).value in self.selected
        return Strip([Segment(f"{TICKED if ticked else NOT_TICKED} ", style), *strip])


class RadioChoice(RadioButton):
    """A RadioButton that is empty unless it is the one chosen."""

    @property
    def _button(self) -> Content:
        return Content.styled(CHOSEN if self.value else NOT_CHOSEN, self.get_visual_style("toggle--label"))
