"""Where presets are: the shipped ones, in a checkout or in an installed package, and the user's own."""

from __future__ import annotations

import difflib
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from platformdirs import user_config_path

from engine.run.errors import Fault, SettingsError
from engine.run.folder import expanded

Origin = Literal["shipped", "yours"]
SUFFIXES = (".yaml", ".yml")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def shipped_folder() -> Path:
    """The presets that come with the program."""
    installed = Path(str(files("engine.run"))) / "shipped_presets"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "presets"


def user_folder() -> Path:
    """The user's own presets: `$LTDD_HOME/presets`, else in the user's configuration folder."""
    home = os.environ.get("LTDD_HOME")
    return (expanded(home) if home else user_config_path("ltdd-tui")) / "presets"


def preset_files() -> dict[str, tuple[Path, Origin]]:
    """Every preset by name, the user's own before a shipped one of the same name; a leading `_` marks a mere base."""
    origins: tuple[tuple[Path, Origin], ...] = ((shipped_folder(), "shipped"), (user_folder(), "yours"))
    found: dict[str, tuple[Path, Origin]] = {}
    for folder, origin in origins:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.suffix in SUFFIXES and not path.name.startswith(("_", ".")):
                found[path.stem] = (path, origin)
    return dict(sorted(found.items(), key=lambda item: in_reading_order(item[0])))


def in_reading_order(name: str) -> list[tuple[int, str]]:
    """A sorting key by which if50 stands before if100."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def find_preset(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a preset; `beside` is a file that extends it. Raises SettingsError with the nearest names.

    A path is one that has a slash or ends in .yaml, and is relative to the folder of `beside`. A name is looked for
    next to `beside`, then among the user's presets, then among those shipped; a file never extends itself by name.
    """
    folder = beside.parent if beside else Path()
    if os.sep in name_or_path or name_or_path.endswith(SUFFIXES):
        path = folder / expanded(name_or_path)
        if _is_file(path):
            return path
        raise SettingsError([_missing(name_or_path, "there is no such file")])
    folders = ([folder] if beside else []) + [user_folder(), shipped_folder()]
    candidates = (place / f"{name_or_path}{suffix}" for place in folders for suffix in SUFFIXES)
    for path in candidates:
        if _is_file(path) and not (beside and path.resolve() == beside.resolve()):
            return path
    if beside and beside.stem == name_or_path:
        raise SettingsError([Fault("this preset extends itself", hint="name another one, or take `extends` out")])
    raise SettingsError([_missing(name_or_path, f"there is no preset {name_or_path!r}")])


def _is_file(path: Path) -> bool:
    """As Path.is_file, also for a name that is longer than the system allows, which is none."""
    return os.path.isfile(path)


def _missing(name_or_path: str, what: str) -> Fault:
    near = difflib.get_close_matches(Path(name_or_path).stem, list(preset_files()), n=3, cutoff=0.5)
    where = name_or_path if "file" in what else ""
    return Fault(what, where, f"did you mean {', '.join(near)}?" if near else "`ltdd-tui presets list` shows all")
