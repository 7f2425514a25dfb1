"""Boxes to tick that show by a sign, and not by a color alone, whether they are ticked.

Textual 8.2.8 draws the same X or dot in both states: with NO_COLOR, or to a color-blind eye, each looks ticked.
"""

from __future__ import annotations

from typing import TypeVar

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widgets import RadioButton, SelectionList
from textual.widgets.option_list import OptionDoesNotExist

Value = TypeVar("Value")
NOT_TICKED = " "


class TickList(SelectionList[Value]):
    """A SelectionList whose boxes are empty unless they are ticked."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        try:
            option = self.get_option_at_index(self.scroll_offset.y + y)
        except OptionDoesNotExist:
            return strip
        if option.value in self.selected:
            return strip
        left, inner, *rest = strip
        return Strip([left, Segment(NOT_TICKED, inner.style), *rest])


class RadioChoice(RadioButton):
    """A RadioButton that is empty unless it is the one chosen."""

    @property
    def _button(self) -> Content:
        self.BUTTON_INNER = RadioButton.BUTTON_INNER if self.value else NOT_TICKED
        return super()._button
