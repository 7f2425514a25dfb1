"""What every panel of a run is: a box that is given a view and draws its part of it."""

from __future__ import annotations

from typing import ClassVar

from textual.containers import Vertical
from textual.content import Content

from ltdd_tui.live import View


class Panel(Vertical, can_focus=True):
    """A bordered box with a title; `NUMBER` is the key that shows and hides it, `NAME` how layouts call it."""

    NAME: ClassVar[str]
    NUMBER: ClassVar[str]
    TITLE: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(id=self.NAME, classes="panel")
        self.border_title = f"{self.NUMBER} {self.TITLE}"

    def entitle(self, title: Content, subtitle: Content) -> None:
        """Sets what the border says, where it differs: a border that is set draws all that it holds anew."""
        if title.markup != self.border_title:
            self.border_title = title
        if subtitle.markup != (self.border_subtitle or ""):
            self.border_subtitle = subtitle

    def show(self, view: View) -> None:
        """Draws its part of `view`; called a few times a second, so what did not change is not drawn anew."""
        raise NotImplementedError
