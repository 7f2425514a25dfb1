"""Which images the tail keeps, and how classes are grouped."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.dataset import class_groups, select_long_tailed
from engine.run.datasets import wanted_counts

LABELS = np.random.RandomState(0).permutation(np.repeat(np.arange(10), 5000))


@pytest.mark.parametrize(("imbalance_factor", "total"), [(10.0, 20431), (50.0, 13996), (100.0, 12406), (200.0, 11203)])
def test_totals_equal_the_papers(imbalance_factor: float, total: int) -> None:
    assert len(select_long_tailed(LABELS, 10, imbalance_factor, 42)) == total


def test_counts_and_images_equal_a_fresh_draw_of_each_class() -> None:
    chosen = select_long_tailed(LABELS, 10, 100.0, 42)
    counts = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert np.bincount(LABELS[chosen]).tolist() == counts
    assert (np.diff(LABELS[chosen]) >= 0).all()
    expected = np.flatnonzero(LABELS == 9)[np.random.RandomState(42).choice(5000, 50, replace=False)]
    assert chosen[-50:].tolist() == expected.tolist()
    assert len(set(chosen.tolist())) == len(chosen)


def test_seed_changes_which_images_but_not_how_many() -> None:
    one, other = (select_long_tailed(LABELS, 10, 100.0, seed) for seed in (1, 2))
    assert len(one) == len(other) and set(one[-50:]) != set(other[-50:])


def test_natural_takes_every_image_in_order() -> None:
    labels = np.array([2, 0, 1, 0, 2, 2])
    assert select_long_tailed(labels, 3, "natural", 42).tolist() == [1, 3, 2, 0, 4, 5]
    assert wanted_counts([2, 1, 3], "natural") == [2, 1, 3]


def test_a_class_short_of_its_count_gives_all_it_has() -> None:
    labels = np.repeat([0, 1, 2], [30, 100, 40])
    assert wanted_counts([30, 100, 40], 4.0) == [100, 50, 25]
    assert np.bincount(labels[select_long_tailed(labels, 3, 4.0, 42)]).tolist() == [30, 50, 25]


def test_groups_by_count_at_imagenet_lts_borders() -> None:
    groups, rule = class_groups([101, 100, 20, 19])
    assert groups == ["many", "medium", "medium", "few"]
    assert rule.startswith("by images")


def test_groups_by_rank_where_a_group_were_empty() -> None:
    groups, rule = class_groups([50, 5000, 83, 139, 232, 387, 645, 1077, 1796, 2997])
    assert groups == ["few", "many", "few", "few", "medium", "medium", "medium", "many", "many", "many"]
    assert rule.startswith("thirds")
    assert class_groups([7, 7])[0] == ["many", "medium"]
