"""The page that looks a folder of one's own images over: from an empty list of runs to a form that suits them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input
from textual_fspicker.parts import DirectoryNavigation

from engine.run.adaptation import Choice
from engine.run.device_profiles import Device
from engine.run.errors import InputError
from engine.run.image_inventory import Inventory
from engine.run.presets import load_preset
from ltdd_tui.app import LtddApp
from ltdd_tui.launch import own_images, plan
from ltdd_tui.screens.launch import folder_page
from ltdd_tui.screens.launch.folder_page import FolderPage, PickFolder
from ltdd_tui.screens.launch.screen import LaunchScreen
from ltdd_tui.screens.run.screen import RunScreen
from tests.ltdd_tui.driving import frees, sees, until

SMALL, WIDE = (80, 24), (120, 40)


@pytest.fixture(autouse=True)
def _same_settings_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from images and machine is tested elsewhere."""

    def adapt(found: Inventory, device: Device, minutes: float) -> list[Choice]:
        return [
            Choice("ipc", 2, f"{2 * len(found.train)} images stand for {sum(found.train)}"),
            Choice("matching.iterations", round(10 * minutes), f"what {minutes:g} minutes leave"),
            Choice("bounds.losses", ["balanced_softmax"], "to compare with training on everything"),
        ]

    monkeypatch.setattr(own_images, "adapt", adapt)
    monkeypatch.setattr(own_images, "estimate_of", lambda *_: None)
    monkeypatch.setattr(own_images, "too_few", lambda minutes, _: "the minutes are too few" if minutes < 10 else "")
    monkeypatch.setattr(plan, "estimate_or_none", lambda *_: None)
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)


@pytest.fixture
def moles(tmp_path: Path) -> Path:
    """Three classes with a test folder: photographs of a size, but one of them gray, and one stands there twice."""
    for split, counts in (("train", (40, 12, 4)), ("test", (10, 10, 2))):
        for place, (name, count) in enumerate(zip(("benign", "malignant", "very rare kind"), counts, strict=True)):
            folder = tmp_path / "moles" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                mode, color = ("L", 90) if i == 5 else ("RGB", (200 - 40 * place, 90 + i, 60 * place + i))
                Image.new(mode, (48, 40), color).save(folder / f"{split}-{i}.png")
    (tmp_path / "moles/train/benign/copy.png").write_bytes((tmp_path / "moles/train/benign/train-0.png").read_bytes())
    return tmp_path / "moles"


@asynccontextmanager
async def looking_at(path: Path, size: tuple[int, int] = WIDE) -> AsyncIterator[tuple[Pilot[None], LaunchScreen]]:
    """The page of a folder, above the form."""
    async with LtddApp(Path("runs"), device="cpu").run_test(size=size) as pilot:
        form = pilot.app.screen
        assert isinstance(form, LaunchScreen)
        form.action_pick_folder(str(path))
        await until(pilot, lambda: isinstance(pilot.app.screen, FolderPage))
        yield pilot, form


@pytest.mark.asyncio
async def test_from_an_empty_list_of_runs_to_a_run_in_six_keys(moles: Path) -> None:
    async with LtddApp(Path("runs"), device="cpu").run_test(size=WIDE) as pilot:
        await pilot.press("f2")
        await sees(pilot, "No runs yet", "ctrl+o", "your own images")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(pilot.app.screen, PickFolder))
        await sees(pilot, "moles", "Take it (s)")
        # Also of train/ itself, the folder above is meant: its test images lie beside it.
        pilot.app.screen.query_one(DirectoryNavigation).location = moles / "train"
        await pilot.press("s")
        await sees(pilot, "3 classes, 57 images", "very rare kind", "10 minutes leave", "6 images stand for 57")
        await sees(pilot, "copy.png", "gray", "fewer than 10 test images")
        await pilot.press("u")
        await sees(pilot, "own-images", "changed", "• images in")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
    (folder,) = Path("runs").iterdir()
    settings = load_preset(str(folder / "config.yaml"))
    assert settings.dataset.path == str(moles) and settings.ipc == 2 and settings.matching.iterations == 100
    assert settings.bounds.losses == ("balanced_softmax",)


