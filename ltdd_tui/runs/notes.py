"""Tags and a note that a person gives a run: notes.json in its folder, which the engine does not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.run.errors import InputError
from engine.run.folder import LARGEST_JSON_BYTES, RunFolder, write_json
from engine.run.regular_files import read_regular

# No space and no comma: the command line, the dialog and the filter separate tags by them.
TAG = re.compile(r"[\w./+-]{1,40}")


@dataclass(frozen=True)
class Notes:
    """The tags of a run in the order in which they were given, and a note of any text."""

    tags: tuple[str, ...] = ()
    note: str = ""


def read_notes(path: Path) -> Notes:
    """What a notes.json holds; nothing where it is missing or holds something else, and never an error."""
    content = _content(path) or {}
    tags, note = content.get("tags"), content.get("note")
    return Notes(
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        note if isinstance(note, str) else "",
    )


def _content(path: Path) -> dict[str, Any] | None:
    """What the file holds, whatever its checksum says: a person may have edited it, which only `verify` tells."""
    try:
        content = json.loads(read_regular(path, LARGEST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def parse_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags in texts that separate them by spaces or commas, each once; raises InputError for what is none."""
    tags = dict.fromkeys(part.removeprefix("#") for text in texts for part in re.split(r"[\s,]+", text) if part)
    if wrong := [tag for tag in tags if not TAG.fullmatch(tag)]:
        raise InputError(f"{wrong[0]!r} cannot be a tag", hint="letters, digits and _ . / + -, 40 at most")
    return tuple(tags)


def write_notes(folder: RunFolder, notes: Notes) -> None:
    """Replaces the notes of a run, atomically; raises InputError where they cannot be written.

    A damaged file is left as it is: somebody wrote it by hand.
    """
    if folder.notes.exists() and _content(folder.notes) is None:
        raise InputError("the notes are damaged", str(folder.notes), "mend it, or delete it")
    try:
        write_json(folder.notes, asdict(notes), sealed=True)
    except OSError as error:
        raise InputError(f"the notes cannot be written: {error.strerror}", str(folder.notes)) from None


def note_all(folders: Sequence[RunFolder], notes: Notes) -> None:
    """Gives a run these notes; several get the tags beside their own, and the note where it is not empty."""
    for folder in folders:
        before = read_notes(folder.notes)
        added = replace(retagged(before, notes.tags, ()), note=notes.note or before.note)
        write_notes(folder, notes if len(folders) == 1 else added)


def retagged(notes: Notes, add: Iterable[str], remove: Iterable[str]) -> Notes:
    """The notes with some tags more and some less; one that is removed need not be there."""
    gone = set(remove)
    return replace(notes, tags=tuple(tag for tag in dict.fromkeys((*notes.tags, *add)) if tag not in gone))
