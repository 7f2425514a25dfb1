"""`import`: a set that was made elsewhere becomes a run of its own, evaluated and exported like any other."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from engine.run.errors import InputError
from engine.run.presets import load_preset
from ltdd_tui.cli.options import After, Detach, Device, Overrides, Plain, RunsDir, complete_preset
from ltdd_tui.cli.output import print_note
from ltdd_tui.cli.run import is_terminal, start_and_follow
from ltdd_tui.launch.create import cell_name, prepare
from ltdd_tui.launch.given_set import check_start, inspect_set, ipc_of, made_with_overrides, start_overrides
from ltdd_tui.runs import manage
from ltdd_tui.runs.find import find_run

Space = Literal["whitened", "normalized", "pixels"]
SPACE = "initialize.start_space"
SPACES = {
    "whitened": "as dataset.whitening of the preset prepares train images (ZCA; with none, mean and std)",
    "normalized": "less the mean of the channels, over their standard deviation",
    "pixels": "0 to 1",
}


def import_set(
    given: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="images.pt with labels.pt and lr.pt beside it, or their folder; a torch dict `data` (DC, DM); a folder"
            " of images a class; a distilled.safetensors; a run",
        ),
    ],
    runs_dir: RunsDir,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="the preset whose data set and evaluation are used; a set of ltdd-tui names its own",
            autocompletion=complete_preset,
        ),
    ] = None,
    overrides: Overrides = None,
    space: Annotated[
        Space | None,
        typer.Option("--space", help="what the values of the images are; a folder and a set of ltdd-tui tell it"),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="the run's name; by default after the data set")] = None,
    device: Device = "auto",
    plain: Plain = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the events as JSON lines to stdout")] = False,
    detach: Detach = False,
    after: After = None,
) -> None:
    """Evaluate a set that was made elsewhere: it becomes a run that is shown, compared, exported and resumed.

    Every class needs the same number of images. Files are read without running any code that they may hold.
    """
    behind = [find_run(other, runs_dir) for other in after or []]
    if name is not None:
        manage.check_free(name, runs_dir)
    facts, own = inspect_set(given, runs_dir), list(overrides or [])
    print_note(facts.sentence())
    if preset is None and facts.config:
        preset = str(facts.config)
    elif preset is None and facts.made_with:
        own = made_with_overrides(facts.made_with) + own
    elif preset is None and not any(override.startswith("dataset.name=") for override in own):
        hint = "--preset NAME, whose data set and evaluation are used, or --set dataset.name=..."
        preset = _asked("the preset of its data set", "which data set the set was made of is not known", hint)
    told = space is not None or any(override.startswith(f"{SPACE}=") for override in own)
    if facts.space == "auto" and not told and is_terminal():
        print_note("\n".join(f"{name}: {meaning}" for name, meaning in SPACES.items()))
        own.insert(0, f"{SPACE}={_asked('the values of the images are whitened, normalized or pixels', '', '')}")
    hard = [] if facts.soft_labels else ["initialize.labels=class"]
    # Also where it is auto: a run that is imported may have been imported itself, from another space.
    own = ["method=imported", *start_overrides(facts, True), f"{SPACE}={space or 'auto'}", *hard, *own]
    own = [f"ipc={ipc_of(facts, load_preset(preset, own).dataset)}", *own]
    settings = load_preset(preset, own)
    check_start(facts, settings)
    name = name or manage.free_name(cell_name(settings), runs_dir)
    start_and_follow(prepare(preset, own, runs_dir, name), device, plain, as_json, detach, behind)


def _asked(question: str, what: str, hint: str) -> str:
    """The answer of whoever sits at the terminal; raises InputError without one."""
    if not is_terminal():
        raise InputError(what, "import", hint)
    answer: str = typer.prompt(question, err=True)
    return answer
