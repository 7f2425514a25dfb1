"""What a change of the list of many runs costs: the OptionList of the screen, and a DataTable with the same rows.

`python -m benchmarks.run_list` prints CPU milliseconds of a change of all rows, screen included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from textual.widget import Widget
from textual.widgets import DataTable

from benchmarks.panels import OneWidget
from ltdd_tui.runs.index import Overview, RunEntry
from ltdd_tui.screens.runs.table import COLUMNS, Order, RunList

ROWS, CHANGES, SIZE = 500, 20, (120, 40)
RUN = Overview("run", "done", None, "cifar10", 100.0, 10, "ltdd", 53.4, 0.3, 0.0, "/runs/run", seed=0)


def rows(change: int) -> list[RunEntry]:
    """All runs as they are after a change, none as it was before."""
    return [RunEntry(replace(RUN, name=f"run-{change}-{place:03d}"), 0.0) for place in range(ROWS)]


async def milliseconds(widget: Widget, show: Callable[[list[RunEntry]], None]) -> float:
    """CPU time of a change, with the time that the screen takes to follow."""
    async with OneWidget(widget).run_test(size=SIZE) as pilot:
        show(rows(0))
        await pilot.pause()
        began = time.process_time()
        for change in range(1, CHANGES + 1):
            show(rows(change))
            await pilot.pause()
        return (time.process_time() - began) / CHANGES * 1000


def main() -> None:
    """Prints both figures."""
    runs, table = RunList(), DataTable[str](cursor_type="row")

    def fill(entries: list[RunEntry]) -> None:
        if not table.columns:
            table.add_columns(*(column.title for column in COLUMNS))
        table.clear()
        for entry in entries:
            table.add_row(*(column.text(entry, 0.0) for column in COLUMNS), key=entry.run.name)

    print(f"{ROWS} rows, {SIZE[0]}x{SIZE[1]}, CPU milliseconds a change")
    print(f"RunList    {asyncio.run(milliseconds(runs, lambda entries: runs.show(entries, (), Order()))):6.1f}")
    print(f"DataTable  {asyncio.run(milliseconds(table, fill)):6.1f}")


if __name__ == "__main__":
    main()
