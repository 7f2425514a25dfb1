"""From a form to a run that is under way: the same path as `ltdd-tui run`."""

from __future__ import annotations

from pathlib import Path

from engine.run.folder import RunFolder
from ltdd_tui import worker
from ltdd_tui.errands import Errand, send
from ltdd_tui.form import Form
from ltdd_tui.preparing import prepare


def begin(form: Form, name: str, runs_dir: Path) -> tuple[RunFolder, Errand]:
    """Creates the run and sends its worker, which outlives this program; raises SettingsError or InputError."""
    folder = prepare(form.preset, form.overrides(), runs_dir, name)
    return folder, send(folder, worker.run_arguments(folder, form.device))
