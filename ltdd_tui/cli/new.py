"""`new`: from a folder of one's own images to a preset for them, with what the folder holds and why each value."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from engine.run.adaptation import Choice, adapt, estimate_of, preset_text, settings_of, too_few
from engine.run.data_settings import DatasetSettings
from engine.run.errors import NO_FOLDER, InputError, escaped
from engine.run.estimate import Estimate
from engine.run.folder import expanded, write_atomically
from engine.run.image_folder import LAYOUT
from engine.run.image_inventory import Inventory, inventory
from engine.run.presets import SUFFIXES
from ltdd_tui.cli.options import AsJson, Device
from ltdd_tui.cli.output import plain_table, print_data, print_json, print_note
from ltdd_tui.formatting import duration
from ltdd_tui.launch import machine
from ltdd_tui.launch.own_images import DEFAULT_MINUTES, ClassCount, class_counts, facts, folder_of_classes, summary

BAR_COLUMNS, MOST_CLASSES = 40, 30
"""Columns of the largest class's bar; classes that are listed before those in the middle are only counted."""
LONGEST_MINUTES = 60 * 24 * 30


def new(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="a folder of images for each class, or train/<class> and test/<class>")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="the preset to write; by default <folder>.yaml in the current folder"),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="how long a run may take")] = DEFAULT_MINUTES,
    device: Device = "auto",
    as_json: AsJson = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="measure this machine first, where it was not measured")
    ] = True,
) -> None:
    """Look a folder of your own images over, and write a preset whose settings follow from it, each with its reason."""
    if not 0 < minutes <= LONGEST_MINUTES:
        raise InputError(f"minutes must be above 0 and at most {LONGEST_MINUTES:,}", "--minutes", "for example: 10")
    folder = folder_of_classes(expanded(str(folder)))
    path = expanded(str(output)) if output else Path(f"{file_name(folder)}.yaml")
    # Before the images are looked at, which takes long where there are many.
    if not os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        raise InputError(NO_FOLDER[os.path.exists(folder)], str(folder), LAYOUT)
    if path.suffix not in SUFFIXES:
        raise InputError("a preset's file ends in .yaml", str(path), f"-o {path.name}.yaml")
    if not path.parent.is_dir():
        raise InputError("there is no such folder", str(path.parent), "make it, or name another file with -o")
    if path.exists():
        raise InputError("this file is there already", str(path), "-o OTHER.yaml, or delete it")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        hint = "name a file in another folder with -o"
        raise InputError(f"nothing can be written here: {error.strerror}", str(path.parent), hint) from None
    if device.startswith("cuda") and machine.torch_name(device) not in machine.gpu_names():
        print_note(f"{device} is not on this machine: the settings are for a GPU as it is built in")
    looked_over = inventory(DatasetSettings(name="folder", path=str(folder)), progress=_print_progress)
    if faults := list(looked_over.survey.faults):
        raise InputError(faults)
    choices, estimate = _adapted(looked_over, device, minutes, calibrate)
    if as_json:
        page = as_plain(folder, path, looked_over, choices, estimate, device)
        print_json(page | {"fits": not too_few(minutes, estimate)})
    else:
        if told := too_few(minutes, estimate):
            print_data(f"! {told} (--minutes)\n")
        _print_page(folder, looked_over, choices, estimate, machine.device_here(device).name)
    write_atomically(path, preset_text(folder, looked_over, choices))
    print_note(f"written: {path}\nnext: ltdd-tui run {shlex.quote(str(path))}")
    if looked_over.folds:
        print_note(f"that tests on one of {looked_over.folds} folds; docs/folders.md says how to run and pool them all")


def file_name(folder: Path) -> str:
    """A file name after a folder: its letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().name).strip(".-") or "images"


def _adapted(looked_over: Inventory, device: str, minutes: float, calibrate: bool) -> tuple[list[Choice], Estimate]:
    """The choices for this machine, which is measured first where it was not."""
    choices = adapt(looked_over, machine.device_here(device), minutes)
    if calibrate and machine.calibration_lacks(settings_of(choices), device):
        print_note("measuring this machine for estimates, once: about ten seconds")
        if machine.calibrate(settings_of(choices), device):
            choices = adapt(looked_over, machine.device_here(device), minutes)
    return choices, estimate_of(looked_over, choices, machine.device_here(device))


def _print_progress(done: int, files: int) -> None:
    """Counts the files on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\rlooking at images: {done:,} of {files:,}", end="\n" if done == files else "", file=sys.stderr)


def _print_page(
    folder: Path, looked_over: Inventory, choices: Sequence[Choice], estimate: Estimate, device: str
) -> None:
    print_data(escaped(f"{folder}: {summary(looked_over)}"))
    print_data("")
    print_data(_tail_table(class_counts(looked_over)))
    print_data("")
    table = plain_table("", "")
    table.show_header = False
    for line in facts(looked_over):
        table.add_row(line.label, f"{'! ' if line.warns else ''}{line.text}")
    table.columns[-1].no_wrap = False
    print_data(table)
    print_data("")
    settings = plain_table("setting", "value", "because")
    for choice in choices:
        value = ", ".join(map(str, choice.value)) if isinstance(choice.value, list) else str(choice.value)
        settings.add_row(choice.setting, value, choice.reason)
    settings.columns[-1].no_wrap = False
    print_data(settings)
    print_data("")
    taken = duration(estimate.total_seconds, "estimate")
    print_data(f"about {taken} and {estimate.memory_gib:.1f} GiB of memory on {device}")


def _tail_table(classes: Sequence[ClassCount]) -> Table:
    """A bar for each class from head to tail, in proportion to its train images; of many classes, both ends."""
    table = plain_table("class", "train", "test", "", right=("train", "test"))
    half = MOST_CLASSES // 2
    for place, one in enumerate(classes):
        if len(classes) > MOST_CLASSES and half <= place < len(classes) - half:
            if place == half:
                table.add_row(f"({len(classes) - 2 * half:,} more)", "", "", "")
            continue
        bar = "#" * max(1, round(BAR_COLUMNS * one.train / max(1, classes[0].train)))
        table.add_row(one.name, f"{one.train:,}", f"{one.test:,}", bar)
    return table


def as_plain(
    folder: Path, path: Path, looked_over: Inventory, choices: Sequence[Choice], estimate: Estimate, device: str
) -> dict[str, Any]:
    """The whole page as JSON."""
    least, median, most = looked_over.sides
    return {
        "folder": str(folder.absolute()),
        "preset": str(path),
        "classes": [{"name": one.name, "train": one.train, "test": one.test} for one in class_counts(looked_over)],
        "train_bytes": looked_over.train_bytes,
        "test_set": looked_over.survey.test_set,
        "short_sides": {"least": least, "median": median, "most": most},
        "long_share": looked_over.aspect,
        "modes": dict(looked_over.modes),
        "turned": looked_over.turned,
        "repeated": [[str(one), str(other)] for one, other in looked_over.repeated],
        "crossing": [str(file) for file in looked_over.crossing],
        "unreadable": [{"file": fault.where, "why": fault.what} for fault in looked_over.unreadable],
        "notes": list(looked_over.survey.notes),
        "choices": [asdict(choice) for choice in choices],
        "estimate": machine.as_plain(estimate, machine.device_here(device)),
    }
