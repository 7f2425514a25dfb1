"""Times are short and never ambiguous."""

from __future__ import annotations

import pytest

from ltdd_tui.wording import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (1.34, "1.3 s"),
        (42.4, "42 s"),
        (59.9, "60 s"),
        (187.0, "3:07"),
        (7509.0, "2:05:09"),
        (3599.9, "1:00:00"),
        (172_800.0, "2 days"),
        (3_814_227.0, "44 days"),
    ],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said
