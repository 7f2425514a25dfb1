"""What the commands print: data such as tables and JSON to stdout, everything else to stderr.

Commands print by these functions alone, which let no control character through to a terminal: names come from files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table

from engine.run.errors import escaped, escaped_lines
from engine.run.estimate import Estimate
from engine.run.metrics import FEW_TEST_IMAGES, GROUPS, class_intervals, interval_text
from engine.run.presets import DEFAULT
from engine.run.scores import PARTS, Scores
from ltdd_tui.formatting import duration, factor_name, mean_and_std, percent, stage_name
from ltdd_tui.runs.figures import beyond_published, head_to_tail
from ltdd_tui.runs.index import Overview
from ltdd_tui.runs.rows import Row, has_regimes
from ltdd_tui.runs.tables import accuracy_in, regimes_of

PIPE_COLUMNS = 200


class _EscapingConsole(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # Those that rich makes itself, as to move the cursor, are marked.
            yield segment if segment.control else segment._replace(text=escaped_lines(segment.text))


class _EscapingTable(Table):
    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        # Before it is laid out: escaped text is wider, and a line end would begin another row.
        super().add_row(*(escaped(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def console(file: TextIO) -> Console:
    """A console that prints text as it is: brackets in names are no markup, and NO_COLOR means no bold either."""
    return _EscapingConsole(
        file=file,
        # Wide in a pipe, so that no table is cut there.
        width=None if file.isatty() else PIPE_COLUMNS,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_data(renderable: RenderableType) -> None:
    """Prints a table or a text to stdout."""
    console(sys.stdout).print(renderable)


def print_json(value: Any) -> None:
    """Prints `value` to stdout as indented JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_text(text: str) -> None:
    """Prints CSV, YAML, JSON lines or paths to stdout: to a file or a pipe as they are."""
    print(escaped_lines(text) if sys.stdout.isatty() else text, flush=True)


