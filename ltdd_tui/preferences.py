"""What a person wants of the screen: theme, how images are drawn, keys; and the layout it was left in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

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
    """What the program remembers between sessions: which panels of a run are hidden, and which were asked for last."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    hidden_panels: list[str] = []
    raised_panels: list[str] = []


def home() -> Path:
    """The folder of the user's own files: `$LTDD_HOME`, else the configuration folder of the system."""
    named = os.environ.get("LTDD_HOME")
    return expanded(named) if named else user_config_path("ltdd-tui")


def preferences_file() -> Path:
    """Where preferences.yaml lies, or would."""
    return home() / "preferences.yaml"


def load_preferences() -> tuple[Preferences, list[Fault]]:
    """The preferences, and what is wrong with the file; a faulty file counts as none, so that the screen opens."""
    path = preferences_file()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Preferences.model_validate(found), []
    except FileNotFoundError:
        return Preferences(), []
    except ValidationError as error:
        faults = [Fault(e["msg"], f"{path}: {'.'.join(map(str, e['loc']))}") for e in error.errors()]
        return Preferences(), faults
    except (OSError, ValueError, yaml.YAMLError) as error:
        return Preferences(), [Fault(str(error).splitlines()[0], str(path))]


def load_layout() -> Layout:
    """The layout as it was left; a damaged file counts as none."""
    try:
        return Layout.model_validate(read_json(home() / "layout.json") or {})
    except ValidationError:
        return Layout()


def save_layout(layout: Layout) -> None:
    """Keeps the layout for the next session."""
    write_json(home() / "layout.json", layout.model_dump())
