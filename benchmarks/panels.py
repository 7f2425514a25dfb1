"""What the curves and the images of the screen cost: milliseconds of the screen's loop for each refresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from textual.app import App, ComposeResult

from engine.run.events import MatchingStep
from ltdd_tui.lines import line
from ltdd_tui.panels.curve import Curve
from ltdd_tui.progress import LossTrack
from ltdd_tui.series import Series
from ltdd_tui.themes import series_color


class _CurveApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.curve = Curve(log_axis=True)

    def compose(self) -> ComposeResult:
        yield self.curve


def curve_refresh_milliseconds(points: int = 100_000, size: tuple[int, int] = (60, 18), refreshes: int = 40) -> float:
    """CPU time of a refresh: one more point is taken in, both losses are drawn, the screen is composed and written."""
    return asyncio.run(_curve_refresh(points, size, refreshes))


async def _curve_refresh(points: int, size: tuple[int, int], refreshes: int) -> float:
    noise = np.random.default_rng(0).uniform(0.9, 1.1, points + refreshes)
    losses = noise * np.exp(-np.arange(points + refreshes) / points)
    steps = [MatchingStep(at + 1, float(loss), float(loss) / 2, 0.01, 0.04) for at, loss in enumerate(losses)]
    series, track, app = Series(steps[:points]), LossTrack(), _CurveApp()

    def refresh() -> None:
        nonlocal series
        series = series.appended(steps[len(series)])
        track.take(series)
        named = enumerate((("rep", track.rep), ("cls", track.cls)))
        app.curve.plot([line(name, track.iterations, y, series_color(place, True)) for place, (name, y) in named])

    async with app.run_test(size=size):
        track.take(series)
        idle = await _cpu_milliseconds(lambda: None, refreshes)
        return await _cpu_milliseconds(refresh, refreshes) - idle


async def _cpu_milliseconds(work: Callable[[], None], times: int) -> float:
    """CPU time of this process for each time that `work` is done and the screen has had time to follow."""
    await asyncio.sleep(0.2)
    began = time.process_time()
    for _ in range(times):
        work()
        await asyncio.sleep(0.05)
    return (time.process_time() - began) * 1000 / times


if __name__ == "__main__":
    print(f"curve, 100,000 points, 60x18: {curve_refresh_milliseconds():.1f} ms a refresh")
