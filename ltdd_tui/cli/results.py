"""`runs`, `show`, `evaluate`, `scores`, `export`: which runs there are, how good they are, and what to make of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.run.errors import FAULTS_SHOWN, Fault, InputError, escaped
from engine.run.folder import RunFolder, expanded
from engine.run.manifest import read_manifest
from engine.run.metrics import MetricsJson, readable_metrics, sound_metrics
from engine.run.recipes import known_network, known_regime
from engine.run.regular_files import read_regular
from engine.run.scores import read_scores
from ltdd_tui.cli.options import AsJson, Device, Plain, RunName, RunsDir
from ltdd_tui.cli.output import (
    class_table,
    print_data,
    print_json,
    print_note,
    print_text,
    published_line,
    result_table,
    runs_table,
    scores_lines,
    scores_table,
    seconds_table,
)
from ltdd_tui.cli.progress import display_for, exit_code_after, exit_code_of, follow, print_crash
from ltdd_tui.cli.sweep import show_sweep
from ltdd_tui.formatting import first_few
from ltdd_tui.runs import worker
from ltdd_tui.runs.find import find_run, find_sweep_folder, run_folders
from ltdd_tui.runs.index import examined
from ltdd_tui.runs.live import RunStateReader, replayed
from ltdd_tui.runs.messages import closing_line
from ltdd_tui.runs.notes import parse_tags, read_notes, retagged, write_notes
from ltdd_tui.runs.results import final_figures, measured
from ltdd_tui.runs.rows import Row, by_label, has_regimes, is_sound, row_of, rows_from_state
from ltdd_tui.runs.state import RunState, lost_result
from ltdd_tui.runs.tables import runs_as

SETS_BY_CLASS = (
    "random",
    "initialization",
    "representation experts",
    "classifier experts",
    "teacher",
    "last check",
    "final",
)
"""The sets that get a column in the table of classes: one for each step of the method."""


def runs(
    runs_dir: RunsDir,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV to stdout, for a spreadsheet")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print a Markdown table to stdout")] = False,
) -> None:
    """List the runs and sweeps: name, state, cell, method, accuracy and tags."""
    if as_json + as_csv + as_markdown > 1:
        raise InputError("only one of --json, --csv and --markdown can be printed", "runs")
    entries = [examined(folder) for folder in run_folders(runs_dir, with_sweeps=True)]
    overviews = [entry.run for entry in entries]
    if as_csv or as_markdown:
        print_text(runs_as("csv" if as_csv else "markdown", overviews).rstrip("\n"))
    elif as_json:
        print_json([dataclasses.asdict(run) for run in overviews])
    elif overviews:
        print_data(runs_table(overviews))
        damages = [f"{entry.run.name}: {told}" for entry in entries if (told := entry.damage or entry.run.lost)]
        for line in first_few(damages, FAULTS_SHOWN):
            print_note(line)
    else:
        print_note(f"no runs in {runs_dir}; `ltdd-tui run quickstart` makes one")


def tag(
    run: RunName,
    runs_dir: RunsDir,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[TAG]...", help="tags to add")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="a tag to take off; may be repeated")] = None,
    note: Annotated[str | None, typer.Option("--note", help="a note in place of the one before")] = None,
) -> None:
    """Tag a run, and note what it was for; without a change, print both. `runs` and the screen show and find them."""
    folder = find_run(run, runs_dir)
    before = read_notes(folder.notes)
    after = retagged(before, parse_tags(tags or ()), parse_tags(remove or ()))
    if note is not None:
        after = dataclasses.replace(after, note=note)
    if after != before:
        write_notes(folder, after)
    for line in (" ".join(after.tags), after.note):
        if line:
            print_text(line)


def show_run(run: RunName, runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """Show a run's figures, by group and by class; with --json its metrics.json as it is. Of a sweep, its table."""
    if sweep := find_sweep_folder(run, runs_dir):
        show_sweep(sweep, as_json)
        return
    folder = find_run(run, runs_dir)
    if damage := folder.damaged_result():
        raise InputError([damage])
    lost = lost_result(folder) if folder.metrics.exists() else None
    if lost and readable_metrics(folder):  # whose figures are sound
        print_note(lost.note)
    if as_json:
        _print_metrics(folder)
        return
    if folder.metrics.exists():
        print_result(folder)
        return
    state = replayed(folder)
    rows = rows_from_state(state)
    lost = lost_result(folder) if state.status == "done" else None
    print_note(lost.note if lost else f"{folder.name} is {state.status}; these are the figures so far")
    if state.lacks_lines:
        print_note(f"{folder.events}: lines of it are damaged; what they told is missing here")
    if rows:
        print_data(result_table(rows))
    if rows and state.data:
        print_data("")
        shown = rows_by_class(rows) if has_regimes(rows) else rows
        print_data(class_table(state.data.class_names, state.data.class_counts, state.data.test_counts, shown))


