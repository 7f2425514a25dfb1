"""The app, with a probe in its event loop: python benchmarks/screen_app.py RUN REPORT

Opens RUN as `ltdd-tui watch RUN` does. When the app ends, REPORT holds as JSON how late the loop was, and its memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from engine.run.folder import RunFolder
from ltdd_tui.app import LtddApp, open_screen

PROBE_SECONDS = 0.02
NOTED_FROM_SECONDS = 0.03
LATE: list[tuple[float, float, float]] = []
TASKS: list[asyncio.Task[None]] = []


async def probe() -> None:
    """Notes when the loop came later than it was asked to: when (seconds since 1970), by how many seconds, and how
    many of them its thread was at work: the rest, other programs of the machine were."""
    while True:
        asked, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep(PROBE_SECONDS)
        late = time.perf_counter() - asked - PROBE_SECONDS
        if late >= NOTED_FROM_SECONDS:
            LATE.append((time.time(), late, time.thread_time() - worked))


def main() -> None:
    folder, report = RunFolder(sys.argv[1]), Path(sys.argv[2])
    LtddApp.on_load = lambda app: TASKS.append(asyncio.create_task(probe()))  # type: ignore[attr-defined]
    open_screen(folder.root.parent, folder=folder)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    report.write_text(json.dumps({"late": LATE, "peak_memory_mb": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    main()
