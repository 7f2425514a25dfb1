"""What the curves and the images of the screen cost.

`python -m benchmarks.panels` prints all; each figure has a function of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from textual.app import App, ComposeResult
from textual.widget import Widget

from engine.run.events import MatchingStep, Preview
from ltdd_tui.preferences import series_color
from ltdd_tui.runs.history import LossHistory
from ltdd_tui.screens.run.images.renderer import ImageSelection, RenderRequest
from ltdd_tui.screens.run.images.view import ImagesView
from ltdd_tui.widgets.chart import line
from ltdd_tui.widgets.curve import Curve

Size = tuple[int, int]


class OneWidget(App[None]):
    """An app that shows one widget on the whole screen."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._widget = widget

    def compose(self) -> ComposeResult:
        yield self._widget


def curve_refresh_milliseconds(points: int = 100_000, size: Size = (60, 18), refreshes: int = 40) -> float:
    """CPU time of a refresh: one more point is taken in, both losses are drawn, the screen is composed."""
    return asyncio.run(_curve_refresh(points, size, refreshes))


async def _curve_refresh(points: int, size: Size, refreshes: int) -> float:
    noise = np.random.default_rng(0).uniform(0.9, 1.1, points + refreshes)
    losses = noise * np.exp(-np.arange(points + refreshes) / points)
    steps = [MatchingStep(at + 1, float(loss), float(loss) / 2, 0.01, 0.04) for at, loss in enumerate(losses)]
    history, curve, new = LossHistory(), Curve(log_axis=True), iter(steps[points:])
    for step in steps[:points]:
        history.append(step)

    def refresh() -> None:
        history.append(next(new))
        named = enumerate((("rep", history.loss_rep), ("cls", history.loss_cls)))
        curve.plot([line(name, history.iterations, y, series_color(place, dark=True)) for place, (name, y) in named])

    async with OneWidget(curve).run_test(size=size):
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


class ImagesCost(NamedTuple):
    """CPU time of a change of pictures, thread included, and the longest that it held up the screen's loop."""

    change_milliseconds: float
    longest_turn_milliseconds: float


def images_cost(size: Size = (120, 40), changes: int = 30, classes: int = 10, ipc: int = 10) -> ImagesCost:
    """The cost of going to another class: its images of 32 pixels are cut out, laid out and drawn as half-cells."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_images_cost(size, changes, _preview(Path(folder), classes, ipc), Path(folder)))


def _preview(root: Path, classes: int, ipc: int, side: int = 32) -> Preview:
    """A preview of noise, the dearest there is: no two cells are alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (classes * side, ipc * side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "p.png")
    (root / "p.json").write_text(json.dumps([[1 / classes] * classes] * (classes * ipc)))
    return Preview(1, "p.png", "p.json", classes, ipc, side)


async def _images_cost(size: Size, changes: int, preview: Preview, root: Path) -> ImagesCost:
    view = ImagesView()
    rows = (place % preview.rows for place in range(changes + 1))

    def change() -> None:
        view.request(RenderRequest(root, preview, ImageSelection(row=next(rows)), (), (), "halfcell"))

    async with OneWidget(view).run_test(size=size):
        change()
        await asyncio.sleep(0.5)
        with _longest_turn() as longest:
            began = time.process_time()
            for _ in range(changes):
                change()
                await asyncio.sleep(0.15)
            return ImagesCost((time.process_time() - began) * 1000 / changes, longest())


@contextlib.contextmanager
def _longest_turn() -> Iterator[Callable[[], float]]:
    """The most CPU time, in milliseconds, that the loop's thread used between two chances of another task."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.002)
            longest = max(longest, (time.thread_time() - began) * 1000)

    task = asyncio.create_task(watch())
    try:
        yield lambda: longest
    finally:
        task.cancel()


def main() -> None:
    """Prints all figures."""
    for points in (1_000, 100_000):
        print(f"curve, {points:,} points, 60x18: {curve_refresh_milliseconds(points):.1f} ms a refresh")
    for size in ((70, 17), (120, 40), (200, 60)):
        cost = images_cost(size)
        print(
            f"images, {size[0]}x{size[1]}: {cost.change_milliseconds:.0f} ms a change,"
            f" longest turn of the loop {cost.longest_turn_milliseconds:.0f} ms"
        )


if __name__ == "__main__":
    main()
