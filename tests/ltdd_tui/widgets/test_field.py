"""Boxes to tick show by a sign whether they are ticked, so that NO_COLOR takes nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.widgets import RadioSet
from textual.widgets.selection_list import Selection

import ltdd_tui
from ltdd_tui.widgets.field import RadioChoice, TickList


class Shown(App[None]):
    CSS = "TickList { text-wrap: wrap; width: 20; height: 5; }"

    def compose(self) -> ComposeResult:
        yield TickList(Selection("one, in two lines", 1, True), Selection("two", 2))
        with RadioSet():
            yield RadioChoice("this", value=True)
            yield RadioChoice("that")


@pytest.mark.asyncio
async def test_what_is_not_ticked_holds_no_sign() -> None:
    def boxes() -> dict[str, str]:
        lines = [strip.text for strip in pilot.app.screen._compositor.render_strips()]
        named = {name: line for line in lines for name in ("one", "two", "this", "that") if name in line}
        return {name: line[: line.index(name)].strip("▊▎ ") for name, line in named.items()}

    async with Shown().run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        assert boxes() == {"one": "[x]", "two": "[ ]", "this": "(●)", "that": "( )"}
        await pilot.press("down", "space", "tab", "down", "space")
        await pilot.click(TickList, offset=(2, 2))
        await pilot.click(TickList, offset=(2, 2))
        await pilot.pause()
        assert boxes() == {"one": "[x]", "two": "[x]", "this": "( )", "that": "(●)"}


def test_no_other_boxes_are_used() -> None:
    sources = [path for path in Path(ltdd_tui.__file__).parent.rglob("*.py") if path.name != "field.py"]
    used = {
        name
        for path in sources
        for name in (" SelectionList(", " Checkbox(", " RadioButton(")
        if name in path.read_text()
    }
    assert used == set()
