"""Uses the whole app by keys alone: launch quickstart, watch it, look at its images, compare it, quit.

    python -m tests.integration.walkthrough OUT [--size 120x40] [--seconds 15 | --real]

saves a screenshot of each step to OUT. The worker replays a recorded run, or with `--real` runs the engine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.picture import save_picture
from tests.integration.terminal import Terminal

ROOT = Path(__file__).parents[2]
ON_RECORDING = [sys.executable, str(Path(__file__).with_name("app_on_recording.py"))]
REAL = [sys.executable, "-m", "ltdd_tui"]
HALF_CELL = "▀"


@contextmanager
def terminal_of(program: list[str], place: Path, columns: int, rows: int, seconds: float = 5) -> Iterator[Terminal]:
    """`program` in a terminal, with its runs, preferences and cache below `place`."""
    terminal = Terminal(
        [*program, "--runs-dir", str(place / "runs")], columns, rows, surroundings(place, seconds), ROOT
    )
    try:
        yield terminal
    finally:
        terminal.hang_up()


def surroundings(place: Path, seconds: float = 5) -> dict[str, str]:
    """Environment variables that keep a program away from the user's own preferences, runs and cache."""
    return {
        "COLORTERM": "truecolor",
        "LTDD_HOME": str(place / "home"),
        "LTDD_CACHE": str(place / "cache"),
        "RECORDED_SECONDS": str(seconds),
        "PYTHONPATH": str(ROOT),
    }


def add_datm_run(program: list[str], place: Path) -> None:
    """Makes a finished run of the baseline DATM to compare with."""
    options = ["--set", "method=datm", "--name", "baseline-datm", "--runs-dir", str(place / "runs"), "--plain"]
    environment = os.environ | surroundings(place, seconds=0.2)
    command = [*program, "run", "quickstart", *options]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


class Walk:
    """The steps in their order; `pictures` is the folder for their screenshots, if any are wanted."""

    def __init__(self, terminal: Terminal, pictures: Path | None = None, patience: float = 60) -> None:
        self.terminal, self._pictures, self._patience = terminal, pictures, patience

    def launch(self) -> None:
        """Starts the app and launches a run."""
        self.terminal.wait_for("quickstart")
        self._picture("launch")
        self.terminal.press("C-s")
        self.terminal.wait_for("running")

    def watch(self) -> None:
        """Watches the run to its end."""
        self.terminal.wait_until(lambda text: "DISTILL" in text, "the stage distill", self._patience)
        self._picture("run")
        self.terminal.wait_until(lambda text: "✓ done" in text, "the end", self._patience)
        self._picture("done")

    def maximize_images(self) -> None:
        """Maximizes the panel of images and restores it."""
        self.terminal.press("4")
        time.sleep(0.5)
        # On a wide terminal, the key hides a panel that is shown; a second press shows it again.
        if "Synthetic images" not in self.terminal.text():
            self.terminal.press("4")
            self.terminal.wait_for("Synthetic images")
        before = self.terminal.text().count(HALF_CELL)
        self.terminal.press("m")
        self.terminal.wait_until(
            lambda text: "Matching loss" not in text and text.count(HALF_CELL) >= max(before, 20), "large images"
        )
        self._picture("images")
        self.terminal.press("m")

    def list_runs(self) -> None:
        """Shows both runs in the list."""
        self.terminal.press("F2")
        self.terminal.wait_for("baseline-datm", "quickstart", "done")
        self._picture("runs")

    def compare(self) -> None:
        """Selects both runs and compares them."""
        self.terminal.press("g", "Space", "j", "Space", "c")
        self.terminal.wait_for("A quickstart", "B baseline-datm")
        self._picture("compare")

    def leave(self) -> None:
        """Quits the app."""
        self.terminal.press("C-q")
        self.terminal.wait_for("exit code 0")

    def all(self) -> None:
        """All steps."""
        self.launch()
        self.watch()
        self.maximize_images()
        self.list_runs()
        self.compare()
        self.leave()

    def _picture(self, name: str) -> None:
        if self._pictures is None:
            return
        # By then, notifications are gone and images are drawn.
        time.sleep(1.5)
        self._pictures.mkdir(parents=True, exist_ok=True)
        save_picture(self.terminal.colored(), self._pictures / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--seconds", type=float, default=15, help="how long the recorded run takes")
    parser.add_argument("--real", action="store_true", help="the real quickstart, of some minutes")
    options = parser.parse_args()
    program = REAL if options.real else ON_RECORDING
    columns, rows = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as place:
        add_datm_run(program, Path(place))
        with terminal_of(program, Path(place), columns, rows, options.seconds) as terminal:
            Walk(terminal, options.out, patience=1200 if options.real else 120).all()


if __name__ == "__main__":
    main()
