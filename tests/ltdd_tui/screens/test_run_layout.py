"""Layout of the run screen: no panels overlap, none is too small to read, and its key brings each one to sight."""

from __future__ import annotations

import itertools

import pytest

from ltdd_tui.preferences import PanelLayout
from ltdd_tui.screens.run.layout import LOWEST, NEEDS, ON_REQUEST, Arrangement, are_tabs, tile

SIZES = list(itertools.product((100, 119, 120, 159, 160, 200, 240), (LOWEST, 24, 35, 36, 55, 80)))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_tiles_cover_the_space_without_overlap_whatever_is_hidden(width: int, height: int) -> None:
    for hidden in itertools.chain.from_iterable(itertools.combinations(NEEDS, count) for count in range(8)):
        wanted = [name for name in NEEDS if name not in hidden]
        tiles = tile(wanted, width, height)
        cells = [(x, y) for t in tiles.values() for x in (t.x, t.x + t.width - 1) for y in (t.y, t.y + t.height - 1)]
        assert all(0 <= x < width and 0 <= y < height for x, y in cells)
        assert sum(t.width * t.height for t in tiles.values()) == width * height
        for one, other in itertools.combinations(tiles.values(), 2):
            apart_across = one.x + one.width <= other.x or other.x + other.width <= one.x
            apart_down = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert apart_across or apart_down
        assert all(t.height >= NEEDS[name].rows for name, t in tiles.items())
        assert set(tiles) <= set(wanted)


def test_the_sizes_of_the_sketches() -> None:
    assert set(Arrangement().tiles(200, 55)) == set(NEEDS) - ON_REQUEST
    assert set(Arrangement().toggled("confusion", 200, 55).tiles(200, 55)) == set(NEEDS)
    assert list(Arrangement().tiles(120, 35)) == ["accuracy", "images", "losses", "norms", "log"]
    assert list(Arrangement().tiles(80, 18)) == ["accuracy"]


@pytest.mark.parametrize(("width", "height"), [(80, 18), (120, 35), (200, 55)])
@pytest.mark.parametrize("name", NEEDS)
def test_every_panel_comes_to_sight_by_its_key(name: str, width: int, height: int) -> None:
    arrangement = Arrangement()
    if name in arrangement.tiles(width, height) and not are_tabs(width, height):
        arrangement = arrangement.toggled(name, width, height)
        assert name not in arrangement.tiles(width, height)
    arrangement = arrangement.toggled(name, width, height)
    assert name in arrangement.tiles(width, height)


def test_an_arrangement_is_remembered_but_not_a_panel_of_another_version() -> None:
    arrangement = Arrangement().toggled("losses", 200, 55).toggled("log", 200, 55).toggled("log", 200, 55)
    layout = PanelLayout(**arrangement.remembered())
    assert Arrangement.of(layout).tiles(120, 35) == arrangement.tiles(120, 35)
    other = layout.model_copy(update={"hidden_panels": ["radar", "norms"], "raised_panels": ["radar"]})
    assert Arrangement.of(other) == Arrangement(frozenset({"norms"}), ())


def test_what_is_suggested_gives_way_to_what_was_asked_for() -> None:
    arrangement = Arrangement(suggested=("norms", "log", "experts"))
    assert list(arrangement.tiles(120, 35)) == ["accuracy", "images", "norms", "log", "experts"]
    assert "losses" in arrangement.toggled("losses", 120, 35).tiles(120, 35)
    assert "suggested" not in "".join(arrangement.remembered())
