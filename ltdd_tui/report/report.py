"""A report on runs: its sections as one document, and all of its figures as a tidy table."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.run.errors import Fault, InputError, listed
from engine.run.folder import RunFolder, expanded
from engine.run.metrics import GROUPS
from engine.run.schema import leaves
from engine.sweep.cells import SweepFolder
from ltdd_tui.formatting import duration, gibibytes, short_path, stage_name
from ltdd_tui.report.accuracy import accuracy, over_settings
from ltdd_tui.report.cells import NOT_OF_A_CELL, ReportCell, report_cells, values_of
from ltdd_tui.report.details import MOST_DETAILED, details
from ltdd_tui.report.document import Block, Document, Folded, Heading, Listing
from ltdd_tui.runs.comparison import ComparedRun, compared_runs, differing_settings, text_of
from ltdd_tui.runs.figures import mean, number
from ltdd_tui.runs.find import find_run, run_folders
from ltdd_tui.runs.live import LiveRun, read_settings
from ltdd_tui.runs.rows import rows_from_state
from ltdd_tui.runs.state import VALIDATION, RunView
from ltdd_tui.runs.tables import Cell, Table
from ltdd_tui.runs.verdict import comparison, verdict_lines

MOST_IN_TITLE, COMMIT_DIGITS = 3, 12
MOST_LISTED = 60
"""Runs, warnings and commands that a table shows before it counts the others."""


@dataclass(frozen=True)
class Unfinished:
    """A run without a final figure: its state, and why it is in that."""

    name: str
    state: str
    why: str = ""


MADE_BY = "Made by ltdd-tui"
"""In every report.md, by which the next report knows that it may replace it."""
OF_RUN = ("run", "folder", "state")
"""The first columns of report.csv."""


@dataclass(frozen=True)
class Subject:
    """What a report is on: runs, and cells of sweeps that have no run yet. `sources` are the folders as asked for."""

    title: str
    sources: Sequence[Path]
    runs: Sequence[ComparedRun]
    waiting: Sequence[str] = ()
    version: str = ""

    @property
    def unfinished(self) -> list[Unfinished]:
        """Every run without a final figure, and the cells that wait for their turn."""
        unfinished = []
        for run in self.runs:
            if "final" not in run.rows:
                state, failures = run.view.state, run.view.state.failures
                if failures:
                    why = _fault(Fault(failures[-1].what, failures[-1].where))
                elif damage := run.view.damage:
                    why = f"{Path(damage.where).name}: {damage.what}"
                elif state.status == "done":
                    why = "its final accuracy is no number"
                elif state.status == "crashed":
                    why = "the worker process died" + "".join(f"; it printed: {line}" for line in run.view.console[-1:])
                elif run.latest:
                    on = " on validation images" if run.latest.tested_on == VALIDATION else ""
                    why = f"{run.latest.accuracy_mean:.1f} % in its last check{on}"
                else:
                    why = state.warnings[-1].message if state.warnings else ""
                unfinished.append(Unfinished(run.name, state.status, why))
        return unfinished + [Unfinished(name, "waiting") for name in self.waiting]


@dataclass(frozen=True)
class Asked:
    """The runs that a report was asked for, by `title`, as `Subject` has them before they are read."""

    title: str
    sources: Sequence[Path]
    folders: Sequence[RunFolder]
    waiting: Sequence[str]


def asked_for(names: Sequence[str], runs_dir: Path) -> Asked:
    """Finds runs, sweeps and folders of runs; raises InputError where there is no run, SettingsError for a bad file."""
    folders: dict[Path, RunFolder] = {}
    waiting: list[str] = []
    titles: list[str] = []
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
        titles.append(holder.absolute().name if holder else own[0].name)
        folders |= {folder.root: folder for folder in own}
    if not folders:
        raise InputError("there is no run yet", ", ".join(names), "`ltdd-tui sweep` and `ltdd-tui run` make some")
    return Asked(f"Report: {listed(titles, MOST_IN_TITLE)}", [*sources], [*folders.values()], waiting)


def read_subject(asked: Asked, version: str = "") -> Subject:
    """Reads the runs with all their events."""
    tags = [str(place + 1) for place in range(len(asked.folders))]
    runs = compared_runs([_view(folder) for folder in asked.folders], tags)
    return Subject(asked.title, asked.sources, runs, asked.waiting, version)


def _holds_runs(path: Path) -> bool:
    """Whether this is a folder of runs, and not itself a run."""
    # A name may be longer than the system allows.
    with contextlib.suppress(OSError, ValueError):
        return not RunFolder(path).exists() and (SweepFolder(path).exists() or any(run_folders(path)))
    return False


def _view(folder: RunFolder) -> RunView:
    live = LiveRun(folder)
    while not live.read(budget_seconds=10):
        pass
    return live.view


def report(subject: Subject) -> Document:
    """The whole report."""
    cells = report_cells(subject.runs)
    blocks: list[Block] = [*summary(subject, cells), *verdicts(subject.runs)]
    if finished := [cell for cell in cells if cell.final]:
        blocks += [*accuracy(finished), *over_settings(finished)]
    blocks += [*details(cells), *_practical(subject.runs, cells), *_settings(subject, cells)]
    return Document(subject.title, blocks)


def summary(subject: Subject, cells: Sequence[ReportCell]) -> Iterator[Block]:
    """How many runs are finished, and which are not, or cannot be read, and why."""
    unfinished = subject.unfinished
    total = len(subject.runs) + len(subject.waiting)
    yield (
        f"Finished runs: {total - len(unfinished)} of {total}. Cells (runs that differ in their seed alone):"
        f" {len(cells)}. {MADE_BY} {subject.version}."
    )
    unread = [run for run in subject.runs if run.view.settings is None]
    if unread:
        yield Heading("Left out")
        yield "The settings of these runs cannot be read; their figures stand in the CSV alone."
        faults = [(run.name, read_settings(run.view.folder.config)[1]) for run in unread[:MOST_LISTED]]
        yield Table(("run", "why"), tuple((name, listed([*map(_fault, own)], 3)) for name, own in faults))
        yield from _more(len(unread))
    if unfinished:
        yield Heading("Not finished")
        begun = [one for one in unfinished if one.state != "waiting"]
        if begun:
            rows = tuple((one.name, one.state, one.why) for one in begun[:MOST_LISTED])
            yield Table(("run", "state", "why"), rows)
            yield from _more(len(begun))
        waiting = [one.name for one in unfinished if one.state == "waiting"]
        if waiting:
            yield f"Waiting for a worker ({len(waiting):,}): {listed(waiting)}"


def verdicts(runs: Sequence[ComparedRun]) -> Iterator[Block]:
    """What each run says should be used, what it kept and why, and what a person could train on instead."""
    judged = [(run, told) for run in runs if (told := verdict_lines(run.view.state))]
    if judged:
        yield Heading("Verdicts" if len(judged) > 1 else "Verdict")
    for run, (_, lines) in judged[:MOST_LISTED]:
        yield f"{run.name}: {'; '.join(lines)}."
        if rows := comparison(run.view.state):
            yield Table(rows[0], tuple(rows[1:]))
    yield from _more(len(judged))


def _fault(fault: Fault) -> str:
    """What is wrong, and where in its file."""
    return f"{fault.where.rpartition('/')[2]}: {fault.what}".removeprefix(": ")


def _more(count: int) -> Iterator[str]:
    if count > MOST_LISTED:
        yield f"and {count - MOST_LISTED:,} more"


# ---- Practical: time, memory, bytes, device, warnings ----

SHOWN_STAGES = ("experts", "classifier_experts", "teacher", "baselines", "distill", "evaluate")


def _practical(runs: Sequence[ComparedRun], cells: Sequence[ReportCell]) -> Iterator[Block]:
    yield Heading("Time, memory and bytes")
    yield "Time is that of one run, the mean over seeds. Experts that were found in the cache took none."
    # A cell of a further label regime is of the same runs.
    table = _cost_table(
        [cell for cell in cells if cell.finished and cell.labels == cell.shown[0].view.state.regimes[0]]
    )
    yield Folded(f"Costs of {len(table.rows)} cells", table) if len(table.rows) > 2 * MOST_DETAILED else table
    yield Table(("made with", ""), tuple(_made_with(runs)))
    warned: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        for one in run.view.state.warnings:
            warned.setdefault((one.message, one.hint), {})[run.name] = None
    if warned:
        yield Heading("Warnings of the runs", 3)
        rows = [(message, hint, listed([*names], MOST_IN_TITLE)) for (message, hint), names in warned.items()]
        yield Table(("warning", "what can be done", "runs"), tuple(rows[:MOST_LISTED]))
        yield from _more(len(rows))


def _cost_table(cells: Sequence[ReportCell]) -> Table:
    times = [[_stage_seconds(run) for run in cell.shown] for cell in cells]
    there = [stage for stage in SHOWN_STAGES if any(own.get(stage) for of_cell in times for own in of_cell)]
    rows: list[tuple[Cell, ...]] = []
    for cell, of_cell in zip(cells, times, strict=True):
        states = [run.view.state for run in cell.runs]
        peaks = [number(state.reading.memory_gib) for state in states if state.reading]
        peak = max((one for one in peaks if one is not None), default=None)
        cached = sum(done.cached for state in states for done in state.experts_done.values())
        means = [mean([own.get(stage) for own in of_cell]) for stage in there]
        seconds = [duration(value) if value else None for value in means]
        total = duration(mean([sum(own.values()) for own in of_cell]))
        kept = next((run.view.stored for run in cell.runs if run.view.stored), None)
        experts = f"{cached} experts" if cached else None
        rows.append((cell.name, total, *seconds, experts, None if peak is None else gibibytes(peak), kept))
    titles = ("cell", "time", *map(stage_name, there), "found in the cache", "peak memory", "what the set takes")
    kept_columns = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    return Table(
        tuple(titles[place] for place in kept_columns),
        tuple(tuple(row[place] for place in kept_columns) for row in rows),
    )


def _stage_seconds(run: ComparedRun) -> dict[str, float]:
    state = run.view.state
    return {name: stage.elapsed(state.last_seconds or 0.0) for name, stage in state.stages.by_name.items()}


def _made_with(runs: Sequence[ComparedRun]) -> Iterator[tuple[str, str]]:
    """Device, threads and versions, each with all its values and how many runs have them where these differ."""
    facts: dict[str, dict[str, int]] = {}
    for run in runs:
        manifest = run.view.manifest
        device, commit = manifest.device, manifest.commit or ""
        own = {
            "device": device and f"{device} ({manifest.device_name or '?'})",
            "threads": manifest.threads,
            "platform": manifest.platform,
            "commit": commit[:COMMIT_DIGITS] + "-dirty" * commit.endswith("-dirty"),
        }
        own |= manifest.versions
        for name, value in own.items():
            if value:
                counts = facts.setdefault(name, {})
                counts[str(value)] = counts.get(str(value), 0) + 1
    for name, counts in facts.items():
        told = [f"{value} ({count} runs)" if len(counts) > 1 else value for value, count in counts.items()]
        yield name, listed(told, separator="; ")


# ---- Settings, and the commands that make the same again ----


def _settings(subject: Subject, cells: Sequence[ReportCell]) -> Iterator[Block]:
    runs = [cell.runs[0] for cell in cells]
    differences = [one for one in differing_settings(runs) if one.key not in NOT_OF_A_CELL]
    yield Heading("Settings")
    if differences and len(cells) <= MOST_DETAILED:
        titles = ("setting", *(cell.name for cell in cells))
        yield "What differs between the cells, beside the seed:"
        yield Table(titles, tuple((one.key, *one.values) for one in differences))
    elif differences:
        yield "What differs between the cells, beside the seed, and the values that there are:"
        distinct = ((one.key, listed([*dict.fromkeys(value or "?" for value in one.values)])) for one in differences)
        yield Table(("setting", "values"), tuple(distinct))
    if runs:
        keys = {one.key for one in differences}
        yield Folded("Settings that all cells share, and where each value comes from", _shared_settings(runs[0], keys))
    yield Heading("Commands")
    yield "A run folder has its settings in config.yaml, a sweep those of all cells in sweep.yaml. To make them again:"
    commands = [_command(path) for path in subject.sources]
    yield Listing(commands[:MOST_LISTED])
    yield from _more(len(commands))


def _shared_settings(run: ComparedRun, differing: set[str]) -> Table:
    rows = []
    for key, value in values_of(run).items():
        leaf = leaves().get(key)
        if leaf and key not in differing and key not in NOT_OF_A_CELL and not key.startswith("expected."):
            default = leaf.default
            is_default = value == (list(default) if isinstance(default, tuple) else default)
            source = (
                f"{leaf.source}'s default" if is_default else f"set here; default {text_of(default)} ({leaf.source})"
            )
            rows.append((key, text_of(value), leaf.unit, "set here" if leaf.required else source))
    return Table(("setting", "value", "unit", "from"), tuple(rows))


def _command(path: Path) -> str:
    command, file = ("sweep", "sweep.yaml") if (path / "sweep.yaml").is_file() else ("run", "config.yaml")
    # As seen from here: a report that is passed on names no more of this machine than it must.
    near = (path / file).relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else None
    return f"ltdd-tui {command} {shlex.quote(str(near) if near else short_path(path / file))}"


# ---- All figures, tidy ----


def tidy_table(runs: Sequence[ComparedRun]) -> Table:
    """A row for each figure of each run in each label regime: what it is of, its mean, standard deviation and n.

    Accuracies are percent, over n networks; those of `few` are of the few-shot classes, those of `class:NAME` of that
    class. `seconds` are those of a stage.
    """
    usual = ["method", "dataset.name", "dataset.imbalance_factor", "ipc", "seed"]
    differing = [one.key for one in differing_settings(runs) if one.key not in usual]
    keys = [*usual, *differing]
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        values = values_of(run)
        folder = run.view.folder
        named = (folder.name, folder.root.parent.name, run.view.state.status)
        own: tuple[Cell, ...] = (*named, *(_plain(values.get(key)) for key in keys))
        data = run.view.state.data
        names = data.class_names if data else []
        for row in rows_from_state(run.view.state):
            rows.append((*own, row.labels, row.title, "all", row.accuracy_mean, row.accuracy_std, row.repeats, "%"))
            parts = {group: row.groups.get(group) for group in GROUPS}
            parts |= {f"class:{name}": value for name, value in zip(names, row.per_class, strict=False)}
            rows += [
                (*own, row.labels, row.title, part, value, None, row.repeats, "%")
                for part, value in parts.items()
                if value is not None
            ]
        expected = run.view.settings.expected if run.view.settings else None
        if expected:
            rows.append((*own, "stored", "published", "all", expected.accuracy, None, None, "%"))
        rows += [
            (*own, "", "seconds", stage, seconds, None, None, "s") for stage, seconds in _stage_seconds(run).items()
        ]
    titles = (*OF_RUN, *keys, "labels", "figure", "part", "value", "std", "n", "unit")
    return Table(titles, tuple(rows))


def _plain(value: object) -> Cell:
    return value if isinstance(value, str | int | float) or value is None else text_of(value)
