"""The launch screen, driven by keys: what is typed is what is started, and what is wrong is told where it was typed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.widgets import Input

from engine.run.folder import RunFolder, write_atomically
from engine.run.presets import dump, load_preset
from engine.run.schema import leaves
from ltdd_tui.app import LtddApp
from ltdd_tui.launch.form import BASIC, NAME
from ltdd_tui.launch.machine import device_here
from ltdd_tui.runs import worker
from ltdd_tui.runs.index import overview
from ltdd_tui.screens.launch import preset_list
from ltdd_tui.screens.launch.form_view import Matches, MoreSettings
from ltdd_tui.screens.launch.preset_list import PresetList
from ltdd_tui.screens.launch.screen import LaunchScreen
from ltdd_tui.screens.run.screen import RunScreen
from ltdd_tui.screens.sweep.screen import SweepScreen
from ltdd_tui.widgets.field import Field
from tests.ltdd_tui.driving import hears, listen, sees, text, turns_of_the_loop, type_ahead, typed, until
from tests.ltdd_tui.recorded import SUPERVISOR, SWEEP, let_go, record

WIDE, HUGE, SMALL = (120, 40), (200, 60), (80, 24)
Test = Callable[[Pilot[None], LaunchScreen], Awaitable[None]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the test works."""
    return tmp_path


def drive(test: Test, size: tuple[int, int] = WIDE) -> None:
    """Runs a test on the screen once it lists the presets and tells what the first one costs."""

    async def run() -> None:
        app = LtddApp(Path("runs"), device="cpu")
        listen(app)
        async with app.run_test(size=size) as pilot:
            screen = app.screen
            assert isinstance(screen, LaunchScreen)
            await sees(pilot, "quickstart")
            await until(pilot, lambda: screen._run_plan is not None)
            await test(pilot, screen)

    asyncio.run(run())


@asynccontextmanager
async def settled(pilot: Pilot[None], screen: LaunchScreen) -> AsyncIterator[None]:
    """Waits, after what is done inside, until what comes of it is shown."""
    yield
    await pilot.pause()
    await until(pilot, lambda: screen._run_plan is not None and screen._run_plan.form is screen.form)
    await pilot.pause()


def field(screen: LaunchScreen, key: str) -> Field:
    return next(one for one in screen.query(Field) if one.spec.key == key)


async def put(pilot: Pilot[None], screen: LaunchScreen, key: str, words: str) -> None:
    """Pastes a text in place of what stands in a field."""
    control = field(screen, key).control
    control.focus()
    await pilot.pause()
    assert isinstance(control, Input)
    async with settled(pilot, screen):
        control.clear()
        control.insert_text_at_cursor(words)


async def find(pilot: Pilot[None], screen: LaunchScreen, name: str) -> Field:
    """Goes to a setting under "more" by typing its name."""
    await pilot.press("ctrl+g")
    await until(pilot, lambda: getattr(pilot.app.focused, "id", None) == "search")
    pilot.app.screen.query_one("#search", Input).insert_text_at_cursor(name)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(getattr(pilot.app.focused, "parent", None), Field))
    assert pilot.app.focused is not None and isinstance(pilot.app.focused.parent, Field)
    return pilot.app.focused.parent


def images(root: Path, **classes: int) -> Path:
    for name, count in classes.items():
        (root / "train" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 16)).save(root / "train" / name / f"{i}.png")
    return root


