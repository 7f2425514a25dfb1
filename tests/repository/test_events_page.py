"""docs/events.md says what every event is, and is never older than the events."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from engine.run.events import EVENT_TYPES
from scripts.generate_docs import events_page, in_words

ROOT = Path(__file__).parents[2]


def test_the_events_page_is_up_to_date() -> None:
    stale = "run `python -m scripts.generate_docs`"
    assert (ROOT / "docs" / "events.md").read_text() == events_page(), stale


def test_every_event_has_one_row_with_all_its_fields_and_a_text() -> None:
    rows = {row.split("`")[1]: row for row in events_page().splitlines() if row.startswith("| `")}
    assert list(rows) == list(EVENT_TYPES)
    for name, kind in EVENT_TYPES.items():
        _, _, fields, says, _ = rows[name].split("|")
        assert [cell.split("`")[1] for cell in fields.split("<br>")] == [f.name for f in dataclasses.fields(kind)]
        assert len(says.split()) > 3, name


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (float | None, "number or null"),
        (list[int], "list of integer"),
        (dict[str, float | None], "object of number or null"),
        (Literal["a", "b"], "a or b"),
        (bool, "true or false"),
    ],
)
def test_types_are_named_in_json_terms(hint: object, words: str) -> None:
    assert in_words(hint) == words


def test_a_type_without_a_json_term_is_rejected() -> None:
    with pytest.raises(KeyError):
        in_words(Path)
