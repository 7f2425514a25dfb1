"""What a person wants of the screen: theme, how images are drawn, keys; and the layout it was left in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, ValidationError

from engine.run.errors import Fault
from engine.run.folder import expanded, read_json, write_json

ImageMode = Literal["auto", "kitty", "sixel", "halfcell", "off"]
DEFAULT_THEME = "ltdd-dark"


class Preferences(BaseModel):
    """The user's preferences.yaml. `keys` maps the id of a binding to a key, as the help screen lists them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    theme: str = DEFAULT_THEME
    images: ImageMode = "auto"
    keys: dict[str, str] = {}


class Layout(BaseModel):
    """What is remembered between sessions: panels hidden, panels asked for last, what was chosen on the screen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    hidden_panels: list[str] = []
    raised_panels: list[str] = []
    theme: str | None = None
    images: ImageMode | None = None


def home() -> Path:
    """The folder of the user's own files: `$LTDD_HOME`, else the configuration folder of the system."""
    named = os.environ.get("LTDD_HOME")
    return expanded(named) if named else user_config_path("ltdd-tui")


def preferences_file() -> Path:
    """Where preferences.yaml lies, or would."""
    return home() / "preferences.yaml"


def load_preferences() -> tuple[Preferences, list[Fault]]:
    """The preferences, and what is wrong with the file; a faulty setting counts as not set, so the screen opens."""
    path = preferences_file()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Preferences.model_validate(found), []
    except FileNotFoundError:
        return Preferences(), []
    except ValidationError as error:
        return _without_faults(found, error), [_fault(one, path) for one in error.errors()]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        return Preferences(), [Fault(f"this is no YAML: {getattr(error, 'problem', None) or error}", where)]
    except (OSError, ValueError) as error:
        return Preferences(), [Fault(str(error).splitlines()[0], str(path))]


def _without_faults(found: Any, error: ValidationError) -> Preferences:
    """The settings that are right."""
    wrong = {one["loc"][0] for one in error.errors() if one["loc"]}
    if not isinstance(found, dict):
        return Preferences()
    return Preferences.model_validate({key: value for key, value in found.items() if key not in wrong})


def _fault(one: Any, path: Path) -> Fault:
    where = ": ".join([str(path), *([".".join(map(str, one["loc"]))] if one["loc"] else [])])
    if one["type"] == "extra_forbidden":
        return Fault("there is no such setting", where, f"there are {', '.join(Preferences.model_fields)}")
    return Fault(one["msg"][0].lower() + one["msg"][1:], where)


def with_remembered(preferences: Preferences, layout: Layout) -> Preferences:
    """The preferences, with what was chosen on the screen in place of what preferences.yaml leaves open."""
    chosen = {
        name: value
        for name in ("theme", "images")
        if name not in preferences.model_fields_set and (value := getattr(layout, name)) is not None
    }
    return preferences.model_copy(update=chosen)


def remember(**changes: Any) -> None:
    """Keeps something of the layout for the next session, beside what is kept already."""
    save_layout(load_layout().model_copy(update=changes))


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
    return home() / "layout.json"


def load_layout() -> Layout:
    """The layout as it was left; a damaged file counts as none."""
    return _layout() or Layout()


def layout_faults() -> list[Fault]:
    """That the layout's file is there and damaged, if it is: the next change would replace it without a word."""
    if _layout() is not None or not layout_file().exists():
        return []
    what = "damaged, so that theme, images and panels are as at first; the next change of them replaces it"
    return [Fault(what, str(layout_file()))]


def _layout() -> Layout | None:
    try:
        return Layout.model_validate(read_json(layout_file()))
    except ValidationError:
        return None


def save_layout(layout: Layout) -> None:
    """Keeps the layout for the next session."""
    write_json(layout_file(), layout.model_dump())
