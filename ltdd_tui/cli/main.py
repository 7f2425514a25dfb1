"""The command line `ltdd-tui`: what it is made of. stdout is data, stderr everything else.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped. Commands import what is heavy inside.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

from engine.run.errors import Fault, InputError, LtddError
from ltdd_tui.cli import doctor, presets, results, run, serve
from ltdd_tui.cli.options import Device, RunsDir
from ltdd_tui.cli.output import note
from ltdd_tui.cli.run import show_screen

app = typer.Typer(
    name="ltdd-tui",
    no_args_is_help=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"ltdd-tui {version('ltdd-tui')}")
        except PackageNotFoundError:
            print("ltdd-tui (not installed)")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def ltdd_tui(
    context: typer.Context,
    runs_dir: RunsDir,
    device: Device = "auto",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Distills a long-tailed image set into a small balanced one. Without a command: opens the screen."""
    if context.invoked_subcommand is None:
        raise typer.Exit(show_screen(runs_dir, device))
    _refuse_misplaced(context, context.invoked_subcommand)


def _refuse_misplaced(context: typer.Context, command: str) -> None:
    """Options of the screen that stand before a command would be taken and not used."""
    for name in ("runs_dir", "device"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise InputError(f"before a command, {option} means nothing", option, f"ltdd-tui {command} {option} ...")


app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("watch")(run.watch)
app.command("stop")(run.stop)
app.command("runs")(results.runs)
app.command("show")(results.show_run)
app.command("evaluate")(results.evaluate)
app.command("export")(results.export)
app.command("serve")(serve.serve)
app.add_typer(presets.app, name="presets")
app.command("estimate")(presets.estimate)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Runs the command that sys.argv names; an error that a person can mend is told without a traceback."""
    # Such as a setting of an older version in a preset: one line, without Python's own file and line.
    warnings.showwarning = lambda message, *_, **__: note(f"warning: {message}")
    try:
        app()
    except LtddError as error:
        note(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read stdout has seen enough; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A full disk, a folder that is not ours: told, where Python would show its insides.
        note(str(Fault(error.strerror or str(error), str(error.filename or ""))))
        sys.exit(1)
