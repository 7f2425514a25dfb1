"""`report`: runs and sweeps as one HTML file, a Markdown one with pictures, and a CSV of all figures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import InputError
from engine.run.folder import expanded, write_atomically
from engine.run.regular_files import read_regular
from ltdd_tui.cli.doctor import installed_version
from ltdd_tui.cli.options import RunsDir, complete_run
from ltdd_tui.cli.output import print_text

FILES = ("report.html", "report.md", "report.csv")
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
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="where the report is written")] = "report",
    force: Annotated[
        bool, typer.Option("--force", help="replace files there that are not of an earlier report")
    ] = False,
) -> None:
    """Write a report on runs and sweeps: report.html, which needs no other file, report.md and report.csv.

    Accuracies as mean and standard deviation over seeds beside random images and published figures, whether they lead
    over random, curves, classes, confusion matrices, images, costs and settings. Needs the extra `report`.
    """
    from ltdd_tui.report.plots import check_installed
    from ltdd_tui.report.report import asked_for, read_subject, tidy_table
    from ltdd_tui.report.report import report as made

    folder, hint = expanded(out), "-o names the folder of the report"
    if not out:
        raise InputError("the name of a folder is needed", "-o", hint)
    if os.path.exists(folder) and not folder.is_dir():
        raise InputError("this is a file, and no folder", out, hint)
    if not force and (other := not_of_a_report(folder)):
        raise InputError("this file is not of an earlier report", str(Path(out) / other), "--force replaces it")
    asked = asked_for(runs, runs_dir)
    check_installed()
    subject = read_subject(asked, installed_version("ltdd-tui") or "(not installed)")
    document = made(subject)
    files: dict[str, bytes | str] = {f"{PICTURES}/{name}": content for name, content in document.files().items()}
    files |= {"report.md": document.as_markdown(PICTURES), "report.csv": tidy_table(subject.runs).as_csv()}
    files |= {"report.html": document.as_html()}
    try:
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        what = f"the report cannot be written: {error.strerror or error}"
        raise InputError(what, str(error.filename or out), hint) from None
    for name in FILES:
        print_text(str(Path(out) / name))


def not_of_a_report(folder: Path) -> str | None:
    """The first file in the way that `report` has not written, None where there is none."""
    from ltdd_tui.report.document import GENERATOR
    from ltdd_tui.report.report import MADE_BY, OF_RUN

    marks = zip(FILES, (GENERATOR, MADE_BY, ",".join(OF_RUN)), strict=True)
    others = [name for name, mark in marks if not _has(folder / name, mark.encode())]
    # The pictures are those of report.md.
    others += [PICTURES] if FILES[1] in others else []
    return next((name for name in others if os.path.lexists(folder / name)), None)


def _has(path: Path, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        return mark in read_regular(path)
    return False