@pytest.mark.asyncio
async def test_the_form_takes_the_settings_for_other_minutes_or_the_folder_alone_or_nothing(moles: Path) -> None:
    async with looking_at(moles) as (pilot, form):
        before = form.form
        await sees(pilot, "what 10 minutes leave")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is form)
        assert form.form is before, "who leaves the page finds the form as it was"
        form.take(form.form.with_text("dataset.name", "folder"))
        await form.go_to("dataset.path")
        await pilot.press(*"moles", "enter")
        await sees(pilot, "what 10 minutes leave")
        await pilot.press("f")
        await until(pilot, lambda: pilot.app.screen is form)
        assert form.form.text("dataset.path") == "moles" and "ipc" not in form.form.typed
        await pilot.press("ctrl+o")
        await sees(pilot, "Take it (s)")
        await pilot.press("s")
        await sees(pilot, "what 10 minutes leave")
        await pilot.press("m", "ctrl+u", "3")
        await sees(pilot, "! the minutes are too few", "what 3 minutes leave")
        await pilot.press("0")
        await sees(pilot, "what 30 minutes leave")
        # No number is none of minutes: what was asked for last stays.
        await pilot.press("backspace", "backspace", "enter", "u")
        await until(pilot, lambda: form.form.text("matching.iterations") == "300")


@pytest.mark.asyncio
async def test_a_page_that_is_left_is_freed_with_all_that_it_drew(moles: Path) -> None:
    async with looking_at(moles) as (pilot, _):
        await sees(pilot, "what 10 minutes leave")
        await frees(pilot, "escape")


@pytest.mark.asyncio
async def test_a_look_that_takes_long_shows_how_far_it_is_and_ends_when_it_is_left(
    moles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def endless(dataset: object, progress: Callable[[int, int], None]) -> Inventory:
        try:
            while True:
                progress(4120, 20000)
                time.sleep(0.01)
        except BaseException as error:
            ended.append(error)
            raise

    monkeypatch.setattr(folder_page, "inventory", endless)
    async with looking_at(moles) as (pilot, form):
        await sees(pilot, "4,120 of 20,000 files looked at")
        await pilot.press("u")
        assert isinstance(pilot.app.screen, FolderPage), "there is nothing to use yet"
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is form and bool(ended))


@pytest.mark.asyncio
async def test_what_a_run_would_refuse_is_told_and_cannot_be_used(moles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (moles / "train/empty").mkdir()
    async with looking_at(moles) as (pilot, _):
        await sees(pilot, "this class has no images", "hint: add some")
        await pilot.press("u")
        assert isinstance(pilot.app.screen, FolderPage)

    def refuse(*_: object) -> Inventory:
        raise InputError("there is no such folder", "moles", "give another one")

    monkeypatch.setattr(folder_page, "inventory", refuse)
    async with looking_at(moles, SMALL) as (pilot, _):
        await sees(pilot, "moles: there is no such folder", "hint: give another one")


def shown(keys: list[str], word: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def before(pilot: Pilot[None]) -> None:
        form = pilot.app.screen
        assert isinstance(form, LaunchScreen)
        form.action_pick_folder("moles")
        await until(pilot, lambda: getattr(pilot.app.screen, "_proposal", None) is not None)
        await pilot.press(*keys)
        await sees(pilot, word)
        await pilot.pause(0.3)

    return before


@pytest.mark.parametrize(
    ("size", "keys", "word"),
    [(SMALL, [], "very rare"), (SMALL, ["f6"], "minutes")],
    ids=["80x24-classes", "80x24-settings"],
)
def test_how_it_looks(
    snap_compare: Callable[..., bool], moles: Path, size: tuple[int, int], keys: list[str], word: str
) -> None:
    assert snap_compare(LtddApp(Path("runs"), device="cpu"), terminal_size=size, run_before=shown(keys, word))
