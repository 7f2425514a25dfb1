"""Tags and notes: kept beside a run, found again, shown, and never in the way of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.folder import RunFolder, verify_file
from ltdd_tui.runs.filter import parse
from ltdd_tui.runs.index import RunIndex, overview
from ltdd_tui.runs.notes import Notes, parse_tags, read_notes, retagged, write_notes
from tests.ltdd_tui.conftest import Done


@pytest.fixture
def run(make_run: Callable[..., Path]) -> RunFolder:
    return RunFolder(make_run())


def test_what_was_noted_is_read_again_and_stands_in_the_list(run: RunFolder) -> None:
    index = RunIndex(run.root.parent)
    index.look()
    assert index.listed[0].run.tags == ()
    write_notes(run, Notes(("paper", "010"), "for table 2: ±"))
    assert read_notes(run.notes) == Notes(("paper", "010"), "for table 2: ±")
    assert verify_file(run.notes), "it has a checksum"
    run.notes.write_text(run.notes.read_text().replace("paper", "by hand"))
    assert read_notes(run.notes).tags == ("by hand", "010"), "a person may edit it"
    write_notes(run, Notes(("paper", "010"), "for table 2: ±"))
    index.look()
    assert index.listed[0].run.tags == ("paper", "010") and index.listed[0].run.note == "for table 2: ±"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"tags": "a"}', '{"tags": [1, {}], "note": 3}', "\x00", '{"tags": null}']
)
def test_a_damaged_file_of_notes_hides_no_run_and_is_not_overwritten(run: RunFolder, content: str) -> None:
    run.notes.write_text(content)
    assert overview(run).tags == () and overview(run).note == ""
    if not content.startswith('{"'):
        with pytest.raises(InputError, match="the notes are damaged"):
            write_notes(run, Notes(("a",)))
        assert run.notes.read_text() == content


def test_tags_are_split_once_each_and_refused_where_they_cannot_be_found_again() -> None:
    assert parse_tags(["paper, seed-1", "#paper  v1.0+x"]) == ("paper", "seed-1", "v1.0+x")
    for wrong in ("a:b", "(x)", "x" * 41):
        with pytest.raises(InputError, match="cannot be a tag"):
            parse_tags([wrong])
    assert retagged(Notes(("a", "b"), "n"), ["c", "a"], ["b", "none"]) == Notes(("a", "c"), "n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("tag:paper", True), ("tag:pap", True), ("tag:per", False), ("tag:x,old", True), ("-tag:paper", False)],
        *[("note:camera", True), ("ready", True), ("old", True), ("note:ready", False)],
    ],
)
def test_the_filter_finds_tags_and_words_of_a_note(run: RunFolder, text: str, found: bool) -> None:
    write_notes(run, Notes(("Paper", "old"), "camera ready"))
    assert parse(text).faults == () and parse(text).matches(overview(run)) == found


def test_the_command_adds_removes_and_prints(run: RunFolder, command: Callable[..., Done]) -> None:
    assert command("tag", "first", "paper,old", "seed0", "--note", "table 2").out == "paper old seed0\ntable 2\n"
    assert command("tag", "first", "--remove", "old").out == "paper seed0\ntable 2\n"
    assert json.loads(command("runs", "--json").out)[0]["tags"] == ["paper", "seed0"]
    assert "paper seed0" in command("runs").out
    refused = command("tag", "first", "a b", "c:d")
    assert refused.code == 2 and "error: 'c:d' cannot be a tag\nhint: letters" in refused.err
    assert read_notes(run.notes).tags == ("paper", "seed0"), "nothing of a refused command is kept"
    run.notes.unlink()
    assert command("tag", "first") == Done(0, "", "") and not run.notes.exists()
