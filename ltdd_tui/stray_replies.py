"""What a terminal sends by itself, torn apart on its way: the rest comes in as keys that nobody pressed. Pure."""

from __future__ import annotations

TOGETHER_SECONDS = 0.15
"""No person presses escape and a question mark, or a bracket and a sign, as fast as this."""
BEGINNINGS = {"escape", "circumflex_accent", "left_square_bracket"}
SIGNS = {"question_mark", "less_than_sign", "greater_than_sign"}
WITHIN = SIGNS | set("0123456789") | {"semicolon", "colon", "dollar_sign", "equals_sign", "minus"}


class StrayReplies:
    """Tells the keys that are such a rest: `ESC [ ?` and `ESC [ <` begin replies and reports of the mouse."""

    def __init__(self) -> None:
        self._before, self._at = "", float("-inf")
        self._inside = False

    def takes(self, key: str, seconds: float) -> bool:
        """Whether a key, seen at `seconds`, belongs to one: it is then no key at all."""
        together = seconds - self._at <= TOGETHER_SECONDS
        before, self._before, self._at = self._before, key, seconds
        if not together:
            self._inside = False
        elif self._inside:
            self._inside = key in WITHIN
            # A letter is the end of it, and belongs to it too.
            return self._inside or len(key) == 1
        else:
            self._inside = key in SIGNS and before in BEGINNINGS
        return self._inside
