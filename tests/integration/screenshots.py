"""Takes the screenshots of the README from existing runs:

    python -m tests.integration.screenshots docs/images --runs-dir runs RUN OTHER

RUN and OTHER are two finished runs of one cell; they are only read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.integration.picture import save_picture
from tests.integration.terminal import Terminal
from tests.integration.walkthrough import REAL, ROOT, surroundings

# By then, everything that is read and drawn in the background is on the screen.
SETTLED_SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("run")
    parser.add_argument("other")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--size", default="120x40")
    options = parser.parse_args()
    columns, rows = map(int, options.size.split("x"))
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        command = [*REAL, "--runs-dir", str(options.runs_dir.absolute())]
        terminal = Terminal(command, columns, rows, surroundings(Path(place)), ROOT)
        try:
            take(terminal, options.out, options.run, options.other)
        finally:
            terminal.hang_up()


def take(terminal: Terminal, out: Path, run: str, other: str) -> None:
    """Goes through the screens and saves launch, runs, run, images and compare to `out`."""

    def picture(name: str) -> None:
        time.sleep(SETTLED_SECONDS)
        save_picture(terminal.colored(), out / f"{name}.png")

    terminal.wait_for("quickstart")
    picture("launch")
    terminal.press("F2")
    terminal.wait_for(run, other)
    picture("runs")
    find(terminal, run)
    terminal.press("Enter")
    terminal.wait_for(run, "Accuracy by class", "Matching loss")
    picture("run")
    # The first 4 hides the images, the second shows and focuses them, m maximizes them.
    terminal.press("4", "4", "m")
    picture("images")
    terminal.press("m", "q")
    terminal.wait_for("data set", "changed")
    # Escape clears the filter and keeps the selection.
    terminal.press("Space", "Escape")
    find(terminal, other)
    terminal.press("Space", "c")
    terminal.wait_for("Settings that differ")
    picture("compare")


def find(terminal: Terminal, name: str) -> None:
    """Filters the list of runs by name."""
    terminal.press("/")
    terminal.write(name)
    time.sleep(1)
    terminal.press("Enter")


if __name__ == "__main__":
    main()
