"""Runs that come from elsewhere: names that would steer the terminal, and what is no file in the place of files."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.errors import CONTROL_CHARACTER
from engine.run.folder import RunFolder
from ltdd_tui.cli.output import print_text
from tests.ltdd_tui.recorded import HOSTILE, make_hostile, record


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hostile(record(tmp_path_factory.mktemp("original") / "run", "done", 20)).root


@pytest.fixture
def hostile(original: Path, runs_dir: Path) -> RunFolder:
    return RunFolder(shutil.copytree(original, runs_dir / "odd\x1b[2J"))


def steering(text: str) -> list[str]:
    return [sign for sign in CONTROL_CHARACTER.findall(text) if sign != "\n"]


def test_no_command_lets_control_characters_through(command: Callable, hostile: RunFolder) -> None:
    shown = [command("runs"), command("show", hostile.name), command("watch", hostile.name, "--plain")]
    with open(hostile.events, "a") as events:
        events.write(json.dumps({"v": 1, "seq": 1, "t": 1.0, "type": "run_broke", "what": HOSTILE, "where": HOSTILE}))
        events.write("\n")
    hostile.metrics.unlink()
    shown += [command("show", hostile.name), command("watch", hostile.name, "--plain")]
    shown += [command("runs", "--json"), command("watch", hostile.name, "--json"), command("show", HOSTILE)]
    assert [steering(done.out + done.err) for done in shown] == [[]] * len(shown)
    assert r"odd\x1b[2J" in shown[0].out and r"\x1b]0;x\x07" in shown[1].out and r"\u202e" in shown[1].out
    assert r"error: \x1b]0;x\x07" in shown[4].err
    # A name is no further line of a table: there is a title, and one row for each class.
    assert len(re.findall(r"^\S.*#", shown[1].out, re.MULTILINE)) == 10


def test_data_for_a_pipe_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    print_text("a\x1b[2J")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_text("a\x1b[2J\nb")
    assert capfd.readouterr().out == "a\x1b[2J\na\\x1b[2J\nb\n"


def test_commands_print_by_output_alone() -> None:
    folder = Path(__file__).parents[3] / "ltdd_tui" / "cli"
    printing = {file.name for file in folder.glob("*.py") if re.search(r"^ +print\(", file.read_text(), re.MULTILINE)}
    # The version, and a count of files, which hold no text of others.
    assert printing == {"output.py", "main.py", "new.py"}


@pytest.mark.parametrize("name", ["config", "events", "console", "lock", "metrics", "notes"])
def test_a_fifo_in_the_place_of_a_file_holds_nobody_up(
    command: Callable, hostile: RunFolder, runs_dir: Path, name: str
) -> None:
    path: Path = getattr(hostile, name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert command("runs").code == 0
    assert "Traceback" not in "".join(command(*line, hostile.name).err for line in (["show"], ["watch", "--plain"]))
