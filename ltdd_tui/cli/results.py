"""`runs` and `show`: what there is, and how good it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.run.errors import Fault, InputError
from engine.run.folder import RunFolder
from engine.run.metrics import readable_metrics
from ltdd_tui.cli.options import AsJson, Device, Plain, RunName, RunsDir
from ltdd_tui.cli.output import note, show, show_json
from ltdd_tui.runs import worker
from ltdd_tui.runs.index import find_run, handle, overview, replayed, run_folders
from ltdd_tui.runs.state import RunState


def runs(runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """List the runs: name, state, cell, method and accuracy."""
    from ltdd_tui.cli.output import runs_table

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
    from ltdd_tui.cli.output import class_table, expected_line, result_table, seconds_table
    from ltdd_tui.runs.results import measured

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
    from ltdd_tui.cli.output import class_table, result_table
    from ltdd_tui.runs.figures import rows_from_state

    state = replayed(folder)
    rows = rows_from_state(state)
    note(f"{folder.name} is {state.status}; these are the figures so far")
    if rows:
        show(result_table(rows))
    if rows and state.data:
        show("")
        show(class_table(state.data.class_names, state.data.class_counts, rows))


# `evaluate` and `export`: what can be asked of a run, mostly of a finished one.


def evaluate(
    run: RunName,
    runs_dir: RunsDir,
    arch: Annotated[str, typer.Option("--arch", help="networks, with commas: convnet,resnet18,vgg11,alexnet")],
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="fresh networks of each")] = 5,
    device: Device = "auto",
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Train fresh networks on a run's result and test them; adds the figures to its metrics.json."""
    from ltdd_tui.cli.output import result_table
    from ltdd_tui.runs.figures import Row

    folder = find_run(run, runs_dir)
    _must_be_finished(folder)
    names = list(dict.fromkeys(part.strip() for part in arch.split(",") if part.strip()))
    state = _at_work(
        folder,
        ["evaluate", str(folder.root), "--arch", ",".join(names), "--repeats", str(repeats), "--device", device],
        plain,
    )
    found = [
        event
        for name in names
        for event in state.evaluations.values()
        if event.subject == "final" and event.arch == name
    ]
    if as_json:
        show_json([dataclasses.asdict(event) for event in found])
    else:
        show(
            result_table(
                Row(
                    f"final on {event.arch}",
                    event.accuracy_mean,
                    event.accuracy_std,
                    event.repeats,
                    event.per_class,
                    event.groups,
                    event.iteration,
                )
                for event in found
            )
        )


def export(
    run: RunName,
    runs_dir: RunsDir,
    images: Annotated[Path | None, typer.Option("--images", help="write PNGs here, one folder a class")] = None,
    pt: Annotated[Path | None, typer.Option("--pt", help="write images.pt, labels.pt and lr.pt here")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="write losses, checks and previews for TensorBoard here")
    ] = None,
    plain: Plain = False,
) -> None:
    """Write a run's result once more: as an image folder, as the field's .pt trio, or its grid and card.

    --tensorboard writes the course of a run, which may still be at work.
    """
    folder = find_run(run, runs_dir)
    copies = images is not None or pt is not None
    if copies or tensorboard is None:
        _must_be_finished(folder)
    if tensorboard is not None:
        _ask_for_tensorboard(folder, tensorboard)
        if not copies:
            return
    arguments = ["export", str(folder.root), "--device", "cpu"]
    for option, path in (("--images", images), ("--pt", pt)):
        arguments += [option, str(path.absolute())] if path is not None else []
    _at_work(folder, arguments, plain)
    for path in [path for path in (images, pt) if path is not None] or [folder.grid, folder.card]:
        print(path)


def _ask_for_tensorboard(folder: RunFolder, target: Path) -> None:
    code = worker.ask(["export", str(folder.root), "--tensorboard", str(target.absolute())])
    if code:
        raise typer.Exit(code if code == 2 else 1)
    print(target)


def _must_be_finished(folder: RunFolder) -> None:
    if not folder.distilled.exists():
        raise InputError(
            "the run has no result yet", str(folder.root), f"`ltdd-tui resume {handle(folder)}` finishes it"
        )


def _at_work(folder: RunFolder, arguments: Sequence[str], plain: bool) -> RunState:
    """Lets a worker do it, showing how far it is, and returns the state after; exits as the worker did on failure."""
    from ltdd_tui.cli.progress import HandOn, Interrupts, display_for, follow
    from ltdd_tui.runs.live import Watched

    watched = Watched(folder)
    watched.skip_old()
    process = worker.launch(folder, arguments)
    display = display_for(plain, as_json=False)
    with Interrupts() as interrupts:
        state = follow(watched, display, process, HandOn(folder, display, interrupts, process))
    code = process.returncode
    if interrupts.count:
        note("stopped; what was finished is kept, the same command goes on")
        raise typer.Exit(130)
    if code:
        if not state.failures:
            note(str(Fault(f"the worker is gone without a last word (exit code {code})", str(folder.console))))
            note("\n".join(worker.console_tail(folder)))
        raise typer.Exit(code if code in (2, 130) else 1)
    return state
