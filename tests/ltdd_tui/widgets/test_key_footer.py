"""The line of keys: it is made anew at each change of focus, and what it showed before goes."""

from __future__ import annotations

import gc

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets._footer import FooterKey

from ltdd_tui.widgets.panes import KeyFooter


class OneKey(App[None]):
    BINDINGS = [Binding("x", "bell", "beep")]

    def compose(self) -> ComposeResult:
        yield KeyFooter()


@pytest.mark.asyncio
async def test_keys_that_are_no_longer_shown_are_not_kept() -> None:
    app = OneKey()
    async with app.run_test() as pilot:
        for _ in range(10):
            app.query_one(KeyFooter).refresh(recompose=True)
            await pilot.pause()
        gc.collect()
        shown = len(app.query(FooterKey))
        kept = sum(isinstance(own, FooterKey) and own.app is app for own in gc.get_objects())
        assert shown > 0 and kept <= 2 * shown
