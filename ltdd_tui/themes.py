"""The screen's own themes, and the colors of series: Okabe and Ito's, which color-blind eyes tell apart."""

from __future__ import annotations

from textual.theme import Theme

SERIES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#BBBBBB")
"""In order of use; more series than these start over."""
SERIES_ON_LIGHT = ("#3A8FC7", "#B27500", "#00835F", "#B0568A", "#877E00", "#BF5200", "#004E86", "#757575")
"""The same hues, dark enough for thin lines on a light ground."""


def series_color(place: int, dark: bool) -> str:
    """The color of the series at that place, for a dark or a light theme."""
    colors = SERIES if dark else SERIES_ON_LIGHT
    return colors[place % len(colors)]


DARK = Theme(
    name="ltdd-dark",
    primary="#56B4E9",
    secondary="#009E73",
    accent="#E69F00",
    warning="#F0E442",
    error="#D55E00",
    success="#009E73",
    foreground="#E4E6EB",
    background="#101418",
    surface="#161B21",
    panel="#1F262E",
    dark=True,
)
LIGHT = Theme(
    name="ltdd-light",
    primary="#0072B2",
    secondary="#009E73",
    accent="#B35C00",
    warning="#8A6D00",
    error="#B3261E",
    success="#00795A",
    foreground="#1B1F24",
    background="#FAFAF8",
    surface="#F1F1EE",
    panel="#E4E4E0",
    dark=False,
)

GROUP_PLACES = {"many": 0, "medium": 1, "few": 3}
"""Which of SERIES the classes with many, some and few images have, wherever they are drawn."""
