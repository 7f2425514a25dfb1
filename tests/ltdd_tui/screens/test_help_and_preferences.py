"""Help, the command palette, keys and themes of one's own; and preferences that are wrong."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from engine.run.folder import RunFolder
from ltdd_tui import app
from ltdd_tui.app import LtddApp, load_screens
from ltdd_tui.keys import RENAMED_IDS, checked, key_places
from ltdd_tui.preferences import PanelLayout, Preferences, load_layout, load_preferences, template
from ltdd_tui.screens.help import HelpScreen
from ltdd_tui.screens.run.images.panel import ImagesPanel
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.runs.screen import RunsScreen
from tests.ltdd_tui.driving import hears, listen, sees, text, told, type_ahead, typed, until

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_form")]
Add = Callable[..., RunFolder]


@asynccontextmanager
async def shown(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    app = LtddApp(Path("runs"))
    listen(app)
    async with app.run_test(size=size) as pilot:
        yield pilot


@pytest.fixture
def prefer(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "home" / "preferences.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    return write


def layout(tmp_path: Path) -> dict:
    path = tmp_path / "home" / "layout.json"
    return json.loads(path.read_text()) if path.exists() else {}


async def choose(pilot: Pilot[None], words: str) -> None:
    """Opens the palette, types, and takes the first entry."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.focused, Input))
    await typed(pilot, words)
    await until(pilot, lambda: words.split()[-1].casefold() in text(pilot).casefold().split("\n", 4)[-1])
    await pilot.pause(0.3)
    await pilot.press("enter")
    if isinstance(pilot.app.focused, Input):
        await pilot.press("enter")


async def test_help_tells_of_the_screen_its_keys_and_their_ids(add: Add) -> None:
    add("one", "stopped")
    async with shown((120, 60)) as pilot:
        await pilot.press("f2")
        await sees(pilot, "stopped")
        await pilot.press("f1")
        await sees(pilot, "Every run below the runs folder", "list of runs", "runs.open")
        await pilot.press("G")
        await sees(pilot, "runs.compare", "app.help", "~/home/preferences.yaml")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


async def test_help_of_a_panel_comes_before_that_of_its_screen(add: Add) -> None:
    add("one", "stopped")
    async with shown((120, 60)) as pilot:
        await pilot.press("f2")
        await sees(pilot, "stopped")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen) and pilot.app.focused is not None)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        texts = pilot.app.screen._texts
        assert len(texts) == 2 and texts[1] == RunScreen.HELP


async def test_a_reply_of_the_terminal_that_was_torn_apart_opens_no_help(add: Add) -> None:
    add("one", "stopped")
    async with shown() as pilot:
        await pilot.press("f2")
        await sees(pilot, "stopped")
        type_ahead(pilot, "[", *"?2026;2$y")
        await until(pilot, lambda: not pilot.app.key_queue.waiting)
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        assert len(pilot.app.screen_stack) == 4, "one help, and it was asked for"