def zombies() -> list[str]:
    """Children of this process that have ended and were not waited for."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            pids.append(stat.parent.name)
    return pids


def test_from_a_preset_over_a_fault_to_the_run_with_exactly_those_settings() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("slash")
        await typed(pilot, "cifar10 small")
        await pilot.press("enter", "enter")
        await sees(pilot, "cifar10-lt-if100-ipc10-small", "12,406 images", "automobile")
        await put(pilot, screen, "dataset.imbalance_factor", "0.5")
        await sees(pilot, "must be >= 1 or natural, this is 0.5", "1 problem (F8: next): imbalance")
        assert field(screen, "dataset.imbalance_factor").has_class("-fault")
        await pilot.press("tab", "ctrl+s")
        await hears(pilot, "the run is not started")
        assert pilot.app.focused is field(screen, "dataset.imbalance_factor").control, "it goes to the fault"
        assert field(screen, "dataset.imbalance_factor").control.value == "0.5" and not Path("runs").exists()
        await put(pilot, screen, "dataset.imbalance_factor", "50")
        await put(pilot, screen, "ipc", "20")
        await sees(pilot, "13,996 images", "200 synthetic", "cifar10-lt-if50-ipc20")
        # Twice, as a key that repeats: one run is started.
        await pilot.press("ctrl+s", "ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await until(pilot, lambda: Path("runs/cifar10-lt-if50-ipc20/result/metrics.json").exists())
        await until(pilot, lambda: not zombies())

    drive(test)
    assert [path.name for path in Path("runs").iterdir()] == ["cifar10-lt-if50-ipc20"]
    wanted = load_preset("cifar10-lt-if100-ipc10-small", ["dataset.imbalance_factor=50", "ipc=20"])
    assert (Path("runs") / "cifar10-lt-if50-ipc20" / "config.yaml").read_text() == dump(wanted)


@pytest.mark.parametrize(("key", "state"), [("u", "queued"), ("escape", None)])
def test_while_a_run_is_at_work_another_can_be_queued_behind_it(key: str, state: str | None) -> None:
    busy = record(Path("runs/busy"), "running", iterations=20)

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await sees(pilot, "1 run, 1 at work")
        await pilot.press("ctrl+s")
        await sees(pilot, "More than one run at once", "At work: busy", "Queue (u)")
        await pilot.press(key)
        if state is None:
            await until(pilot, lambda: pilot.app.screen is screen)
            return
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (new,) = (RunFolder(path) for path in Path("runs").iterdir() if path.name != "busy")
        await until(pilot, lambda: overview(new).state == state)
        if state == "queued":
            await sees(pilot, "it begins once no worker is at work on busy")
            let_go(busy)
            await until(pilot, lambda: overview(new).state == "done")

    drive(test)
    let_go(busy)
    assert len(list(Path("runs").iterdir())) == (1 if state is None else 2)


def test_a_sweep_is_picked_and_started_after_it_said_what_it_costs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(home / "home/presets/sweeps/mine.yaml", f"# two methods\n{SWEEP}")
    (home / "home/presets/sweeps/folder.yaml").mkdir()
    monkeypatch.setattr(worker, "SWEEP_COMMAND", (sys.executable, "-c", SUPERVISOR))

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        listen(pilot.app)
        await pilot.press("f4")
        await sees(pilot, "New sweep", "ablation")
        await hears(pilot, "a sweep is left out", "folder.yaml: cannot be read: Is a directory")
        await pilot.press("end")
        await sees(pilot, "mine", "two methods")
        await pilot.press("enter")
        await sees(pilot, "Start the sweep mine?", "8 cells: 2 x method", "one after another on", "at a time here")
        await pilot.press("y")
        folder = RunFolder(Path("runs/mine"))
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen) and folder.is_running())
        await sees(pilot, "0 of 8 cells done, 1 starting")
        folder.stop_request.touch()
        await until(pilot, lambda: not folder.is_running())

    drive(test)


def test_a_space_that_was_typed_stays_for_the_next_word() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "run.name", "my ")
        await pilot.press("r", "u", "n")
        await pilot.pause()
        assert field(screen, "run.name").control.value == "my run"

    drive(test)


def test_the_button_starts_and_the_next_name_is_free() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        screen.query_one("#start").focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await pilot.press("f3")
        await until(pilot, lambda: pilot.app.screen is screen)
        await sees(pilot, "quickstart-2", "1 run ")
        await put(pilot, screen, "run.name", "quickstart")
        await sees(pilot, "there is a run named 'quickstart'")
        await put(pilot, screen, "run.name", "../up")
        await sees(pilot, "cannot be a run's name")

    drive(test)


@pytest.mark.parametrize("size", [WIDE, SMALL])
def test_ones_own_images_by_their_path(home: Path, size: tuple[int, int]) -> None:
    images(home / "moles", benign=30, malignant=8, rare=3)

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("f6", "down", "home", "down", "enter")
        await until(pilot, lambda: screen.form.text("dataset.name") == "folder")
        await sees(pilot, "data set folder needs a path", "the folder with the class folders")
        await put(pilot, screen, "dataset.path", "moles/none")
        await sees(pilot, "there is no such folder")
        await put(pilot, screen, "dataset.path", "moles")
        await put(pilot, screen, "ipc", "5")
        if size == SMALL:
            await pilot.press("f6")
        # A fifth of each class is held out, and the whole tail is taken unless somebody asks otherwise.
        await sees(pilot, "32 images → 15 synthetic", "benign", "24", "1 class has fewer images than")
        assert "2!" in text(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))

    drive(test, size)
    settings = load_preset("runs/moles-natural-ipc5/config.yaml")
    assert settings.dataset.path == str(home / "moles") and settings.dataset.imbalance_factor == "natural"


def test_class_folders_of_any_name_stand_in_their_columns(home: Path) -> None:
    wide, sizes = "\u6f22\u5b57\u306e\u540d\u524d", {"[b]x[b]": 8, "two  blanks": 6, "x" * 60: 4}
    images(home / "odd", **{wide: 12}, **sizes)
    images(home / "controls", **{"esc\x1b[31m": 5, "dog": 5})

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        screen.take(screen.form.with_text("dataset.name", "folder").with_text("dataset.path", "odd"))
        await sees(pilot, wide, "[b]x[b]", "two  blanks", "xxx\u2026")
        assert {cell_len(line) for line in text(pilot).splitlines()} == {WIDE[0]}
        # A name that would write to the terminal is refused, and shown escaped.
        screen.take(screen.form.with_text("dataset.path", "controls"))
        await sees(pilot, r"esc\x1b[31m: the name of this", "control characters")
        assert {cell_len(line) for line in text(pilot).splitlines()} == {WIDE[0]}

    drive(test)


def test_a_preset_of_ones_own_is_listed_small_and_not_replaced_unasked(home: Path) -> None:
    path = home / "home" / "presets" / "mine.yaml"

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "ipc", "3")
        await pilot.press("ctrl+n")
        await sees(pilot, "Save as preset", "extends: quickstart")
        await typed(pilot, "quickstart")
        await pilot.press("enter")
        await sees(pilot, "there is a preset 'quickstart' already", "choose another name")
        assert "--overwrite" not in text(pilot), "the dialog has a button for that"
        await pilot.press("ctrl+u")
        await typed(pilot, "mine")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is screen and screen.form.preset == "mine")
        assert screen.form.typed == {} and screen.form.text("ipc") == "3"
        await sees(pilot, "my presets", "● mine")
        assert path.read_text() == "extends: quickstart\nipc: 3\n"
        await put(pilot, screen, "ipc", "4")
        await pilot.press("ctrl+n")
        await sees(pilot, "Save as preset")
        await typed(pilot, "mine")
        await pilot.press("enter")
        await sees(pilot, "Overwrite replaces it")
        assert path.read_text() == "extends: quickstart\nipc: 3\n", "enter alone replaces nothing"
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert path.read_text() == "extends: quickstart\nipc: 4\n"

    drive(test)


def test_a_preset_that_a_full_disk_does_not_take_can_be_saved_once_there_is_room(
    home: Path, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = home / "home" / "presets"

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("ctrl+n")
        await sees(pilot, "Save as preset")
        await typed(pilot, "mine")
        await pilot.press("enter")
        await sees(pilot, "it cannot be written: No space left on device")
        assert list(presets.iterdir()) == []
        monkeypatch.setattr(os, "fsync", lambda file: None)
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert [path.name for path in presets.iterdir()] == ["mine.yaml"]

    drive(test)


def test_a_setting_is_found_by_name_and_its_fault_when_it_is_hidden() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        assert len(screen.query(Field)) == 8, "the others are made when they are wanted"
        first = await find(pilot, screen, "image_lr")
        assert first.spec.key == "matching.image_lr"
        await sees(pilot, "step size of the synthetic images", "(official code)")
        await put(pilot, screen, "matching.image_lr", "fast")
        other = await find(pilot, screen, "num_experts")
        assert other.spec.key == "experts.num_experts"
        await put(pilot, screen, "experts.num_experts", "0")
        for block in ("#block-matching", "#block-experts", "#more"):
            screen.query_one(block).collapsed = True  # type: ignore[attr-defined]
        await sees(pilot, "more: 2 problems", "2 problems (F8: next)")
        for key in ("matching.image_lr", "experts.num_experts", "matching.image_lr"):
            await pilot.press("f8")
            await until(pilot, lambda key=key: pilot.app.focused is field(screen, key).control)
        assert field(screen, "matching.image_lr").control.value == "fast", "what was typed stays"
        more = screen.query_one(MoreSettings)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: more.title == f"more: {len(leaves()) - len(BASIC) - 3} settings")
        assert field(screen, "matching.image_lr").control.value == "5"
        await pilot.press("ctrl+z")
        await until(pilot, lambda: more.title == "more: 2 problems")

    drive(test)


def test_what_is_typed_is_not_put_back_by_an_older_form() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        own = field(screen, NAME)
        control = own.control
        assert isinstance(control, Input)
        control.focus()
        await pilot.pause()
        control.insert_text_at_cursor("ab")
        await until(pilot, lambda: screen.form.name == "ab")
        older = screen.form
        control.insert_text_at_cursor("c")
        own._edited(Input.Changed(control, "abc"))  # on its way to the form, which is shown once more before
        own.show(older.text(NAME), True, None)
        assert control.value == "abc" and control.cursor_position == 3
        await until(pilot, lambda: screen.form.name == "abc")
        own.show("new", True, None)
        assert control.value == "new", "nothing is on its way any more"

    drive(test)


def test_blocks_opened_by_hand_say_what_is_wrong_in_them() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        screen.take(screen.form.with_text("experts.num_experts", "0"))
        await sees(pilot, "more: 1 problem")
        screen.query_one("#more").collapsed = False  # type: ignore[attr-defined]
        await sees(pilot, "experts: 1 problem")

    drive(test)


def test_a_fault_has_only_its_own_field_styled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all fields open, styling all that is below a title with a fault was too slow to type through."""

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        own = await find(pilot, screen, "image_lr")
        await put(pilot, screen, "matching.image_lr", "1")
        styled, apply = set(), Stylesheet.apply

        def note(sheet: Stylesheet, node: DOMNode, **options: Any) -> None:
            styled.add(node)
            apply(sheet, node, **options)

        monkeypatch.setattr(Stylesheet, "apply", note)
        await put(pilot, screen, "matching.image_lr", "fast")
        await until(pilot, lambda: own in styled and screen.query_one(MoreSettings).title == "more: 1 problem")
        assert {node for node in styled if isinstance(node, Field)} == {own}

    drive(test)


