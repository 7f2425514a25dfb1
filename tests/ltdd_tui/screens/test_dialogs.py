"""What dialogs give for what is typed and ticked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from engine.run.folder import RunFolder
from ltdd_tui.runs.results import FinalFigures
from ltdd_tui.screens.dialogs import Confirm
from ltdd_tui.screens.result_dialogs import Evaluate, EvaluationPlan, Export, ExportPlan, Rename
from tests.ltdd_tui.driving import sees, text, typed

pytestmark = pytest.mark.asyncio
NONE = FinalFigures({}, "convnet", "stored", 3)


@asynccontextmanager
async def asked(dialog: ModalScreen[Any], size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[Pilot, list]]:
    """The dialog on an empty app, and what it has given."""
    app: App[None] = App()
    async with app.run_test(size=size) as pilot:
        given: list[Any] = []
        await app.push_screen(dialog, given.append)
        await pilot.pause(0.05)
        yield pilot, given


@pytest.mark.parametrize(
    ("dangerous", "keys", "answer"),
    [
        (False, ["enter"], True),
        (False, ["left", "enter"], False),
        (False, ["n"], False),
        (False, ["escape"], False),
        (True, ["enter"], False),
        (True, ["y"], True),
        (True, ["tab", "enter"], True),
    ],
)
async def test_what_does_harm_is_never_the_answer_of_a_mere_enter(
    dangerous: bool, keys: list[str], answer: bool
) -> None:
    async with asked(Confirm("Delete [b]?", "1 MB", dangerous=dangerous)) as (pilot, given):
        assert "Delete [b]?" in text(pilot)
        await pilot.press(*keys)
        assert given == [answer]


async def test_a_plan_to_evaluate_holds_what_is_ticked() -> None:
    folder = RunFolder("/runs/one")
    known = FinalFigures({("stored", "convnet"): "52.9 ± 0.4"}, "convnet", "stored", 3)
    async with asked(Evaluate([folder], known, "cpu")) as (pilot, given):
        await sees(pilot, "convnet   52.9 ± 0.4", "resnet18  not yet", "stored  52.9 ± 0.4", "online  not yet")
        await pilot.press("space", "down", "down", "space", "tab")
        await pilot.press("down", "down", "space", "tab")
        await pilot.press("backspace", "7", "enter")
        ticked = ("convnet", "resnet18", "vgg11"), ("stored", "online")
        assert given == [EvaluationPlan(*ticked, 7, "cpu")], "the first new network and the run's regime were ticked"
        arguments = given[0].arguments(folder)
        assert arguments[2:4] == ["--arch", "convnet,resnet18,vgg11"] and arguments[-2:] == [
            "--labels",
            "stored,online",
        ]


async def test_a_plan_for_the_runs_own_regime_alone_names_none() -> None:
    folder = RunFolder("/runs/one")
    async with asked(Evaluate([folder], NONE, "cpu")) as (pilot, given):
        await pilot.press("tab", "tab", "enter")
        assert given == [EvaluationPlan(("convnet",), (), 3, "cpu")] and "--labels" not in given[0].arguments(folder)


async def test_nothing_ticked_and_no_number_are_told_in_place() -> None:
    async with asked(Evaluate([RunFolder("/runs/one")], NONE, "cpu")) as (pilot, given):
        await pilot.press("space", "tab", "tab", "enter")
        await sees(pilot, "tick a network or more")
        await pilot.press("shift+tab", "down", "space", "shift+tab", "space", "tab", "tab", "enter")
        await sees(pilot, "tick a label regime or more")
        await pilot.press("shift+tab", "space", "tab", "backspace", "0", "enter")
        await sees(pilot, "a whole number from 1")
        assert given == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return RunFolder(tmp_path / "runs" / "one")


async def test_the_folder_proposed_follows_the_form_until_one_types(folder: RunFolder, tmp_path: Path) -> None:
    async with asked(Export([folder], finished=True)) as (pilot, given):
        await sees(pilot, "~/one-images")
        await pilot.press("down", "enter")
        await sees(pilot, "~/one-pt")
        await pilot.press("tab")
        await typed(pilot, "-2")
        await pilot.press("shift+tab", "down", "enter")
        await sees(pilot, "~/one-pt-2")
        await pilot.press("tab", "enter")
        assert given == [ExportPlan("tensorboard", tmp_path / "one-pt-2")]


async def test_of_an_unfinished_run_only_its_course_can_be_written(folder: RunFolder, tmp_path: Path) -> None:
    async with asked(Export([folder], finished=False)) as (pilot, given):
        await sees(pilot, "the run has no result yet", "~/one-tensorboard")
        await pilot.press("up", "enter", "tab", "enter")
        assert given == [ExportPlan("tensorboard", tmp_path / "one-tensorboard")]


@pytest.mark.parametrize(("make", "fault"), [(None, "name a folder"), (lambda path: path.write_text(""), "is a file")])
async def test_a_place_that_cannot_be_one_is_told(
    folder: RunFolder, tmp_path: Path, make: Callable | None, fault: str
) -> None:
    if make:
        make(tmp_path / "one-images")
    async with asked(Export([folder], finished=True)) as (pilot, given):
        await pilot.press("tab")
        if make is None:
            await pilot.press("ctrl+u")
        await pilot.press("enter")
        await sees(pilot, fault)
        assert given == []


async def test_a_path_that_no_system_takes_and_a_name_of_many_bytes_break_nothing(
    folder: RunFolder, tmp_path: Path
) -> None:
    for target in ("x" * 300, "/".join(["deep"] * 900), "~nobody-of-that-name/x", "-", "\u6f22" * 99):
        async with asked(Export([folder], finished=True)) as (pilot, given):
            await pilot.press("tab")
            pilot.app.screen.query_one("#target", Input).value = target
            assert pilot.app.screen._nearest() == tmp_path
            await pilot.press("enter")
            assert [plan.target for plan in given] == [tmp_path / target]
    async with asked(Rename(folder)) as (pilot, given):
        pilot.app.screen.query_one(Input).value = "\u6f22" * 99
        await sees(pilot, "cannot be a run's name")
        await pilot.press("enter", "escape")
        assert given == [None]


@pytest.mark.parametrize(
    "make", [lambda f: Confirm("Sure?"), lambda f: Export([f], True), lambda f: Evaluate([f], NONE, "")]
)
async def test_dialogs_fit_where_hardly_anything_does(folder: RunFolder, make: Callable) -> None:
    async with asked(make(folder), (30, 8)) as (pilot, given):
        await pilot.resize_terminal(10, 3)
        await pilot.resize_terminal(80, 24)
        await pilot.press("escape")
        assert given in ([None], [False])
