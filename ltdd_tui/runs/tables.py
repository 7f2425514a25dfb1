"""Runs as a table for a paper or a spreadsheet: Markdown with figures as they are read, CSV with all their digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from engine.run.settings import LabelRegime
from ltdd_tui.formatting import clean, factor_name, mean_and_std
from ltdd_tui.runs.index import Overview

TableFormat = Literal["markdown", "csv"]
Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows of cells below their titles; None is an empty cell."""

    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def as_csv(self) -> str:
        """Comma-separated values with a header line, numbers with all their digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.titles)
        writer.writerows(["" if cell is None else cell for cell in row] for row in self.rows)
        return text.getvalue()

    def as_markdown(self) -> str:
        """A table of GitHub's Markdown; numbers are set to the right."""
        numeric = [any(is_figure(row[place]) for row in self.rows) for place in range(len(self.titles))]
        lines = [self.titles, tuple("---:" if right else "---" for right in numeric), *self.rows]
        return "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)


def is_figure(cell: Cell) -> bool:
    """Whether it is a number, or one with a deviation as a text."""
    return isinstance(cell, int | float) or bool(cell and cell[0].isdigit() and cell[-1].isdigit())


def _markdown_cell(cell: Cell) -> str:
    return "" if cell is None else clean(str(cell)).replace("\\", "\\\\").replace("|", "\\|")


def regimes_of(runs: Sequence[Overview]) -> list[str]:
    """The label regimes of which a table of these runs has a column each; empty where all have `stored` alone."""
    there = {labels for run in runs for labels in run.regimes}
    return [] if there <= {"stored"} else [labels for labels in get_args(LabelRegime) if labels in there]


def accuracy_in(run: Overview, labels: str) -> tuple[float | None, float | None]:
    """The final accuracy of a run in a label regime, and its standard deviation; None where it has none."""
    own = {run.labels: (run.accuracy_mean, run.accuracy_std)} | run.accuracies
    return own.get(labels, (None, None))


def runs_as(form: TableFormat, runs: Sequence[Overview]) -> str:
    """The list of runs as text; where there are label regimes beside `stored`, with accuracies in each."""
    regimes = regimes_of(runs)
    if form == "csv":
        fields: tuple[str, ...] = (
            "name",
            "state",
            "dataset",
            "imbalance_factor",
            "ipc",
            "method",
            "seed",
            "accuracy_mean",
        )
        fields += ("accuracy_std", *(["labels"] if regimes else []), "tags", "note", "path")
        rows = [
            (*(_plain(getattr(run, name)) for name in fields), *chain(*(accuracy_in(run, own) for own in regimes)))
            for run in runs
        ]
        titles = (*fields, *(f"{labels}_{figure}" for labels in regimes for figure in ("mean", "std")))
        return Table(titles, tuple(rows)).as_csv()
    accuracies = tuple(f"{labels} labels %" for labels in regimes) or ("accuracy %",)
    titles = ("run", "state", "data set", "IF", "IPC", "method", "seed", *accuracies, "tags", "note")
    markdown_rows = []
    for run in runs:
        factor = None if run.imbalance_factor is None else factor_name(run.imbalance_factor)
        figures = [accuracy_in(run, labels) for labels in regimes or [run.labels]]
        spreads = [mean_and_std(mean, std, 2 if std else 1) for mean, std in figures]
        cells: tuple[Cell, ...] = (run.name, run.state, run.dataset, factor, run.ipc, run.method, run.seed)
        markdown_rows.append((*cells, *spreads, " ".join(run.tags), run.note))
    return Table(titles, tuple(markdown_rows)).as_markdown()


def _plain(value: object) -> Cell:
    return " ".join(value) if isinstance(value, tuple) else value  # type: ignore[return-value]
