"""The first line of the launch screen: the program, and what it has to work with."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import on, work
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from ltdd_tui.machine import experts_gib
from ltdd_tui.runs import run_folders
from ltdd_tui.wording import gibibytes


class TopLine(Static):
    """How many runs there are, what the cached experts take, and what `auto` computes on."""

    DEFAULT_CSS = """
    TopLine { height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self, runs_dir: Path, device: str) -> None:
        super().__init__()
        self._runs_dir, self._facts = runs_dir, device

    def on_mount(self) -> None:
        """Draws what is known, and counts the rest."""
        self._device = self._facts
        self.count()

    @work(exclusive=True, group="count")
    async def count(self) -> None:
        """Counts runs and cache anew, in a thread."""
        runs, gib = await asyncio.to_thread(self._counted)
        self._facts = f"{runs} run{'' if runs == 1 else 's'}   experts' cache {gibibytes(gib)}   {self._device}"
        self._draw()

    def _counted(self) -> tuple[int, float]:
        return sum(1 for _ in run_folders(self._runs_dir)), experts_gib()

    @on(Resize)
    def _draw(self) -> None:
        name = "ltdd-tui"
        room = self.content_size.width - len(name)
        facts = self._facts if len(self._facts) < room else self._device
        self.update(Content.assemble((name, "bold $primary"), (facts[:room].rjust(room), "$foreground 60%")))
