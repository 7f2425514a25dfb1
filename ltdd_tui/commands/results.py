"""`runs` and `show`: what there is, and how good it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from ltdd_tui.consoles import note, show, show_json
from ltdd_tui.options import AsJson, RunName, RunsDir
from ltdd_tui.runs import find_run, handle, overview, readable_metrics, replayed, run_folders


def runs(runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """List the runs: name, state, cell, method and accuracy."""
    from ltdd_tui.tables import runs_table

    found = [overview(folder) for folder in run_folders(runs_dir)]
    if as_json:
        show_json([dataclasses.asdict(run) for run in found])
    elif found:
        show(runs_table(found))
    else:
        note(f"no runs in {runs_dir}; `ltdd-tui run quickstart` makes one")


def show_run(run: RunName, runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """Show a run's figures, by group and by class from head to tail; with --json its metrics.json as it is."""
    folder = find_run(run, runs_dir)
    if as_json:
        print(_metrics_text(folder), end="")
    elif folder.metrics.exists():
        show_result(folder)
    else:
        _show_unfinished(folder)


def show_result(folder: RunFolder, by_class: bool = True) -> None:
    """Prints the tables of a finished run to stdout, and to stderr where the result lies."""
    from ltdd_tui.measured import measured
    from ltdd_tui.tables import class_table, expected_line, result_table, seconds_table

    metrics: Mapping[str, Any] = json.loads(_metrics_text(folder))
    if not readable_metrics(folder):
        raise InputError(
            "the metrics hold no final figures",
            str(folder.metrics),
            f"`ltdd-tui resume {handle(folder)}` writes them anew",
        )
    found = measured(metrics)
    show(result_table(found.rows))
    expected = expected_line(found.expected, found.final)
    if expected:
        show(expected)
    if by_class:
        show("")
        rows = [row for row in found.rows if row.label in _BY_CLASS]
        show(class_table(found.class_names, found.class_counts, rows))
        show("")
        show(seconds_table(found.stage_seconds, found.estimated_seconds))
    for fault in found.faults:
        note(f"left out: {fault.where}: {fault.what}")
    note(f"result: {folder.result}")


_BY_CLASS = ("random", "initialization", "representation experts", "classifier experts", "final")


def _metrics_text(folder: RunFolder) -> str:
    try:
        text = folder.metrics.read_text(encoding="utf-8")
        json.loads(text)
        return text
    except FileNotFoundError:
        raise InputError(
            "the run has no result yet",
            str(folder.root),
            f"`ltdd-tui watch {handle(folder)}` shows how far it is, `ltdd-tui resume {handle(folder)}` goes on",
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"the metrics cannot be read: {error}",
            str(folder.metrics),
            f"`ltdd-tui resume {handle(folder)}` writes them anew",
        ) from None


def _show_unfinished(folder: RunFolder) -> None:
    from ltdd_tui.results import rows_from_state
    from ltdd_tui.tables import class_table, result_table

    state = replayed(folder)
    rows = rows_from_state(state)
    note(f"{folder.name} is {state.status}; these are the figures so far")
    if rows:
        show(result_table(rows))
    if rows and state.data:
        show("")
        show(class_table(state.data.class_names, state.data.class_counts, rows))