def test_what_is_typed_ahead_reaches_the_field_that_was_asked_for_and_no_other() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "ipc", "1")
        type_ahead(
            pilot, "end", "2", "ctrl+g", *"image_lq", "backspace", "r", "enter", "7", "ctrl+g", *"num_exp", "enter", "4"
        )
        typed = {"ipc": "12", "matching.image_lr": "7", "experts.num_experts": "4"}
        await until(pilot, lambda: typed.keys() <= screen.form.typed.keys())
        assert screen.form.typed == typed
        # From a match, and out of a field by enter.
        type_ahead(pilot, "ctrl+g", *"syn_steps")
        await until(pilot, lambda: screen.query_one(Matches).size.height > 0)
        await pilot.press("tab")
        await until(pilot, lambda: isinstance(pilot.app.focused, Matches))
        type_ahead(pilot, "enter", "3", "enter", "9")
        await until(pilot, lambda: len(screen.form.typed) == 5)
        assert screen.form.typed.items() > (typed | {"matching.syn_steps": "3"}).items()

    drive(test)


def test_each_kind_of_field_takes_what_the_settings_take() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await find(pilot, screen, "augmentation")
        await pilot.press("space")
        await find(pilot, screen, "rate_decay")
        await pilot.press("enter", "home", "enter")
        await find(pilot, screen, "test_per_class")
        await typed(pilot, "20")
        async with settled(pilot, screen):
            pass
        assert screen.form.typed == {
            "dataset.augmentation": "crop, cutout, scale, rotate",
            "matching.rate_decay": "none",
            "dataset.test_per_class": "20",
        }
        await pilot.press("ctrl+e")
        await sees(pilot, "Dry run of quickstart", "[crop, cutout, scale, rotate]", "typed here", "quickstart.yaml:5")
        await pilot.press("escape")
        assert not Path("runs").exists()

    drive(test, HUGE)


