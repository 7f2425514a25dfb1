"""A long run with a screen attached: python -m benchmarks.soak [--iterations 3000]

A worker does a small preset while `ltdd-tui watch` shows it in a pseudo terminal, where the focus goes from panel to
panel. Every second the memory and the open files of both are noted. Writes soak.json: after a warm-up of a fifth of
the iterations the memory of both is to stay within 5 %, and the number of descriptors as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.screen_terminal import COLUMNS, ROWS, PtyProgram
from engine.run.folder import RunFolder
from engine.run.presets import dump, load_preset
from ltdd_tui.runs.live import RunStateReader

RESULT = Path(__file__).parent / "results" / "soak.json"
PRESET = "quickstart"
OVERRIDES = (
    "matching.syn_steps=5",
    "matching.syn_steps_cls=5",
    "matching.preview_every=50",
    "matching.checkpoint_every=50",
    "evaluate.every=250",
    "evaluate.repeats=1",
    "experts.num_experts=2",
    "experts.epochs=22",
)
WARM_UP, MOST_GROWTH = 0.2, 0.05
SAMPLE_SECONDS = 1.0
NEXT_PANEL = b"\t"


@dataclass
class Watched:
    """A process, with what it held at each look after the warm-up."""

    pid: int
    memory_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Takes down what it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.memory_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.descriptors.append(len(os.listdir(f"/proc/{self.pid}/fd")))

    def figures(self) -> dict[str, Any]:
        """How memory went on from its median in the first tenth of the looks, and between which counts of files."""
        tenth = max(1, len(self.memory_mb) // 10)
        first, last = (statistics.median(part) for part in (self.memory_mb[:tenth], self.memory_mb[-tenth:]))
        half = len(self.descriptors) // 2
        return {
            "memory_mb_after_warm_up": round(first, 1),
            "memory_mb_at_the_end": round(last, 1),
            "memory_mb_at_most": round(max(self.memory_mb), 1),
            "memory_growth_percent": round(100 * (last / first - 1), 2),
            # A look may come while a file is being written: the usual number is the median.
            "descriptors_after_warm_up": statistics.median(self.descriptors[: half or 1]),
            "descriptors_at_the_end": statistics.median(self.descriptors[half:]),
            "descriptors_at_most": max(self.descriptors),
        }

    @property
    def grew(self) -> bool:
        """Whether memory or the number of descriptors is not what it was after the warm-up."""
        own = self.figures()
        more_memory = own["memory_growth_percent"] > 100 * MOST_GROWTH
        return bool(more_memory or own["descriptors_at_the_end"] > own["descriptors_after_warm_up"])


def main() -> None:
    """Runs it and exits with 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--results", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["LTDD_CACHE"], os.environ["LTDD_HOME"] = os.path.join(place, "cache"), os.path.join(place, "home")
        worker, screen, seconds = soak(RunFolder(Path(place) / "runs" / "soak"), options.iterations)
    figures = {
        "iterations": options.iterations,
        "watched_seconds": round(seconds),
        "looks": len(worker.memory_mb),
        "worker": worker.figures(),
        "screen": screen.figures(),
    }
    # Loads torch: only now that nothing is measured any more.
    from benchmarks.record import write_figures

    made = {"preset": f"{PRESET}, {', '.join(OVERRIDES)}", "terminal": f"{COLUMNS}x{ROWS}"}
    write_figures(options.results, "python -m benchmarks.soak", **made, figures=figures)
    print(json.dumps(figures, indent=1))
    grew = [name for name, watched in (("worker", worker), ("screen", screen)) if watched.grew]
    sys.exit(f"error: grew: {', '.join(grew)}" if grew else 0)


def soak(folder: RunFolder, iterations: int) -> tuple[Watched, Watched, float]:
    """The worker and the screen from the end of the warm-up to the last iteration, and how many seconds that took."""
    folder.root.mkdir(parents=True)
    folder.config.write_text(dump(load_preset(PRESET, [*OVERRIDES, f"matching.iterations={iterations}"])))
    with open(folder.console, "wb") as console:
        command = [sys.executable, "-m", "engine", "run", str(folder.root), "--device", "cpu"]
        process = subprocess.Popen(command, stdout=console, stderr=console)
    app = PtyProgram([sys.executable, "-m", "ltdd_tui", "watch", "soak", "--runs-dir", str(folder.root.parent)], {})
    worker, screen, run, began = Watched(process.pid), Watched(app.process.pid), RunStateReader(folder), 0.0
    try:
        while process.poll() is None and run.state.iteration < iterations:
            time.sleep(SAMPLE_SECONDS)
            run.take_new(None)
            app.press(NEXT_PANEL)
            if run.state.iteration >= WARM_UP * iterations and process.poll() is None:
                began = began or time.monotonic()
                worker.look()
                screen.look()
        seconds = time.monotonic() - began
        if process.wait():
            sys.exit(f"error: the worker failed\n{folder.console.read_text()}")
    finally:
        for own in (process, app.process):
            if own.poll() is None:
                own.kill()
    return worker, screen, seconds


if __name__ == "__main__":
    main()