def print_result(folder: RunFolder, by_class: bool = True) -> None:
    """Prints the tables of a finished run to stdout, and where its result is to stderr.

    Raises InputError for metrics that are missing, damaged or without final figures.
    """
    result = measured(_metrics(folder))
    print_data(result_table(result.rows))
    if published := published_line(result.expected, result.final, "with stored labels; this run has none"):
        print_data(published)
    if result.stored:
        print_data(f"stored: {result.stored}")
    scores, unread = read_scores(folder)
    for line in scores_lines(scores) if scores else ():
        print_data(line)
    if by_class:
        print_data("")
        rows = rows_by_class(result.rows)
        print_data(class_table(result.class_names, result.class_counts, result.test_counts, rows))
        print_data("")
        print_data(seconds_table(result.stage_seconds, result.estimated_seconds))
    if result.verdict:
        print_data(f"verdict: {result.verdict}")
    for told in read_manifest(folder).mixture():
        print_data(told)
    _print_left_out((*result.faults, *unread))
    reached = closing_line(result.rows, result.class_counts, result.ipc)
    print_note(f"{reached}; result: {folder.result}" if reached else f"result: {folder.result}")


def rows_by_class(rows: Sequence[Row]) -> list[Row]:
    """The rows that get a column in the table of classes; with their label regimes where these have to be told.

    Of further label regimes that is the final set alone, or the table would be too wide.
    """
    own = [row for row in by_label(rows).values() if row.label in SETS_BY_CLASS]
    further = [row for row in rows if row.label == "final" and row not in own]
    if not has_regimes(rows):
        return own
    # The last one has the bars: the final set in the run's first regime.
    in_order = [*own[:-1], *further, *own[-1:]]
    return [dataclasses.replace(row, label=f"{row.label} {row.labels}".rstrip()) for row in in_order]


def _metrics(folder: RunFolder) -> MetricsJson:
    """What the run's metrics.json holds; raises InputError where it is missing, damaged or without final figures."""
    if metrics := readable_metrics(folder):
        return metrics
    lost, name = lost_result(folder), folder.cli_name
    if lost and (folder.metrics.exists() or replayed(folder).status == "done"):
        raise InputError([lost])
    hint = f"`ltdd-tui watch {name}` shows how far it is, `ltdd-tui resume {name}` goes on"
    raise InputError("the run has no result yet", str(folder.root), hint)


def _print_metrics(folder: RunFolder) -> None:
    """Prints metrics.json as it is; of a damaged one what is sound of it, and what is not to stderr."""
    sound, faults = sound_metrics(_metrics(folder))
    if faults:
        print_json(sound.for_file())
    else:
        print_text(read_regular(folder.metrics).decode().rstrip("\n"))
    _print_left_out(faults)


def _print_left_out(faults: Sequence[Fault]) -> None:
    for fault in faults[:FAULTS_SHOWN]:
        print_note(escaped(f"left out: {fault.where}: {fault.what}"))
    if len(faults) > FAULTS_SHOWN:
        print_note(f"left out: {len(faults) - FAULTS_SHOWN:,} more like these")