def print_note(text: str) -> None:
    """Prints a message for the person to stderr."""
    print(escaped_lines(text), file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# The tables. Nothing is computed here: rows and estimates come in as they are shown.

BAR_COLUMNS = 40


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table without borders; the columns named in `right` are right-aligned."""
    table = _EscapingTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(escaped(column), justify="right" if column in right else "left", no_wrap=True)
    return table


def result_table(rows: Iterable[Row]) -> Table:
    """One row per set: accuracy with its standard deviation, and by class group, in percent.

    A column tells the label regime of each row where there is another than `stored`.
    """
    rows = list(rows)
    labels = ("labels",) if has_regimes(rows) else ()
    figures = ("accuracy %", "n", *GROUPS, "iteration")
    table = plain_table("set", *labels, *figures, right=figures)
    for row in rows:
        table.add_row(
            row.title,
            *([row.labels or "-"] if labels else []),
            mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats),
            str(row.repeats),
            *(percent(row.groups.get(group)) for group in GROUPS),
            "" if row.iteration is None else str(row.iteration),
        )
    return table


def class_table(
    names: Sequence[str], counts: Sequence[int], test_counts: Sequence[int], rows: Sequence[Row]
) -> RenderableType:
    """One row per class from head to tail: a bar for the last of `rows`, then a column of percents for each.

    Percents on very few test images have their interval. `test_counts` may be empty: older runs have none.
    """
    labels = [row.title for row in rows]
    images = ("images", "test") if test_counts else ("images",)
    table = plain_table("class", *images, "", *labels, right=(*images, *labels))
    # Names and figures come from files, whose lists may be shorter than the counts.
    columns = [(row.per_class, class_intervals(row.per_class, test_counts)) for row in rows]
    for index in head_to_tail(counts):
        cells = [(own[index], intervals[index]) if index < len(own) else (None, None) for own, intervals in columns]
        last = cells[-1][0] if cells else None
        table.add_row(
            names[index] if index < len(names) else str(index),
            str(counts[index]),
            *([str(test_counts[index])] if index < len(test_counts) else ["-"] if test_counts else []),
            "#" * round((last or 0.0) / 100 * BAR_COLUMNS),
            *(percent(value) + (f" ({interval_text(interval)})" if interval else "") for value, interval in cells),
        )
    if not any(0 < count < FEW_TEST_IMAGES for count in test_counts):
        return table
    # Not the table's caption, which would be broken at the width of the table.
    note = f"(low-high): 95 % interval (Wilson) of an accuracy on fewer than {FEW_TEST_IMAGES} test images"
    return Group(table, note)


def published_line(
    expected: Mapping[str, Any] | None, final: float | None, otherwise: str = "not reached yet"
) -> str | None:
    """The published accuracy beside the one measured here, in percent; None where nothing was published.

    `otherwise`: what is said where there is no final accuracy.
    """
    if not expected:
        return None
    beyond = beyond_published(final, expected["accuracy"])
    here = otherwise if beyond is None else f"here {percent(final)} ({beyond:+.1f})"
    remark = f"; {expected['note']}" if expected.get("note") else ""
    published = f"published {expected['accuracy']:.1f} (best checkpoint on the test set) [{expected['source']}]"
    return f"{published}, {here}{remark}"


def scores_table(scores: Scores) -> Table:
    """One row for each evaluation that the scores are made from."""
    figures = ("accuracy %", "n", "step size")
    table = plain_table("trained on", *figures, "", right=figures)
    for name, part in scores.parts.items():
        accuracy = mean_and_std(part.accuracy_mean, part.accuracy_std, part.repeats)
        searched = "searched" if part.searched else ""
        table.add_row(PARTS.get(name, name), accuracy, str(part.repeats), f"{part.learning_rate:.3g}", searched)
    return table


def scores_lines(scores: Scores) -> list[str]:
    """Both scores with what they are made from, in percentage points, a line each."""
    ior, plain = f"{100 * scores.ior:+.1f}", f"{100 * scores.plain_gain:+.1f}"
    hlr = f"{100 * abs(scores.hlr):.1f} {'below' if scores.hlr >= 0 else 'above'}"
    under = f"{scores.labels} labels, {scores.arch}, n={scores.repeats}"
    return [
        f"LRS {scores.lrs:.3f}: {ior} over random images (IOR), {hlr} all images with hard labels (HLR); {under}",
        f"ARS {scores.ars:.3f}: {ior} over random images, {plain} without augmentation; {under}",
    ]


def runs_table(runs: Iterable[Overview]) -> Table:
    """One row per run; where there are label regimes beside `stored`, with a column for each."""
    runs = list(runs)
    tags = ["tags"] if any(run.tags for run in runs) else []
    regimes = regimes_of(runs)
    titles = [f"{labels} labels %" for labels in regimes] or ["accuracy %"]
    table = plain_table("name", "state", "stage", "cell", "method", *titles, *tags, right=titles)
    for run in runs:
        figures = {labels: accuracy_in(run, labels) for labels in regimes or [run.labels]}
        accuracies = [
            "" if mean is None else mean_and_std(mean, std, 2) + " diverged" * (run.diverged and labels == run.labels)
            for labels, (mean, std) in figures.items()
        ]
        cells = (run.name, run.status, stage_name(run.stage or ""), run.cell, run.method or "?", *accuracies)
        table.add_row(*cells, *([" ".join(run.tags)] if tags else []))
    return table


def preset_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row per preset; time and memory are estimates."""
    columns = ("preset", "data set", "IF", "IPC", "method", "published %", "time", "GiB")
    table = plain_table(*columns, right=("IF", "IPC", "published %", "time", "GiB"))
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
            "-" if cost["memory_gib"] is None else f"{cost['memory_gib']:.1f}",
        )
    return table


def settings_table(values: Mapping[str, Any], origins: Mapping[str, str]) -> Table:
    """One row per setting: its dotted key, its value and where that came from."""
    table = plain_table("setting", "value", "from")
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        table.add_row(key, shown, origins.get(key, DEFAULT))
    return table


def estimate_table(estimate: Estimate, device: str) -> Table:
    """Time per stage, memory, disk, and the number of real images for each synthetic one."""
    table = plain_table("what", f"estimate for {device}", right=(f"estimate for {device}",))
    for stage, seconds in estimate.stage_seconds.items():
        if seconds:  # else the run does without the stage, or finds it done
            table.add_row(stage_name(stage), duration(seconds))
    table.add_row("in all", duration(estimate.total_seconds))
    if estimate.compile_seconds:
        table.add_row("  of it compiling", duration(estimate.compile_seconds))
    table.add_row("memory", f"{estimate.memory_gib:.1f} GiB")
    table.add_row("disk", f"{estimate.disk_gib:.2f} GiB")
    table.add_row("real images for each synthetic one", f"{estimate.compression_ratio:.1f}")
    return table


def seconds_table(seconds: Mapping[str, float], estimated: Mapping[str, float] | None = None) -> Table:
    """Work time per stage and in all, beside what was estimated before the run began."""
    columns = ("time", "estimated") if estimated else ("time",)
    table = plain_table("stage", *columns, right=columns)
    for name, value in seconds.items():
        table.add_row(stage_name(name), duration(value), *([duration(estimated.get(name))] if estimated else []))
    sums = [seconds, estimated] if estimated else [seconds]
    table.add_row("in all", *(duration(sum(column.values())) for column in sums))
    return table
