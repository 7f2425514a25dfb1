"""The command line `ltdd-tui`: its commands and its error handling. Data goes to stdout, everything else to stderr.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM. Nothing imported here loads
torch or Textual, so that help and listings answer at once; a command that needs either imports it inside.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Annotated

import typer

from engine.run.errors import Fault, InputError, LtddError
from ltdd_tui.cli import cache, doctor, experts, new, predict, presets, report, results, run, serve, sweep, verify
from ltdd_tui.cli.options import Device, RunsDir
from ltdd_tui.cli.output import print_note

app = typer.Typer(
    name="ltdd-tui",
    no_args_is_help=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ltdd-tui {doctor.installed_version('ltdd-tui') or '(not installed)'}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def ltdd_tui(
    context: typer.Context,
    runs_dir: RunsDir,
    device: Device = "auto",
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Distill a long-tailed image set into a small balanced one. Without a command, open the screen."""
    command = context.invoked_subcommand
    if command is None:
        raise typer.Exit(run.show_screen(runs_dir, device))
    # These options belong to the screen; given before a command, they would silently have no effect.
    for name in ("runs_dir", "device"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} must come after the command", option, f"ltdd-tui {command} {option} ...")


app.command("new")(new.new)
app.command("run")(run.run)
app.command("sweep")(sweep.sweep)
app.command("import")(run.import_set)
app.command("import-experts")(experts.import_experts)
app.command("resume")(run.resume)
app.command("watch")(run.watch)
app.command("stop")(run.stop)
app.command("runs")(results.runs)
app.command("show")(results.show_run)
app.command("tag")(results.tag)
app.command("evaluate")(results.evaluate)
app.command("scores")(results.score)
app.command("export")(results.export)
app.command("verify")(verify.verify_run)
app.command("predict")(predict.predict)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.add_typer(presets.app, name="presets")
app.add_typer(cache.app, name="cache")
app.command("estimate")(presets.estimate)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Runs the command that sys.argv names; prints an error that the user can mend without a traceback."""
    _open_standard_streams()
    # Such as a setting of an older version in a preset: one line, without Python's own file and line.
    warnings.showwarning = lambda message, *_, **__: print_note(f"warning: {message}")
    try:
        app()
    except LtddError as error:
        print_note(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of stdout, such as `head`, has seen enough; without this, Python reports it again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A full disk or a folder of another user is no bug of ours.
        print_note(str(Fault(error.strerror or str(error), str(error.filename or ""))))
        sys.exit(1)


def _open_standard_streams() -> None:
    """Puts the null device in the place of streams that were closed, and lets any text be written.

    Otherwise the next file that is opened takes the number of a closed stream, and what is printed goes into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A locale such as ISO-8859-1 has no sign for most names, and none has one for bytes that are no text.
            stream.reconfigure(errors="backslashreplace")
