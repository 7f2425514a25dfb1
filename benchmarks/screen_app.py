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
from ltdd_tui import app as app_module

PROBE_SECONDS = 0.02
NOTED_FROM_SECONDS = 0.03


class ProbedApp(app_module.LtddApp):
    """Notes when its loop came later than it was asked to: (seconds since the start, seconds late)."""

    late: list[tuple[float, float]]

    async def on_load(self) -> None:
        self.late = []
        self._probe_task = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(PROBE_SECONDS)
            late = time.perf_counter() - asked - PROBE_SECONDS
            if late >= NOTED_FROM_SECONDS:
                self.late.append((time.time(), late))


def main() -> None:
    folder, report = RunFolder(sys.argv[1]), Path(sys.argv[2])
    probed: list[ProbedApp] = []

    def make(*arguments: object, **more: object) -> ProbedApp:
        probed.append(ProbedApp(*arguments, **more))  # type: ignore[arg-type]
        return probed[0]

    app_module.LtddApp = make  # type: ignore[assignment,misc]
    app_module.open_screen(folder.root.parent, folder=folder)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    report.write_text(json.dumps({"late": probed[0].late, "peak_memory_mb": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    main()
