"""The widget: keys and wheel change what is seen, news are followed, and what is equal is not drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from textual.app import App, ComposeResult

from ltdd_tui.widgets import curve as module
from ltdd_tui.widgets.axis import Window
from ltdd_tui.widgets.chart import Level, Line, line
from ltdd_tui.widgets.curve import WEIGHTS, Curve, next_weight, smoothed, weight_for

pytestmark = pytest.mark.asyncio

WHOLE = Window(1, 1000)


class Shown(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.curve = Curve(log_axis=True)

    def compose(self) -> ComposeResult:
        yield self.curve


def lines(points: int = 1000, value: float = 0.5) -> list[Line]:
    return [line("rep", np.arange(1.0, points + 1), np.full(points, value), "#56B4E9")]


def text(curve: Curve) -> str:
    return "\n".join(curve.render_line(row).text for row in range(curve.size.height))


@pytest.fixture
def count_drawings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    count = [0]
    draw = module.draw

    def counted(*arguments: object) -> object:
        count[0] += 1
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "draw", counted)
    return count


async def test_equal_curves_are_not_drawn_anew_and_others_are(count_drawings: list[int]) -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        curve = pilot.app.curve
        curve.plot(lines())
        await pilot.pause()
        assert count_drawings == [1]
        for same in (lines(), lines()):
            curve.plot(same)
        await pilot.pause()
        assert count_drawings == [1]
        others: list[tuple[Sequence[Line], Sequence[Level]]] = [
            (lines(1001), ()),
            (lines(value=0.6), ()),
            (lines(value=0.6), [Level("random", 0.1, "#FFFFFF")]),
            ([], ()),
        ]
        for count, (other, levels) in enumerate(others, 2):
            curve.plot(other, levels)
            await pilot.pause()
            assert count_drawings == [min(count, 4)]
        assert "nothing to draw yet" in text(curve)


async def test_keys_zoom_pan_and_fit() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        curve = pilot.app.curve
        await pilot.press("plus", "left", "l", "f")
        curve.plot(lines())
        assert curve.window == WHOLE
        await pilot.press("plus", "plus")
        zoomed = curve.window
        assert zoomed is not None and zoomed.right == 1000 and zoomed.width == pytest.approx(999 * 0.49)
        await pilot.press("left")
        assert curve.window is not None and curve.window.right < 1000
        await pilot.press("right", "right", "right")
        assert curve.window is not None and curve.window.right == 1000
        await pilot.press("minus", "minus", "minus", "minus")
        assert curve.window == WHOLE
        await pilot.press("plus", "f")
        assert curve.window == WHOLE


async def test_who_looks_at_the_end_follows_the_run_and_who_does_not_is_left_alone() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        curve = pilot.app.curve
        curve.plot(lines())
        await pilot.press("plus", "plus")
        width = curve.window.width
        curve.plot(lines(1100))
        assert curve.window.right == 1100 and curve.window.width == pytest.approx(width)
        await pilot.press("left", "left")
        before = curve.window
        curve.plot(lines(1200))
        assert curve.window == before
        curve.plot(lines(100))
        assert curve.window.left >= 1 and curve.window.right <= 100


async def test_the_axis_is_logarithmic_until_told_otherwise() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        pilot.app.curve.plot([line("rep", np.arange(1.0, 5), np.array([1.0, 0.5, 0.2, 0.1]), "#56B4E9")])
        await pilot.pause()
        assert {"1.0", "0.5", "0.2", "0.1"} <= set(text(pilot.app.curve).split())
        await pilot.press("l")
        assert {"0.8", "0.6", "0.4", "0.2"} <= set(text(pilot.app.curve).split())


async def test_values_are_read_off_under_the_mouse_and_by_keys() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        curve = pilot.app.curve
        curve.plot([line("rep", np.array([0.0, 100.0]), np.array([0.4, 0.8]), "#56B4E9")])
        await pilot.pause()
        await pilot.hover(Curve, offset=(58, 9))
        assert "rep 0.800" in text(curve)
        await pilot.press("f")
        assert "0.800" not in text(curve)
        await pilot.press("shift+left", "shift+left")
        assert "at 98" in text(curve) and "rep 0.800" in text(curve)


async def test_the_wheel_zooms_where_the_mouse_is() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        curve = pilot.app.curve
        curve.plot(lines())
        await pilot.pause()
        await pilot._post_mouse_events([module.events.MouseScrollUp], Curve, offset=(6, 9))
        assert curve.window.left < 30 and curve.window.width == pytest.approx(999 * 0.7)
        await pilot._post_mouse_events([module.events.MouseScrollDown], Curve, offset=(6, 9))
        assert curve.window == WHOLE


async def test_any_size_and_theme_can_be_drawn_on() -> None:
    async with Shown().run_test(size=(60, 18)) as pilot:
        pilot.app.curve.plot(lines())
        for size in ((1, 1), (5, 20), (20, 5), (200, 60), (60, 18)):
            await pilot.resize_terminal(*size)
        dark = pilot.app.curve.render_line(5)
        pilot.app.theme = "textual-light"
        await pilot.pause()
        assert [segment.style for segment in pilot.app.curve.render_line(5)] != [segment.style for segment in dark]


async def test_the_average_is_the_weighted_mean_of_all_values_so_far() -> None:
    values = np.array([4.0, 2.0, 3.0, 10.0])
    for weight in WEIGHTS[1:]:
        means = [np.average(values[: n + 1], weights=weight ** np.arange(n, -1, -1.0)) for n in range(4)]
        np.testing.assert_allclose(smoothed(values, weight), means, rtol=1e-9)
    # (0.5 * 4 + 2) / 1.5, not 0.5 * 0.5 * 4 + 0.5 * 2 as without the correction.
    np.testing.assert_allclose(smoothed(values, 0.5)[:2], [4.0, 4.0 / 1.5])


async def test_gaps_stay_gaps_and_change_nothing_after_them() -> None:
    values = np.array([np.nan, 4.0, np.nan, 2.0, np.inf])
    np.testing.assert_allclose(smoothed(values, 0.5), [np.nan, 4.0, np.nan, 4.0 / 1.5, np.nan])
    assert np.isnan(smoothed(np.full(3, np.nan), 0.9)).all() and not len(smoothed(np.empty(0), 0.9))
    assert smoothed(values, 0.0) is values


@pytest.mark.parametrize(("points", "weight"), [(0, 0.0), (80, 0.0), (200, 0.8), (2000, 0.98), (10_000, 0.995)])
async def test_the_more_points_the_smoother(points: int, weight: float) -> None:
    assert weight_for(points) == weight


async def test_weights_end_at_both_ends() -> None:
    assert (next_weight(0.0, -1), next_weight(0.0, 1), next_weight(0.999, 1)) == (0.0, 0.5, 0.999)
