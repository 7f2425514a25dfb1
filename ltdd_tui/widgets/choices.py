"""Several words of a list, each on or off, in one line that wraps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

ON, OFF = "■", "□"


class Choices(Static, can_focus=True):
    """Left and right move, space turns a word on or off, a click too. What is turned on later stands later."""

    TITLE: ClassVar[str] = "List of words"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Left", show=False, id="choices.left"),
        Binding("right,l", "move(1)", "Right", show=False, id="choices.right"),
        Binding("space,enter", "turn_here", "On or off", show=False, id="choices.toggle"),
    ]
    DEFAULT_CSS = """
    Choices { height: auto; color: $foreground; background: $surface; }
    Choices:focus { background: $surface-lighten-1; }
    """

    class Changed(Message):
        """A word was turned on or off."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self, words: Sequence[str], text: str) -> None:
        super().__init__()
        self._words, self._at = list(words), 0
        self._chosen: list[str] = []
        self.choose(text)

    def on_mount(self) -> None:
        """Draws the words."""
        self._draw()

    def choose(self, text: str) -> None:
        """Turns on the words of a text such as `color, crop`."""
        self._chosen = [word for part in text.strip("[]").split(",") if (word := part.strip())]
        self._words += [word for word in self._chosen if word not in self._words]
        self._draw()

    def on_focus(self) -> None:
        """Shows where one is."""
        self._draw()

    def on_blur(self) -> None:
        """Shows it no more."""
        self._draw()

    def on_click(self, event: Click) -> None:
        """Turns the word on or off that was clicked."""
        if word := event.style.meta.get("word"):
            self.action_turn(word)

    def action_move(self, by: int) -> None:
        """Goes to another word."""
        self._at = (self._at + by) % len(self._words)
        self._draw()

    def action_turn_here(self) -> None:
        """Turns the word on or off that one is at."""
        self.action_turn(self._words[self._at])

    def action_turn(self, word: str) -> None:
        """Turns a word on or off."""
        self._at = self._words.index(word)
        self._chosen = [other for other in self._chosen if other != word] + [word] * (word not in self._chosen)
        self._draw()
        self.post_message(self.Changed(", ".join(self._chosen) or "[]"))

    def _draw(self) -> None:
        parts = []
        for place, word in enumerate(self._words):
            on = word in self._chosen
            style = Style.parse(
                ("" if on else "$foreground 60%") + (" reverse" if self.has_focus and place == self._at else "")
            )
            parts.append(Content.styled(f"{ON if on else OFF}{word}", style + Style.from_meta({"word": word})))
        self.update(Content("  ").join(parts))