def test_no_value_is_cut_where_the_pane_has_room_below_and_own_images_stand_second() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        form = screen.query_one("#form")
        right = [line[form.region.x : form.region.right] for line in text(pilot).split("\n")]
        shown = "\n".join(right)
        for words in ("digits · 10 classes, 8 px", "they come with the program", "ltdd · DAM + expert decoupling"):
            assert words in shown, shown
        assert "…" not in shown
        await pilot.press("f6", "enter")
        await sees(pilot, "folder · your own images", "imagenet-lt · 1000 classes, 64 px")
        await pilot.press("down", "enter")
        await hears(pilot, "settings of the preset own-images; ctrl+z brings back the others")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: screen.form.preset == "quickstart" and not screen.form.typed)

    drive(test)


def test_in_a_large_terminal_all_blocks_of_settings_are_in_sight() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await sees(pilot, "find a setting", "classifier experts: ", "evaluate: ")

    drive(test, HUGE)


def test_presets_that_this_machine_cannot_finish_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preset_list, "memory_gib", lambda device: 16.0)
    rows = {row.name: row for row in preset_list.preset_rows(device_here("cpu"))[0]}
    marked = {name: (row.takes_too_long, row.needs_too_much) for name, row in rows.items()}
    assert marked["quickstart"] == marked["own-images"] == (False, False)
    assert marked["imagenet-lt-if5-ipc10"] == (True, True) and marked["cifar10-lt-if10-ipc10"] == (True, False)
    picker = preset_list.PresetPicker()
    picker._width = 60
    large, small = (picker._line(rows[name]) for name in ("imagenet-lt-if5-ipc10", "quickstart"))
    assert large.plain.endswith("!") and small.plain.endswith("0.8 ")
    assert preset_list.FADED in {str(span.style) for span in large.spans if span.start == 0}
    assert not [span for span in small.spans if span.start == 0]


