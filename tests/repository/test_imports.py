"""Help and listings answer quickly: they import neither torch nor Textual."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine.run
from tests.ltdd_tui.recorded import record

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "torchvision", "sklearn", "textual", "numpy", "PIL"]
RUN_MODULES = [module.name for module in pkgutil.walk_packages(engine.run.__path__, "engine.run.")]
# Runs the program in the first argument, then prints which of the packages named after it were imported.
PROBE = """
import sys
# Before the program runs, which may replace sys.argv.
program, *packages = sys.argv[1:]
try:
    exec(program)
except SystemExit as exit:
    assert exit.code in (None, 0), exit.code
print("\\nloaded:", [name for name in packages if name in sys.modules])
"""


def loaded_by(program: str, packages: list[str]) -> str:
    """The last line of the probe in a fresh interpreter: the packages that `program` loaded."""
    done = subprocess.run([sys.executable, "-c", PROBE, program, *packages], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_probe_reports_loaded_packages() -> None:
    assert loaded_by("import json", ["json", "torch"]) == "loaded: ['json']"
    assert loaded_by("import json, sys; sys.argv[:] = ['ltdd-tui']", ["json", "torch"]) == "loaded: ['json']"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["presets", "list"],
        ["runs"],
        ["run", "quickstart", "--dry-run"],
        ["serve", "--help"],
    ],
)
def test_help_and_listings_load_neither_torch_nor_textual(arguments: list[str]) -> None:
    program = f"import sys; from ltdd_tui.cli.main import main; sys.argv[:] = ['ltdd-tui', *{arguments!r}]; main()"
    assert loaded_by(program, HEAVY) == "loaded: []"


def test_the_list_of_runs_loads_none_of_them_where_there_are_runs(tmp_path: Path) -> None:
    record(tmp_path / "one", "done", 20)
    listing = f"sys.argv[:] = ['ltdd-tui', 'runs', '--runs-dir', {str(tmp_path)!r}]"
    program = f"import sys; from ltdd_tui.cli.main import main; {listing}; main()"
    assert loaded_by(program, HEAVY) == "loaded: []"


def test_engine_run_loads_no_torch() -> None:
    assert RUN_MODULES, "engine.run has modules"
    assert loaded_by("; ".join(f"import {name}" for name in RUN_MODULES), [*HEAVY, "ltdd_tui"]) == "loaded: []"


# Opens every screen of the app on a recorded run.
EVERY_SCREEN = """
import asyncio, os, sys
from pathlib import Path
place = Path(sys.argv[-1])
os.environ["LTDD_HOME"] = os.environ["LTDD_CACHE"] = str(place / "home")
from ltdd_tui.app import LtddApp, load_screens
from tests.ltdd_tui.driving import sees
from tests.ltdd_tui.recorded import record
async def main():
    folder = record(place / "runs" / "one", "done", 20)
    load_screens()
    app = LtddApp(place / "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await sees(pilot, "quickstart")
        app.open_run(folder)
        await sees(pilot, "Accuracy by class")
        app.action_runs()
        await sees(pilot, "one")
        app.open_compare([folder, folder])
        await sees(pilot, "Accuracy")
        app.action_help()
        await pilot.pause()
asyncio.run(main())
"""


def test_opening_every_screen_loads_no_torch(tmp_path: Path) -> None:
    heavy = ["torch", "torchvision", "sklearn", "textual"]
    assert loaded_by(EVERY_SCREEN, [*heavy, str(tmp_path)]) == "loaded: ['textual']"
