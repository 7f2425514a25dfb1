"""`report`: runs and sweeps as one HTML file, a Markdown one with pictures, and a CSV of all figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import InputError
from engine.run.folder import expanded, write_atomically
from ltdd_tui.cli.doctor import installed_version
from ltdd_tui.cli.options import RunsDir, complete_run

PICTURES = "report-pictures"
"""Beside report.md: the folder of its pictures."""


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SWEEP...",
            help="runs, sweeps, or folders that hold runs: names, paths, or `last`",
            autocompletion=complete_run,
        ),
    ],
    runs_dir: RunsDir,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="where the report is written")] = Path(
        "report"
    ),
) -> None:
    """Write a report on runs and sweeps: report.html, which needs no other file, report.md and report.csv.

    Accuracies as mean and standard deviation over seeds beside random images and published figures, whether they lead
    over random, curves, classes, confusion matrices, images, costs and settings. Needs the extra `report`.
    """
    from ltdd_tui.report.plots import check_installed
    from ltdd_tui.report.report import asked_for, read_subject, tidy_table
    from ltdd_tui.report.report import report as made

    folder = expanded(str(out))
    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file, and no folder", str(out), "-o names the folder of the report")
    asked = asked_for(runs, runs_dir)
    check_installed()
    subject = read_subject(asked, installed_version("ltdd-tui") or "(not installed)")
    document = made(subject)
    for name, content in document.files().items():
        write_atomically(folder / PICTURES / name, content)
    write_atomically(folder / "report.md", document.as_markdown(PICTURES))
    write_atomically(folder / "report.csv", tidy_table(subject.runs).as_csv())
    write_atomically(folder / "report.html", document.as_html())
    for name in ("report.html", "report.md", "report.csv"):
        print(out / name)
