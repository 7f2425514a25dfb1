"""The panel of the images: what it shows, what it follows, what it lets go, and what it says of damage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.pilot import Pilot
from textual.widgets import Static

import ltdd_tui
from engine.run.events import DataReady, Preview, Stamped
from engine.run.folder import RunFolder
from ltdd_tui.runs.state import RunState, RunView, fold
from ltdd_tui.screens.run.images.panel import ImagesPanel
from ltdd_tui.screens.run.images.renderer import ImageRenderer
from ltdd_tui.screens.run.images.terminal_graphics import area_of, next_mode, renderer_of
from ltdd_tui.screens.run.images.view import ImagesView

pytestmark = pytest.mark.asyncio

STYLE = Path(ltdd_tui.__file__).with_name("style.tcss")
NAMES = ["cat", "dog", "[eel]"]
COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
COLUMNS, SIDE = 4, 8


class Shown(App[None]):
    CSS_PATH = STYLE
    CSS = "#other { height: 1fr; display: none; }"

    def __init__(self, images: Any = "auto") -> None:
        super().__init__()
        self.panel = ImagesPanel(images)

    def compose(self) -> ComposeResult:
        yield self.panel
        yield Vertical(Static("another panel"), id="other")

    @property
    def text(self) -> str:
        """All that is on the screen."""
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())

    @property
    def colors(self) -> set[tuple[int, int, int]]:
        """The colors of the pictures that are on the screen."""
        strips = self.screen._compositor.render_strips()
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        found = {color.triplet for style in styles for color in (style.color, style.bgcolor) if color}
        return {tuple(triplet) for triplet in found if triplet} & {*COLORS, *map(dimmed, COLORS)}  # type: ignore[misc]


async def settle(pilot: Pilot[None]) -> None:
    """Waits until what was asked for is shown."""
    images_view = pilot.app.query_one(ImagesView)
    await pilot.pause()
    for _ in range(400):
        if not images_view._working and (images_view._shown and images_view._shown.job) == images_view._job:
            break
        await asyncio.sleep(0.005)
    await pilot.pause()


def dimmed(color: tuple[int, int, int]) -> tuple[int, int, int]:
    return color[0] // 2, color[1] // 2, color[2] // 2


@pytest.fixture
def view(tmp_path: Path) -> Callable[..., RunView]:
    """A view of a run with previews at these iterations; odd ones have darker pictures."""

    def make(*iterations: int) -> RunView:
        folder = RunFolder(tmp_path / "run")
        folder.previews.mkdir(parents=True, exist_ok=True)
        events: list[Any] = [DataReady(NAMES, [900, 50, 2], ["many", "medium", "few"], "", 9, 9.0)]
        for iteration in iterations:
            preview = Preview(iteration, f"previews/{iteration}.png", f"previews/{iteration}.json", 3, COLUMNS, SIDE)
            events.append(preview)
            if not (folder.root / preview.path).exists():
                write(folder.root, preview)
        state = fold(RunState(), [Stamped(seq, 0.0, event) for seq, event in enumerate(events)])
        return RunView(folder, state, None, (), False, len(iterations))

    return make


def write(root: Path, preview: Preview) -> None:
    colors = COLORS if preview.iteration % 2 == 0 else [dimmed(color) for color in COLORS]
    pixels = np.repeat(np.repeat(np.array(colors, dtype=np.uint8)[:, None], COLUMNS, 1), SIDE, 1).repeat(SIDE, 0)
    Image.fromarray(pixels).save(root / preview.path)
    table = [[0.8 if other == row else 0.1 for other in range(3)] for row in range(3) for _ in range(COLUMNS)]
    (root / preview.labels).write_text(json.dumps(table))


async def test_all_classes_a_label_and_the_newest_iteration_are_seen(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        assert "no preview yet" in app.text
        app.panel.show(view(10, 20))
        await settle(pilot)
        assert app.colors == set(COLORS) and all(name in app.text for name in NAMES)
        assert "all 3 classes" in app.text and "cat, image 1" in app.text and "80%" in app.text
        assert "iteration 20, newest" in app.text


async def test_keys_go_through_classes_images_modes_and_iterations(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 40)) as pilot:
        app = pilot.app
        app.panel.show(view(10, 15, 20))
        app.panel.focus()
        await pilot.press("right_square_bracket", "right_square_bracket", "left")
        await settle(pilot)
        assert app.colors == set(COLORS) and "[eel], image 4" in app.text
        await pilot.press("e")
        await settle(pilot)
        assert app.colors == {COLORS[2]} and "[eel] (2 real images), class 3 of 3" in app.text
        await pilot.press("e", "comma")
        await settle(pilot)
        assert app.colors == {dimmed(COLORS[2])} and "iteration 15, 1 before newest" in app.text


async def test_who_looks_back_stays_there_and_the_newest_is_followed_again(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        app.panel.show(view(10, 20))
        app.panel.focus()
        await pilot.press("comma")
        app.panel.show(view(10, 20, 30))
        await settle(pilot)
        assert "iteration 10, 2 before newest" in app.text
        await pilot.press("full_stop", "full_stop")
        app.panel.show(view(10, 20, 30, 40))
        await settle(pilot)
        assert "iteration 40, newest" in app.text


async def test_many_classes_come_in_pages_that_keys_leaf_through(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(24, 10)) as pilot:
        app = pilot.app
        app.panel.show(view(10))
        app.panel.focus()
        await settle(pilot)
        assert app.colors == {COLORS[0]} and "cat, image 1" in app.text
        for key, color in (("pagedown", 1), ("pagedown", 2), ("pagedown", 2), ("pageup", 1)):
            await pilot.press(key)
            await settle(pilot)
            assert app.colors == {COLORS[color]}


async def test_the_change_since_the_start_says_how_much_it_is_amplified(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(110, 40)) as pilot:
        app = pilot.app
        app.panel.show(view(10, 15, 20))
        app.panel.focus()
        await pilot.press("c", "comma")
        await settle(pilot)
        # The darker pictures differ by 100 at most, which twice as much would not fit into 8 bits.
        assert "all 3 classes, change since iteration 10, x1" in app.text and app.colors == set()
        shown = {
            tuple(c.triplet)
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style
            for c in (segment.style.bgcolor,)
            if c and c.triplet
        }
        assert {(28, 113, 113), (113, 28, 113), (113, 113, 28)} <= shown
        await pilot.press("c")
        await settle(pilot)
        assert "change since" not in app.text and app.colors == {*map(dimmed, COLORS)}


async def test_a_click_selects_an_image(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 40)) as pilot:
        app = pilot.app
        app.panel.show(view(10))
        await settle(pilot)
        tiles = app.panel._images_view._shown.layout.tiles
        await pilot.click("Band PictureFrame", offset=(2 * tiles.pitch_across + 2, tiles.pitch_down + 1))
        await settle(pilot)
        assert "dog, image 3" in app.text


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("20.png", b"no picture", "previews/20.png is no PNG"),
        ("20.png", None, "previews/20.png is missing"),
        ("20.json", b"[[1, 2", "does not hold 12 labels"),
        ("20.json", json.dumps([[1.0]] * 12).encode(), "label 1 is damaged"),
        ("20.json", None, "previews/20.json is missing"),
    ],
)
async def test_damage_is_told_and_the_rest_goes_on(
    view: Callable[..., RunView], name: str, content: bytes | None, told: str
) -> None:
    async with Shown().run_test(size=(100, 20)) as pilot:
        app, seen = pilot.app, view(10, 20)
        path = seen.folder.previews / name
        path.unlink() if content is None else path.write_bytes(content)
        app.panel.show(seen)
        app.panel.focus()
        await settle(pilot)
        assert told in " ".join(app.text.replace("│", " ").split())
        assert (app.colors == set(COLORS)) == name.endswith("json")
        assert ("80%" in app.text) == name.endswith("png")
        await pilot.press("comma")
        await settle(pilot)
        assert app.colors == set(COLORS) and "80%" in app.text and told not in app.text


async def test_what_is_off_the_screen_is_let_go_and_made_again(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        app.panel.show(view(10))
        await settle(pilot)
        images_view = app.panel._images_view
        assert images_view._renderer._sheets
        app.panel.display, app.query_one("#other").display = False, True
        await settle(pilot)
        assert not images_view._renderer._sheets and images_view._shown is None
        assert not any(frame.children for frame in images_view.query("PictureFrame"))
        app.panel.show(view(10, 20))
        await settle(pilot)
        assert images_view._shown is None
        app.panel.display, app.query_one("#other").display = True, False
        await settle(pilot)
        assert app.colors == set(COLORS) and "iteration 20, newest" in app.text


async def test_one_picture_is_made_for_one_change(
    view: Callable[..., RunView], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    build = ImageRenderer.build

    def counted(self: ImageRenderer, order: Any) -> Any:
        made.append(order.request.preview.iteration)
        return build(self, order)

    monkeypatch.setattr(ImageRenderer, "build", counted)
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        seen = view(10, 20)
        for version in range(20):
            app.panel.show(replace(seen, state=replace(seen.state, checkpoint=version)))
            await settle(pilot)
        assert made == [20]


async def test_previews_may_vanish_with_a_resume_or_a_replay(view: Callable[..., RunView]) -> None:
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        app.panel.show(view(10, 20))
        await settle(pilot)
        app.panel.show(view())
        await settle(pilot)
        assert "no preview yet" in app.text and app.colors == set()
        app.panel.show(view(10))
        await settle(pilot)
        assert app.colors == set(COLORS)


@pytest.mark.parametrize("size", [(20, 5), (30, 8), (60, 12), (200, 60)])
async def test_every_size_shows_something_and_none_breaks(view: Callable[..., RunView], size: tuple[int, int]) -> None:
    async with Shown().run_test(size=(80, 20)) as pilot:
        app = pilot.app
        app.panel.show(view(10))
        app.panel.focus()
        await pilot.resize_terminal(*size)
        for _ in range(3):
            await settle(pilot)
            assert app.colors
            await pilot.press("e")


async def test_images_can_be_switched_off_and_on(view: Callable[..., RunView]) -> None:
    async with Shown("off").run_test(size=(80, 20)) as pilot:
        app = pilot.app
        app.panel.show(view(10))
        app.panel.focus()
        await settle(pilot)
        assert app.colors == set() and "images are off" in app.text and "80%" in app.text
        await pilot.press("i")
        await settle(pilot)
        assert app.colors == set(COLORS)


async def test_without_a_terminal_of_its_own_the_app_draws_half_cells() -> None:
    async with Shown().run_test() as pilot:
        modes = {mode: renderer_of(mode, pilot.app) for mode in ("auto", "kitty", "sixel", "halfcell", "off")}
        assert modes == dict.fromkeys(("auto", "kitty", "sixel", "halfcell"), "halfcell") | {"off": "off"}
    assert next_mode("off") == "auto" and next_mode("auto") == "kitty"
    assert (area_of("halfcell", 9, 5).cell_width, area_of("halfcell", 9, 5).cell_height) == (1, 2)
    assert area_of("sixel", 9, 5).cell_height > 2