def test_choosing_another_preset_can_be_taken_back() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "seed", "7")
        screen.query_one(PresetList).focus()
        await pilot.press("g", "j", "j", "enter")
        await until(pilot, lambda: screen.form.preset == "cifar10-lt-if10-ipc10")
        await sees(pilot, "58.1 %")
        assert screen.form.typed == {}
        await pilot.press("ctrl+z")
        await until(pilot, lambda: screen.form.preset == "quickstart")
        assert field(screen, "seed").control.value == "7"

    drive(test)


def test_a_preset_with_faults_is_left_out_and_told(home: Path) -> None:
    (home / "home" / "presets").mkdir(parents=True)
    (home / "home" / "presets" / "bad.yaml").write_text("ipc: none\n")

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await hears(pilot, "bad.yaml:1: ipc")
        assert "quickstart" in text(pilot)

    drive(test)


def test_many_classes_are_a_silhouette_over_bars_that_scroll() -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("slash")
        await typed(pilot, "cifar100 if50-ipc50")
        await pilot.press("enter", "enter")
        await sees(pilot, "class 0 ", "class 99", "▁", "classes have fewer")
        rows = screen.query_one("#tail-rows")
        rows.focus()
        await pilot.press("end")
        await until(pilot, lambda: rows.scroll_offset.y > 50)
        await sees(pilot, "10!")

    drive(test)


@pytest.mark.parametrize("size", [SMALL, (20, 5)])
def test_a_window_that_shrinks_and_grows_again(size: tuple[int, int]) -> None:
    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await put(pilot, screen, "ipc", "0")
        await pilot.resize_terminal(*size)
        await pilot.pause(0.1)
        await pilot.press("ctrl+s", "f6", "f6", "f6")
        await pilot.resize_terminal(*WIDE)
        await sees(pilot, "must be >= 1, this is 0", "What you will get", "Presets")

    drive(test)


@pytest.mark.usefixtures("no_garbage_collection")
def test_typing_never_waits_for_a_large_folder_to_be_counted(home: Path) -> None:
    for name in ("head", "tail"):
        folder = home / "large" / "train" / name
        folder.mkdir(parents=True)
        for i in range(25_000):
            os.close(os.open(folder / f"{i}.png", os.O_CREAT | os.O_WRONLY))

    async def test(pilot: Pilot[None], screen: LaunchScreen) -> None:
        await pilot.press("f6", "down", "home", "down", "enter", "tab")
        await pilot.pause(0.3)
        async with turns_of_the_loop() as late:
            await typed(pilot, "large")
            await sees(pilot, "40,000 images")
            await put(pilot, screen, "ipc", "12")
            await sees(pilot, "24 synthetic")
        assert len(late) > 20
        assert max(late) < 0.15, sorted(late)[-5:]

    drive(test)
