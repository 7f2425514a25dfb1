"""The two ways out: stdout is data, stderr is everything else. NO_COLOR means no colors and no bold either."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Literal, TextIO

from rich.console import Console, RenderableType

PIPE_COLUMNS = 200


def data_console() -> Console:
    """stdout."""
    return _console(sys.stdout)


def note_console() -> Console:
    """stderr."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    """Wide in a pipe, so that no table is cut there; brackets in names are only brackets."""
    return Console(
        file=file,
        width=None if file.isatty() else PIPE_COLUMNS,
        color_system=_colors(),
        highlight=False,
        markup=False,
        emoji=False,
    )


def _colors() -> Literal["auto"] | None:
    return None if os.environ.get("NO_COLOR") else "auto"


def show(renderable: RenderableType) -> None:
    """Prints a table or a text to stdout."""
    data_console().print(renderable)


def note(text: str) -> None:
    """Prints one line, as it is, to stderr."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Prints `value` to stdout as indented JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))