async def test_keys_wait_no_longer_for_one_that_was_lost() -> None:
    class Leaving(Screen[None]):
        def on_key(self, event: events.Key) -> None:
            event.stop()
            self.dismiss(None)

    async with shown() as pilot:
        await pilot.app.push_screen(Leaving())
        type_ahead(pilot, "x", "f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
async def test_help_opens_at_any_size(size: tuple[int, int]) -> None:
    async with shown(size) as pilot:
        await pilot.press("f2", "f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await pilot.press("j", "k", "G", "g", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


async def test_keys_are_changed_by_id(prefer: Callable[[str], Path], add: Add) -> None:
    prefer("keys:\n  app.runs: f9\n  runs.filter: ctrl+f,comma\n  list.down: n\n  run.rename: N\n")
    add("one", "stopped")
    add("two", "stopped")
    async with shown() as pilot:
        await pilot.press("f2")
        assert not isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        await sees(pilot, "two")
        await pilot.press("n")
        assert pilot.app.screen.picked().name == "two"
        await pilot.press("slash")
        assert not isinstance(pilot.app.focused, Input)
        await pilot.press("comma")
        assert isinstance(pilot.app.focused, Input)
        assert told(pilot) == []


async def test_every_key_has_an_id_of_its_own_screen_or_panel() -> None:
    load_screens()
    ids = {binding_id for place in key_places() for binding_id in place}
    assert set(RENAMED_IDS.values()) <= ids and not RENAMED_IDS.keys() & ids
    assert {"app.help", "runs.open", "runs.filter", "compare.base", "curve.log", "dialog.yes", "help.close"} <= ids


async def test_what_is_wrong_with_preferences_is_told_and_the_rest_counts(prefer: Callable[[str], Path]) -> None:
    keys = "  runs.opne: l\n  runs.stop: x\n  runs.mark: ctrl+entr\n  app.runs: f9\n"
    prefer(f"theme: ltdd-darc\nimages: 3\nkeys:\n{keys}color: red\n")
    async with shown() as pilot:
        await hears(pilot, "theme: there is no theme 'ltdd-darc'", "did you mean ltdd-dark?")
        (note,) = told(pilot)
        for words in (
            "home/preferences.yaml:2: images: input should be 'auto'",
            "color: there is no such setting",
            "keys.runs.opne: nothing has this id; did you mean runs.open?",
            "keys.runs.stop: this id has another name now; write run.stop",
            "keys.runs.mark: there is no key 'ctrl+entr'",
        ):
            assert words in note
        assert pilot.app.theme == "ltdd-dark" and pilot.app.preferences.images == "auto"
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


async def test_what_is_wrong_is_told_until_somebody_is_there(
    prefer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "FAULT_SECONDS", 0.2)
    monkeypatch.setattr(app, "SEEN_SECONDS", 0.1)
    (prefer("theme: [").parent / "layout.json").write_text("[1, ")
    async with shown() as pilot:
        await until(pilot, lambda: len(told(pilot)) >= 3)
        pilot.app.action_help()
        before = len(told(pilot))
        await until(pilot, lambda: len(told(pilot)) > before)
        await pilot.press("f2")
        count = 0
        while count < len(told(pilot)):
            count = len(told(pilot))
            await asyncio.sleep(0.5)
        assert all("preferences.yaml:" in note and "layout.json: damaged" in note for note in told(pilot))


async def test_keys_that_take_each_other_s_place_are_told() -> None:
    places = [{"a.one": {"c"}, "a.two": {"d"}}, {"b.one": {"c"}}]
    for chosen, taken in (
        ({"a.two": "c"}, ["keys.a.two"]),
        ({"a.one": "d", "a.two": "c"}, []),
        ({"a.one": "x", "a.two": "x,y"}, ["keys.a.one", "keys.a.two"]),
        ({"b.one": "d"}, []),
    ):
        keys, faults = checked(chosen, places, "file")
        assert keys == chosen and sorted(fault.where for fault in faults) == [f"file: {place}" for place in taken]


async def test_the_keys_as_they_come_do_not_clash() -> None:
    load_screens()
    for place in key_places():
        every = [key for keys in place.values() for key in keys]
        assert len(every) == len(set(every)), place


@pytest.mark.parametrize("content", ["theme: [", "- a\n- b\n", "theme: null\n", "\x00", "keys: {1: a}\n", "keys: 3"])
async def test_no_preferences_keep_the_app_from_opening(prefer: Callable[[str], Path], content: str) -> None:
    prefer(content)
    async with shown() as pilot:
        await hears(pilot, "home/preferences.yaml")
        assert pilot.app.theme == "ltdd-dark"


async def test_preferences_in_a_folder_that_may_not_be_read_are_told(
    prefer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prefer("theme: ltdd-light\n")

    # Denied here and not by the mode of the folder, which does not hold for root.
    def denied(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    for name in ("stat", "lstat", "read_text"):
        monkeypatch.setattr(Path, name, denied)
    monkeypatch.setattr("engine.run.regular_files.os.open", denied)
    preferences, (fault,) = load_preferences()
    assert preferences == Preferences() and fault.what == "cannot be read: Permission denied"
    assert path.name in fault.where
    assert load_layout()[0] == PanelLayout()


async def test_a_preference_is_the_text_as_it_is_written(prefer: Callable[[str], Path]) -> None:
    prefer("images: off\nkeys: {app.runs: 1, runs.mark: on, runs.open: 010}\n")
    keys = {"app.runs": "1", "runs.mark": "on", "runs.open": "010"}
    assert load_preferences() == (Preferences(images="off", keys=keys), [])


async def test_the_template_is_right_and_sets_nothing(prefer: Callable[[str], Path]) -> None:
    prefer(template())
    assert load_preferences() == (Preferences(), [])
    prefer("".join(line.removeprefix("# ") for line in template().splitlines(True)[2:]))
    preferences, faults = load_preferences()
    assert faults == [] and preferences.keys["app.runs"] == "f2" and preferences.images == "auto"


async def test_a_theme_from_the_palette_is_remembered(tmp_path: Path) -> None:
    async with shown() as pilot:
        pilot.app.theme = "ltdd-light"
        await until(pilot, lambda: layout(tmp_path).get("theme") == "ltdd-light")
    async with shown() as pilot:
        assert pilot.app.theme == "ltdd-light"


async def test_a_theme_of_the_file_stands_and_the_file_is_never_written(
    prefer: Callable[[str], Path], tmp_path: Path
) -> None:
    content = "# mine\ntheme: nord\n"
    path = prefer(content)
    async with shown() as pilot:
        assert pilot.app.theme == "nord"
        pilot.app.theme = "ltdd-light"
        await hears(pilot, "theme: ltdd-light", "this session only")
    assert path.read_text() == content and layout(tmp_path).get("theme") is None
    async with shown() as pilot:
        assert pilot.app.theme == "nord"


async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    async with shown() as pilot:
        pilot.app.theme = "ltdd-light"
        await hears(pilot, "theme: ltdd-light", "cannot be kept")


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_is_told_leaves_nothing_behind_and_the_app_goes_on(add: Add, tmp_path: Path) -> None:
    add("one")
    async with shown() as pilot:
        pilot.app.theme = "ltdd-light"
        await hears(pilot, "theme: ltdd-light", "cannot be kept: No space left on device")
        pilot.app.action_preferences()
        await hears(pilot, "preferences.yaml: No space left on device")
        pilot.app.open_run(RunFolder(tmp_path / "runs" / "one"))
        await sees(pilot, "Matching loss")
        pilot.app.screen.action_panel("norms")
        await hears(pilot, "the layout is not remembered: No space left on device")
        pilot.app.use_images("off")
        await hears(pilot, "images: off", "cannot be kept")
        assert pilot.app.theme == "ltdd-light" and pilot.app.preferences.images == "off", "for this session"
        assert list((tmp_path / "home").iterdir()) == []


async def test_the_palette_opens_runs_by_name_and_changes_how_images_are_drawn(add: Add, tmp_path: Path) -> None:
    add("one")
    add("moles", "stopped")
    async with shown() as pilot:
        await choose(pilot, "open run mol")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await choose(pilot, "images: off")
        await until(pilot, lambda: layout(tmp_path).get("images") == "off")
        assert pilot.app.preferences.images == "off"
        assert {panel._mode for panel in pilot.app.screen.query(ImagesPanel)} == {"off"}


async def test_screenshot_and_preferences_say_where_they_are(tmp_path: Path) -> None:
    async with shown() as pilot:
        await pilot.press("f2", "f12")
        await hears(pilot, "screenshot", ".svg")
        (picture,) = tmp_path.glob("*.svg")
        assert "No&#160;runs&#160;yet" in picture.read_text()
        pilot.app.action_preferences()
        path = tmp_path / "home" / "preferences.yaml"
        await hears(pilot, str(path))
        assert yaml.safe_load(path.read_text()) is None and pilot.app.clipboard == str(path)
        path.write_text("theme: nord\n")
        pilot.app.action_preferences()
        assert path.read_text() == "theme: nord\n"
