"""The two ways out: stdout is data, stderr is everything else. NO_COLOR means no colors and no bold either."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

from rich.console import Console, RenderableType
from rich.table import Table

from engine.run.estimate import Estimate
from engine.run.metrics import GROUPS
from ltdd_tui.formatting import duration, factor_name, mean_and_std, percent, stage_name
from ltdd_tui.runs.figures import Row
from ltdd_tui.runs.index import Overview

PIPE_COLUMNS = 200


def data_console() -> Console:
    """stdout."""
    return _console(sys.stdout)


def note_console() -> Console:
    """stderr."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    """Wide in a pipe, so that no table is cut there; brackets in names are only brackets."""
    return Console(
        file=file,
        width=None if file.isatty() else PIPE_COLUMNS,
        color_system=_colors(),
        highlight=False,
        markup=False,
        emoji=False,
    )


def _colors() -> Literal["auto"] | None:
    return None if os.environ.get("NO_COLOR") else "auto"


def show(renderable: RenderableType) -> None:
    """Prints a table or a text to stdout."""
    data_console().print(renderable)


def note(text: str) -> None:
    """Prints one line, as it is, to stderr."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Prints `value` to stdout as indented JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))


# Tables and bars for the command line, drawn from rows and overviews; nothing is computed here.


BAR_COLUMNS = 40
DEFAULT = "default"


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table without frames; the columns named in `right` are set flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return table


def result_table(rows: Iterable[Row]) -> Table:
    """One row a set: accuracy with its spread, and by group, in percent."""
    figures = ("accuracy %", "n", *GROUPS, "iteration")
    table = plain_table("set", *figures, right=figures)
    for row in rows:
        table.add_row(
            row.label,
            mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats),
            str(row.repeats),
            *(percent(row.groups.get(group)) for group in GROUPS),
            "" if row.iteration is None else str(row.iteration),
        )
    return table


def class_table(names: Sequence[str], counts: Sequence[int], rows: Sequence[Row]) -> Table:
    """One row a class from head to tail: a bar for the last of `rows`, then a column for each."""
    labels = [row.label for row in rows]
    table = plain_table("class", "images", "", *labels, right=("images", *labels))
    for place in sorted(range(len(counts)), key=lambda place: (-counts[place], place)):
        values = [row.per_class[place] if place < len(row.per_class) else None for row in rows]
        shown = values[-1] if values else None
        table.add_row(
            names[place] if place < len(names) else str(place),
            str(counts[place]),
            "#" * round((shown or 0.0) / 100 * BAR_COLUMNS),
            *(percent(value) for value in values),
        )
    return table


def expected_line(expected: Mapping[str, Any] | None, final: float | None) -> str | None:
    """What a publication reports, beside what came out; None where nothing is known."""
    if not expected:
        return None
    here = f"here {final:.1f} ({final - expected['accuracy']:+.1f})" if final is not None else "not reached yet"
    note = f"; {expected['note']}" if expected.get("note") else ""
    return (
        f"published {expected['accuracy']:.1f} (best checkpoint on the test set) [{expected['source']}], {here}{note}"
    )


def runs_table(found: Iterable[Overview]) -> Table:
    """One row a run."""
    table = plain_table("name", "state", "stage", "cell", "method", "accuracy %", right=("accuracy %",))
    for run in found:
        accuracy = "" if run.accuracy_mean is None else mean_and_std(run.accuracy_mean, run.accuracy_std, 2)
        table.add_row(run.name, run.state, stage_name(run.stage or ""), run.cell, run.method or "?", accuracy)
    return table


def preset_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row a preset; time and memory are estimates."""
    table = plain_table(
        "preset",
        "data set",
        "IF",
        "IPC",
        "method",
        "published %",
        "time",
        "GiB",
        right=("IF", "IPC", "published %", "time", "GiB"),
    )
    for row in rows:
        cost = row["estimate"]
        table.add_row(
            row["name"],
            row["dataset"],
            factor_name(row["imbalance_factor"]),
            str(row["ipc"]),
            row["method"],
            percent(row["expected"]),
            duration(cost["total_seconds"]),
            percent(cost["memory_gib"]),
        )
    return table


def settings_table(values: Mapping[str, Any], origins: Mapping[str, str]) -> Table:
    """One row a setting: its dotted key, its value and where that came from."""
    table = plain_table("setting", "value", "from")
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        table.add_row(key, shown, origins.get(key, DEFAULT))
    return table


def estimate_table(found: Estimate, device: str) -> Table:
    """Time by stage, memory, disk, and how many real images one synthetic image stands for."""
    table = plain_table("what", f"estimate for {device}", right=(f"estimate for {device}",))
    for stage, seconds in found.stage_seconds.items():
        table.add_row(stage_name(stage), duration(seconds))
    table.add_row("in all", duration(found.total_seconds))
    if found.compile_seconds:
        table.add_row("  of it compiling", duration(found.compile_seconds))
    table.add_row("memory", f"{found.memory_gib:.1f} GiB")
    table.add_row("disk", f"{found.disk_gib:.2f} GiB")
    table.add_row("real images for each synthetic one", f"{found.compression_ratio:.1f}")
    return table


def seconds_table(seconds: Mapping[str, float], estimated: Mapping[str, float] | None = None) -> Table:
    """Seconds of work by stage, and their sum, beside what was estimated before the run began."""
    columns = ("time", "estimated") if estimated else ("time",)
    table = plain_table("stage", *columns, right=columns)
    for name, value in seconds.items():
        table.add_row(stage_name(name), duration(value), *([duration(estimated.get(name))] if estimated else []))
    sums = [seconds, estimated] if estimated else [seconds]
    table.add_row("in all", *(duration(sum(column.values())) for column in sums))
    return table
