"""A soft label as bars: the likeliest classes, and what is left for the others."""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST = 0.005
EIGHTHS = " ▏▎▍▌▋▊▉█"


def likeliest(label: Sequence[float], count: int) -> list[int]:
    """The classes of the `count` largest probabilities, largest first; a tie goes to the first class."""
    return sorted(range(len(label)), key=lambda place: -label[place])[:count]


def shares(label: Sequence[float], lines: int) -> tuple[list[int], float]:
    """The classes to show in so many lines, and what is left for all others, which then takes the last line."""
    worth = [place for place in likeliest(label, len(label)) if label[place] >= SMALLEST]
    shown = worth if len(worth) == len(label) <= lines else worth[: max(lines - 1, 0)]
    return shown, max(1.0 - sum(label[place] for place in shown), 0.0)


def bar(share: float, width: int) -> str:
    """A bar of `width` cells, to an eighth of a cell; a share above zero is seen."""
    eighths = max(round(min(max(share, 0.0), 1.0) * width * 8), 1 if share > 0 else 0)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)


def in_words(label: Sequence[float], names: Sequence[str], width: int) -> str:
    """The likeliest classes in one line of at most `width` cells."""
    text = ""
    for place in likeliest(label, len(label)):
        longer = f"{text}  {names[place]} {label[place]:.0%}".strip()
        if len(longer) > width or label[place] < SMALLEST:
            break
        text = longer
    return text
