"""What the screen costs: python benchmarks/screen.py [--seconds 30] [--long-seconds 480]

Prints, and writes to benchmarks/results/screen.json: how long 100,000 events take to replay into the final state, and
with what memory; at 100 events a second the share of a core, the latest that the event loop came, and how memory grows;
and how long it takes from the start of the program to the first picture. The app runs in a pseudo terminal of 120x40,
with a process of its own that writes the events.

Memory is what the process has resident, looked at every second. In the first two minutes caches of bounded size fill;
`memory_mb_a_minute` is the line by least squares through what comes after, `memory_off_the_line_mb` how far off it the
samples are (one standard deviation). `memory_kept_mb_a_minute` is the part that must grow: what the state, the log and
the curves keep of the events, as tracemalloc counts it in a process without a screen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from screen_terminal import COLUMNS, ROWS, PtyProgram

from engine.run.folder import RunFolder

HERE = Path(__file__).parent
RESULT = HERE / "results" / "screen.json"
EVENTS, RATE, STARTS = 100_000, 100, 5
SETTLING_SECONDS, FILLING_SECONDS = 5.0, 120.0
TARGETS = {
    "replay_seconds": 3.0,
    "cpu_percent_of_a_core": 15.0,
    "latest_ms": 150.0,
    "first_paint_seconds": 1.0,
    "memory_mb_a_minute": 0.5,
}
# In a process of its own, so that its peak of memory is its own.
REPLAY = """
import resource, sys, time
from pathlib import Path
from engine.run.folder import RunFolder
from ltdd_tui.runs.live import LiveRun
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run = LiveRun(RunFolder(Path(sys.argv[1])))
began = time.perf_counter()
while not run.read():
    pass
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, peak / 1024, (peak - before) / 1024, run.view.state.iteration)
"""
# The second half of the events comes to a reader that has read the first, as it does to a screen.
KEPT = """
import gc, json, shutil, sys, tracemalloc
from pathlib import Path
from engine.run.folder import RunFolder
from ltdd_tui.runs.live import LiveRun
lines = Path(sys.argv[1]).read_text().splitlines(True)
folder = RunFolder(Path(sys.argv[2]))
folder.root.mkdir()
run, kept, half = LiveRun(folder), [], len(lines) // 2
tracemalloc.start()
for part in (lines[:half], lines[half:]):
    with open(folder.events, "a") as file:
        file.writelines(part)
    while not run.read():
        pass
    run.view.state.steps.loss_rep
    gc.collect()
    kept.append(tracemalloc.get_traced_memory()[0])
seconds = json.loads(lines[-1])["t"] - json.loads(lines[half])["t"]
print((kept[1] - kept[0]) / 2**20 * 60 / seconds)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--long-seconds", type=float, default=480)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        os.environ["LTDD_HOME"] = os.path.join(place, "home")
        os.environ["PYTHONPATH"] = str(HERE.parent)
        figures |= replay(Path(place) / "replay" / "many")
        figures |= live(Path(place) / "live" / "steady", options.seconds, options.long_seconds)
        figures |= first_paint(Path(place) / "live")
    record = {"name": "screen", "command": "python benchmarks/screen.py", **machine(), "n": 1, "figures": figures}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(lines(figures)))


def replay(root: Path) -> dict[str, Any]:
    """Of 100,000 events: into the state alone, then until the screen shows the last of them."""
    _write(root, "--events", str(EVENTS)).wait()
    tries = [[float(word) for word in _python("-c", REPLAY, str(root)).split()] for _ in range(3)]
    last = int(tries[0][3])
    with _app(root) as (app, report):
        shown = app.seconds_until(f"{last:,}")
        time.sleep(1)
    return {
        "replay_events": EVENTS,
        "replay_file_mb": round((root / "events.jsonl").stat().st_size / 1e6, 1),
        "replay_seconds": round(statistics.median(row[0] for row in tries), 2),
        "replay_peak_memory_mb": round(max(row[1] for row in tries), 1),
        "replay_shown_seconds": round(shown, 2),
        "replay_shown_peak_memory_mb": round(report["peak_memory_mb"], 1),
        **_latest(report, "replay_latest"),
    }


