"""Pictures reach the terminal pixel for pixel, by the renderer that was chosen, and are taken back."""

from __future__ import annotations

import base64
import gc
import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import textual_image.widget  # noqa: F401
from PIL import Image
from rich.control import Control
from textual.app import App, ComposeResult
from textual.strip import Strip
from textual.widgets import Static
from textual_image import renderable
from textual_image.renderable import tgp

from ltdd_tui.screens.run.images.terminal_graphics import BETWEEN, area_of, half_cells, renderer_of, sixels
from ltdd_tui.screens.run.images.view import PictureFrame

ACROSS, DOWN = 7, 3


class Shown(App[None]):
    CSS = "Screen { layout: horizontal; } Static { width: 1fr; height: 100%; }"

    def compose(self) -> ComposeResult:
        yield PictureFrame()
        yield Static("\n".join("beside"))

    @property
    def output(self) -> str:
        """All that goes to the terminal."""
        return "".join(strip.text for strip in self.screen._compositor.render_strips())


def picture() -> Image.Image:
    cells = area_of("kitty", ACROSS, DOWN)
    shape = (DOWN * cells.cell_height, ACROSS * cells.cell_width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is said to a terminal that knows kitty's protocol."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(tgp, "_send_tgp_message", lambda **fields: said.append(fields))
    return said


@pytest.mark.asyncio
async def test_kitty_is_given_every_pixel_and_told_to_let_go(messages: list[dict[str, Any]]) -> None:
    async with Shown().run_test() as pilot:
        frame = pilot.app.query_one(PictureFrame)
        frame.put("kitty", picture(), ACROSS, DOWN)
        await pilot.pause()
        png = base64.b64decode("".join(said["payload"] for said in messages if "payload" in said))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(picture()))
        assert {(said["c"], said["r"]) for said in messages if said.get("a") == "p"} == {(ACROSS, DOWN)}
        sent = {said["i"] for said in messages if "i" in said}
        frame.clear()
        assert {said["I"] for said in messages if said.get("a") == "d"} == sent
        await pilot.pause()
        assert not frame.children


@pytest.mark.asyncio
async def test_sixels_are_as_many_pixels_as_the_picture_has() -> None:
    async with Shown().run_test() as pilot:
        frame = pilot.app.query_one(PictureFrame)
        frame.put("sixel", sixels(picture()), ACROSS, DOWN)
        await pilot.pause()
        await pilot.pause()
        width, height = picture().size
        assert f'q"1;1;{width};{height}' in pilot.app.output
        # What stands beside the picture is written beside it, not into it.
        for y, sign in enumerate("beside"[:DOWN]):
            assert f"{Control.move_to(ACROSS, y)}{sign}" in pilot.app.output
        frame.put("halfcell", half_cells(picture().resize((ACROSS, DOWN * 2))), ACROSS, DOWN)
        await pilot.pause()
        assert "\x1bP" not in pilot.app.output and "▀" in pilot.app.output


def as_xterm_draws(sequence: str, width: int, height: int) -> np.ndarray:
    """The colors of the pixels in percent, where defining a color is not choosing it."""
    pixels, colors, chosen, x, y = np.zeros((height + 6, width, 3)), {"": (0, 0, 0)}, "", 0, 0
    tokens = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|(?:!(\d+))?([?-~])|([$-])")
    for define, red, green, blue, choose, count, sixel, step in tokens.findall(sequence.partition('"')[2]):
        if define:
            colors[define] = (int(red), int(green), int(blue))
        elif choose:
            chosen = choose
        elif sixel:
            for bit in range(6):
                if (ord(sixel) - 63) >> bit & 1:
                    pixels[y + bit, x : x + int(count or 1)] = colors[chosen]
            x += int(count or 1)
        else:
            x, y = 0, y + 6 * (step == "-")
    return pixels[:height]


def test_sixels_are_the_picture_also_where_a_color_is_not_chosen_by_defining_it() -> None:
    cells = area_of("sixel", ACROSS, DOWN)
    width, height = ACROSS * cells.cell_width, DOWN * cells.cell_height
    stripes = np.array([(255, 0, 0), (0, 0, 255), (0, 255, 0)], dtype=np.uint8)[np.arange(width) // 2 % 3]
    striped = np.repeat(stripes[None], height, axis=0)
    drawn = as_xterm_draws(sixels(Image.fromarray(striped)).removesuffix("\x1b\\"), width, height)
    np.testing.assert_array_equal(drawn, striped // 255 * 100)


@pytest.mark.asyncio
async def test_of_pictures_in_half_cells_that_are_gone_nothing_is_kept() -> None:
    across, down = 40, 12
    draw = np.random.default_rng(0)
    async with Shown().run_test() as pilot:
        frame = pilot.app.query_one(PictureFrame)
        for _ in range(6):
            pixels = draw.integers(0, 256, (2 * down, across, 3), dtype=np.uint8)
            frame.put("halfcell", half_cells(Image.fromarray(pixels)), across, down)
            await pilot.pause()
            assert "▀" in "".join(
                strip.render(pilot.app.console) for strip in pilot.app.screen._compositor.render_strips()
            )
        assert Strip.render_ansi.cache_info().currsize < 2 * across * down


def lines_with_half_cells() -> int:
    """How many of them there are in memory."""
    return sum(isinstance(one, Strip) and "▀" in one.text for one in gc.get_objects())


@pytest.mark.asyncio
async def test_pictures_that_are_gone_are_freed_without_the_garbage_collector() -> None:
    across, down, pictures = 40, 12, 12
    black = Image.new("RGB", (across, 2 * down))
    async with Shown().run_test() as pilot:
        frame = pilot.app.query_one(PictureFrame)
        gc.disable()
        before = lines_with_half_cells()
        try:
            for place in range(pictures):
                # Only the first line has cells of two colors.
                black.putpixel((place, 0), (255, 0, 0))
                frame.put("halfcell", half_cells(black), across, down)
                await pilot.pause()
            assert lines_with_half_cells() - before < pictures // 2
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("answered", "through", "mode", "renderer"),
    [
        (renderable.SixelImage, "", "auto", "sixel"),
        (renderable.TGPImage, "", "auto", "kitty"),
        (renderable.HalfcellImage, "", "auto", "halfcell"),
        (renderable.UnicodeImage, "", "auto", "halfcell"),
        (renderable.TGPImage, "TMUX", "auto", "halfcell"),
        (renderable.SixelImage, "STY", "auto", "halfcell"),
        (renderable.TGPImage, "SSH_CONNECTION", "auto", "halfcell"),
        (renderable.TGPImage, "TMUX", "sixel", "sixel"),
        (renderable.TGPImage, "", "halfcell", "halfcell"),
        (renderable.TGPImage, "", "off", "off"),
    ],
)
def test_the_terminals_answer_counts_unless_something_is_between_or_another_way_is_chosen(
    monkeypatch: pytest.MonkeyPatch, answered: type, through: str, mode: Any, renderer: str
) -> None:
    for name in BETWEEN:
        monkeypatch.delenv(name, raising=False)
    if through:
        monkeypatch.setenv(through, "/tmp/socket,1,0")
    monkeypatch.setattr(renderable, "Image", answered)
    app: Any = SimpleNamespace(is_web=False, is_headless=False)
    assert renderer_of(mode, app) == renderer
    app.is_web = True
    assert renderer_of(mode, app) == ("off" if mode == "off" else "halfcell")
