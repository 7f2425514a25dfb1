"""A text field whose keys leave the screen's own alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

TAKEN_BY_THE_SCREEN = "ctrl+e"


def _without(binding: BindingType) -> BindingType:
    if not isinstance(binding, Binding):
        return binding
    return replace(binding, key=",".join(key for key in binding.key.split(",") if key != TAKEN_BY_THE_SCREEN))


class Entry(Input, inherit_bindings=False):
    """An Input of one line's height in which ctrl+e is no second End."""

    BINDINGS: ClassVar[list[BindingType]] = [_without(binding) for binding in Input.BINDINGS]