def live(root: Path, seconds: float, long_seconds: float) -> dict[str, Any]:
    """At 100 events a second: processor, lateness over `seconds`, then memory until `long_seconds`."""
    writer = _write(root, "--rate", str(RATE), "--seconds", str(SETTLING_SECONDS + long_seconds + 30))
    try:
        # Until the recorded part is written, with its times moved to now.
        while not (root.exists() and RunFolder(root).is_running()):
            time.sleep(0.1)
        with _app(root) as (app, report):
            app.seconds_until("it/s")
            time.sleep(SETTLING_SECONDS)
            began, cpu = time.time(), app.cpu_seconds()
            samples, cpu_percent = [], 0.0
            while time.time() - began < max(seconds, long_seconds):
                samples.append((time.time() - began, app.memory_mb()))
                time.sleep(1)
                if not cpu_percent and time.time() - began >= seconds:
                    cpu_percent = 100 * (app.cpu_seconds() - cpu) / (time.time() - began)
                    written = app.bytes
    finally:
        writer.kill()
        writer.wait()
    return {
        "live_events_a_second": RATE,
        "live_seconds": seconds,
        "cpu_percent_of_a_core": round(cpu_percent, 1),
        **_latest(report, "latest", began, seconds),
        **_latest(report, "latest_in_all", began, long_seconds),
        "written_kb_a_second": round(written / 1000 / (SETTLING_SECONDS + seconds), 1),
        **_memory(samples),
        "memory_kept_mb_a_minute": round(
            float(_python("-c", KEPT, str(root / "events.jsonl"), str(root.parent.with_name("again")))), 2
        ),
    }


def first_paint(runs_dir: Path) -> dict[str, Any]:
    """From the start of the process until the form with its presets is shown; the first start is not counted."""
    command = [sys.executable, "-m", "ltdd_tui", "--runs-dir", str(runs_dir)]
    seconds = []
    for _ in range(1 + STARTS):
        app = PtyProgram(command, {})
        seconds.append(app.seconds_until("quickstart"))
        time.sleep(0.5)
        app.quit()
    return {
        "first_paint_seconds": round(statistics.median(seconds[1:]), 2),
        "first_paint_all": [round(value, 2) for value in seconds[1:]],
    }


@contextmanager
def _app(root: Path) -> Iterator[tuple[PtyProgram, dict[str, Any]]]:
    """The probed app on one run; its report is there when it has ended."""
    report: dict[str, Any] = {}
    path = root.parent / "report.json"
    app = PtyProgram([sys.executable, str(HERE / "screen_app.py"), str(root), str(path)], {})
    try:
        yield app, report
        app.quit()
        report |= json.loads(path.read_text())
    finally:
        if app.process.poll() is None:
            app.process.kill()


def _write(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(HERE / "screen_events.py"), str(root), *arguments])


def _python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def _latest(report: dict[str, Any], name: str, since: float = 0, seconds: float = 1e12) -> dict[str, float]:
    """The latest the loop came over `seconds` from `since`, and the most of it that was the app's own work, in ms."""
    within = [(late, own) for at, late, own in report["late"] if since <= at <= since + seconds]
    return {
        f"{name}_ms": round(1000 * max((late for late, _ in within), default=0.0), 1),
        f"{name}_own_work_ms": round(1000 * max((own for _, own in within), default=0.0), 1),
    }


def _memory(samples: list[tuple[float, float]]) -> dict[str, float]:
    """How memory grew after its caches had filled; of a short run, over its second half."""
    last = samples[-1][0]
    settled = [(at, held) for at, held in samples if at >= min(FILLING_SECONDS, last / 2)]
    times, values = zip(*settled, strict=True)
    slope, start = statistics.linear_regression(times, values)
    return {
        "memory_mb_at_first": round(samples[0][1], 1),
        "memory_mb_at_last": round(values[-1], 1),
        "memory_line_seconds": round(last - times[0]),
        "memory_mb_a_minute": round(60 * slope, 2),
        "memory_off_the_line_mb": round(statistics.pstdev(v - start - slope * t for t, v in settled), 2),
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    return {
        "commit": commit + ("-dirty" if changed else ""),
        "device": f"{model[0].partition(':')[2].strip() if model else platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "textual": version("textual")},
        "terminal": f"{COLUMNS}x{ROWS}",
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """A line a figure, with its target where it has one."""
    return [
        f"{name:30} {value}" + (f"   (target {TARGETS[name]:g} or less)" if name in TARGETS else "")
        for name, value in figures.items()
    ]


if __name__ == "__main__":
    main()