def evaluate(
    run: RunName,
    runs_dir: RunsDir,
    arch: Annotated[
        str | None,
        typer.Option("--arch", help="architectures with commas: convnet,resnet18,vgg11,alexnet; else the run's first"),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="label regimes with commas: hard (the class alone), stored (one soft label an image), online (a"
            " teacher labels each batch; it is trained first where the cache has none); else the run's first",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=1,
            help="fresh networks per architecture, else 5; alone: for all architectures and label regimes of the run",
        ),
    ] = None,
    device: Device = "auto",
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Train fresh networks on a run's result and test them; adds the figures to its metrics.json.

    With --labels, or --repeats alone, random images and the initialization are evaluated in these label regimes too.
    """
    if arch is None and labels is None and repeats is None:
        hint = "--arch names networks, --labels label regimes: hard, stored, online; --repeats: more of the run's own"
        raise InputError("nothing to evaluate is named", "evaluate", hint)
    folder = find_run(run, runs_dir)
    _check_has_result(folder)
    known = final_figures(folder)
    if arch is None and labels is None:
        arch, labels = ",".join(known.by_network) or None, ",".join(known.by_regime) or None
    repeats = repeats or 5
    # Before a worker, whose torch takes seconds to load.
    archs = [known_network(name, "--arch") for name in _named(arch, known.first_network)]
    regimes = [known_regime(name, "--labels") for name in _named(labels, known.first_regime)]
    arguments = ["evaluate", str(folder.root), "--arch", ",".join(archs), "--repeats", str(repeats), "--device", device]
    state = _run_worker(folder, arguments if labels is None else [*arguments, "--labels", ",".join(regimes)], plain)
    # Random images and the initialization are evaluated on the run's first network alone.
    baselines = [] if labels is None else [(known.first_network, name) for name in ("random", "initialization")]
    sets = [*baselines, *((name, "final") for name in archs)]
    # What was asked for, also where the run keeps an evaluation over more networks.
    asked = [event for event in state.evaluations.values() if event.repeats == repeats]
    evaluations = [
        event
        for regime, (name, subject) in itertools.product(regimes, sets)
        for event in asked
        if (event.labels, event.arch, event.subject) == (regime, name, subject)
    ]
    if as_json:
        print_json([dataclasses.asdict(event) for event in evaluations])
        return
    tests = state.data.test_counts if state.data else []
    rows = [row_of(f"{event.subject} on {event.arch}", event) for event in evaluations if is_sound(event, tests)]
    teacher = [row for row in measured(readable_metrics(folder)).rows if row.label in ("teacher", "mean of teacher")]
    print_data(result_table([*rows, *teacher] if "online" in regimes else rows))


def _named(text: str | None, otherwise: str) -> list[str]:
    """The names in a list with commas, each once; `otherwise` where there is no list."""
    if text is None:
        return [otherwise]
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip())) or [text]


def export(
    run: RunName,
    runs_dir: RunsDir,
    images: Annotated[Path | None, typer.Option("--images", help="write PNGs here, one folder per class")] = None,
    pt: Annotated[
        Path | None, typer.Option("--pt", help="write images.pt, labels.pt, lr.pt, whitening.pt and a README here")
    ] = None,
    which: Annotated[
        Literal["final", "best"],
        typer.Option("--set", help="the set that --images and --pt copy; best: of the best check"),
    ] = "final",
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="write losses, checks and previews for TensorBoard here")
    ] = None,
    teacher: Annotated[
        bool,
        typer.Option(
            "--teacher",
            help="write result/teacher.safetensors, for online labels, and copy it; it is trained where the cache has"
            " none (a run with online labels has it)",
        ),
    ] = False,
    model: Annotated[
        bool,
        typer.Option(
            "--model",
            help="write result/model.pt2, the first network of the final set's evaluation with its whitening, for"
            " `predict` and for programs that have PyTorch alone; trained once more where the run did not keep it",
        ),
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="write the same as result/model.onnx (pip install 'ltdd-tui\\[onnx]')")
    ] = False,
    plain: Plain = False,
) -> None:
    """Export a run's result: as an image folder, as the field's .pt trio, or its grid and card once more.

    classes.txt beside each names the labels in order. Classes of a folder are in natural order (0, 1, 2, ..., 10);
    torchvision's ImageFolder sorts them as text (0, 1, 10, 2): translate its labels by name.

    --tensorboard exports the course of a run, which may still be running.
    """
    folder = find_run(run, runs_dir)
    asked = (("--images", images), ("--pt", pt), ("--tensorboard", tensorboard))
    copies = {option: expanded(str(path)) for option, path in asked if path is not None}
    tensorboard = copies.pop("--tensorboard", None)
    if which == "best" and not copies:
        raise InputError("best copies nothing by itself", "--set", "add --images DIR or --pt DIR")
    # Before anything is written: TensorBoard files alone are the only ones that need no result.
    parts = [
        part for part, asked_for in ((folder.teacher, teacher), (folder.model, model), (folder.onnx, onnx)) if asked_for
    ]
    if copies or parts or tensorboard is None:
        _check_has_result(folder)
    if tensorboard is not None:
        # A worker of its own that only reads, since the run's worker may hold the folder.
        code = worker.run_and_wait(["export", str(folder.root), "--tensorboard", str(tensorboard.absolute())])
        if code:
            raise typer.Exit(exit_code_of(code))
        print_text(str(tensorboard))
        if not copies and not parts:
            return
    # A teacher is cached by the kind of device that it is trained on, and networks round by it.
    arguments = ["export", str(folder.root), "--device", "auto" if parts else "cpu", "--set", which]
    arguments += ["--teacher"] * teacher + ["--model"] * model + ["--onnx"] * onnx
    for option, path in copies.items():
        arguments += [option, str(path.absolute())]
    _run_worker(folder, arguments, plain)
    for path in [*parts, *copies.values()] or [folder.grid, folder.card]:
        print_text(str(path))


def score(
    run: RunName,
    runs_dir: RunsDir,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="fresh networks for each accuracy")] = 5,
    device: Device = "auto",
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Score a run's set beside random images and all images: LRS and ARS, as DD-Ranking defines them; `show` has them.

    Trains seven kinds of networks: on the set, on random images and on all images with hard labels; on the set and on
    random images by the set's own recipe, and by that without augmentation. Step sizes that do not belong to the set
    are searched on held-out training images, never on test images. What was trained before is read back.
    """
    folder = find_run(run, runs_dir)
    _check_has_result(folder)
    _run_worker(folder, ["scores", str(folder.root), "--repeats", str(repeats), "--device", device], plain)
    scores, faults = read_scores(folder)
    if scores is None:
        raise InputError("the scores cannot be read", str(folder.scores), "".join(fault.hint for fault in faults))
    if as_json:
        print_json(scores.model_dump(by_alias=True))
        return
    print_data(scores_table(scores))
    for line in scores_lines(scores):
        print_data(line)
    print_note(f"{scores.rule}; scores: {folder.scores}")


def _check_has_result(folder: RunFolder) -> None:
    if not folder.distilled.exists():
        raise InputError(
            "the run has no result yet", str(folder.root), f"`ltdd-tui resume {folder.cli_name}` finishes it"
        )


def _run_worker(folder: RunFolder, arguments: Sequence[str], plain: bool) -> RunState:
    """Runs `python -m engine` with `arguments`, shows its progress and returns the last state; exits where it fails."""
    watched = RunStateReader(folder)
    watched.skip_old()
    before = watched.state.failures
    state, own, signals = follow(watched, display_for(plain, False), lambda: worker.launch(folder, arguments))
    if signals:
        print_note("stopped; what was finished is kept, the same command continues")
        raise typer.Exit(exit_code_after(signals))
    if own and own.process.returncode:
        # A failure that the worker reported itself has been shown.
        if state.failures == before:
            print_crash(folder, own)
        raise typer.Exit(exit_code_of(own.process.returncode))
    return state
