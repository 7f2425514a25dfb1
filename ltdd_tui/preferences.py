"""A person's preferences (theme, images, keys), the layout kept between sessions, and the colors of the screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from textual.theme import Theme

from engine.run.errors import Fault
from engine.run.folder import read_typed, user_config_root, write_json
from engine.run.yaml_text import WrittenSettings, nested, parse_file

ImageMode = Literal["auto", "kitty", "sixel", "halfcell", "off"]
DEFAULT_THEME = "ltdd-dark"


class Preferences(BaseModel):
    """The user's preferences.yaml. `keys` maps the id of a binding to a key, as the help screen lists them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    theme: str = DEFAULT_THEME
    images: ImageMode = "auto"
    keys: dict[str, str] = {}


class PanelLayout(BaseModel):
    """What is remembered between sessions: panels hidden, panels asked for last, what was chosen on the screen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    hidden_panels: list[str] = []
    raised_panels: list[str] = []
    theme: str | None = None
    images: ImageMode | None = None


def preferences_file() -> Path:
    """Where preferences.yaml lies, or would."""
    return user_config_root() / "preferences.yaml"


def load_preferences() -> tuple[Preferences, list[Fault]]:
    """The preferences, and what is wrong with the file; a faulty setting counts as not set, so the screen opens."""
    path = preferences_file()
    # Not path.exists(): that raises PermissionError for a file in a folder that may not be read.
    if not os.path.lexists(path):
        return Preferences(), []
    # Every preference is text: a key may be `1`, and images may be `off`.
    written = parse_file(path, is_text=lambda key: True, may_be_empty=True)
    values = nested(written.values)
    try:
        return Preferences.model_validate(values), written.faults
    except ValidationError as error:
        sound = {key: value for key, value in values.items() if key not in {one["loc"][0] for one in error.errors()}}
        return Preferences.model_validate(sound), [*written.faults, *(_fault(one, written) for one in error.errors())]


def _fault(one: Any, written: WrittenSettings) -> Fault:
    key = tuple(map(str, one["loc"]))
    where = f"{written.places.get(key, written.name)}: {'.'.join(key)}"
    if one["type"] == "extra_forbidden":
        return Fault("there is no such setting", where, f"there are {', '.join(Preferences.model_fields)}")
    return Fault(one["msg"][0].lower() + one["msg"][1:], where)


def with_remembered(preferences: Preferences, layout: PanelLayout) -> Preferences:
    """The preferences, with what was chosen on the screen in place of what preferences.yaml leaves open."""
    left_open = {"theme", "images"} - preferences.model_fields_set
    return preferences.model_copy(update=layout.model_dump(include=left_open, exclude_none=True))


def remember(**changes: Any) -> None:
    """Changes a part of the layout that is kept for the next session; raises OSError."""
    layout, _ = load_layout()
    write_json(layout_file(), layout.model_copy(update=changes).model_dump())


def template() -> str:
    """A preferences.yaml that says what can be set, and sets nothing."""
    return f"""\
# Preferences of ltdd-tui. Take the # away from a line to set it; the program never writes into this file.

# theme: {DEFAULT_THEME}      # ltdd-light, or any of those that the command palette lists
# images: auto          # auto, kitty, sixel, halfcell, off
# keys:                 # by the ids that F1 lists; commas give several keys
#   app.runs: f2
#   runs.open: enter,l
"""


def layout_file() -> Path:
    """Where the layout is kept between sessions."""
    return user_config_root() / "layout.json"


def load_layout() -> tuple[PanelLayout, list[Fault]]:
    """The layout as it was left, and a fault where its file is damaged: the next change would replace it silently."""
    path = layout_file()
    if (layout := read_typed(path, PanelLayout)) is not None:
        return layout, []
    what = "damaged: defaults are used, and the next change overwrites it"
    return PanelLayout(), [Fault(what, str(path))] if os.path.lexists(path) else []


# ---- Themes, and the colors of series: Okabe and Ito's, which color-blind eyes tell apart. ----

SERIES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#BBBBBB")
"""In order of use; more series than these start over."""
SERIES_ON_LIGHT = ("#3A8FC7", "#B27500", "#00835F", "#B0568A", "#877E00", "#BF5200", "#004E86", "#757575")
"""The same hues, dark enough for thin lines on a light ground."""


def series_color(place: int, dark: bool) -> str:
    """The color of the series at that place, for a dark or a light theme."""
    colors = SERIES if dark else SERIES_ON_LIGHT
    return colors[place % len(colors)]


DARK = Theme(
    name="ltdd-dark",
    primary="#56B4E9",
    secondary="#009E73",
    accent="#E69F00",
    warning="#F0E442",
    error="#D55E00",
    success="#009E73",
    foreground="#E4E6EB",
    background="#101418",
    surface="#161B21",
    panel="#1F262E",
    dark=True,
)
LIGHT = Theme(
    name="ltdd-light",
    primary="#0072B2",
    secondary="#009E73",
    accent="#B35C00",
    warning="#8A6D00",
    error="#B3261E",
    success="#00795A",
    foreground="#1B1F24",
    background="#FAFAF8",
    surface="#F1F1EE",
    panel="#E4E4E0",
    dark=False,
)

GROUP_PLACES = {"many": 0, "medium": 1, "few": 3}
"""Which of SERIES the classes with many, some and few images have, wherever they are drawn."""
