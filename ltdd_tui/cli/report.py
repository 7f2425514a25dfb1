"""`report`: runs and sweeps as one HTML file, a Markdown one with pictures, and a CSV of all figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.run.errors import InputError, listed
from engine.run.folder import RunFolder, expanded, write_atomically
from engine.sweep.cells import SweepFolder
from ltdd_tui.cli.doctor import installed_version
from ltdd_tui.cli.options import RunsDir, complete_run
from ltdd_tui.runs.comparison import compared_runs
from ltdd_tui.runs.find import find_run, run_folders
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.state import RunView

PICTURES = "report-pictures"
"""Beside report.md: the folder of its pictures."""
MOST_IN_TITLE = 3


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
    from ltdd_tui.report.report import Subject, tidy_table
    from ltdd_tui.report.report import report as made

    check_installed()
    folder = expanded(str(out))
    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file, and no folder", str(out), "-o names the folder of the report")
    folders, waiting, sources = _asked_for(runs, runs_dir)
    compared = compared_runs([_view(one) for one in folders], [str(place + 1) for place in range(len(folders))])
    title = listed([Path(name).name for name in runs], MOST_IN_TITLE)
    subject = Subject(
        f"Report: {title}", sources, compared, waiting, installed_version("ltdd-tui") or "(not installed)"
    )
    document = made(subject)
    for name, content in document.files().items():
        write_atomically(folder / PICTURES / name, content)
    write_atomically(folder / "report.md", document.as_markdown(PICTURES))
    write_atomically(folder / "report.csv", tidy_table(compared).as_csv())
    write_atomically(folder / "report.html", document.as_html())
    for name in ("report.html", "report.md", "report.csv"):
        print(out / name)


def _asked_for(names: Sequence[str], runs_dir: Path) -> tuple[list[RunFolder], list[str], list[Path]]:
    """The run folders, the names of cells that wait for a worker, and the folders as they were asked for."""
    folders: dict[Path, RunFolder] = {}
    waiting: list[str] = []
    sources: dict[Path, None] = {}
    for name in names:
        holder = next((path for path in (expanded(str(runs_dir / name)), expanded(name)) if _holds_runs(path)), None)
        if holder and (sweep := SweepFolder(holder)).exists():
            cells = [(cell.name, sweep.run(cell)) for cell in sweep.sweep().cells]
            own = [folder for _, folder in cells if folder.exists()]
            waiting += [cell for cell, folder in cells if not folder.exists()]
            sources[sweep.root] = None
        else:
            own = [*run_folders(holder)] if holder else [find_run(name, runs_dir)]
            sources |= dict.fromkeys(folder.root for folder in own)
        folders |= {folder.root: folder for folder in own}
    if not folders:
        raise InputError("there is no run yet", ", ".join(names), "`ltdd-tui sweep` and `ltdd-tui run` make some")
    return [*folders.values()], waiting, [*sources]


def _holds_runs(path: Path) -> bool:
    """Whether this is a folder of runs, and not itself a run."""
    return not RunFolder(path).exists() and (SweepFolder(path).exists() or any(run_folders(path)))


def _view(folder: RunFolder) -> RunView:
    """The run with all its events."""
    live = LiveRun(folder)
    while not live.read(budget_seconds=10):
        pass
    return live.view
