"""How times, sizes and accuracies are written, everywhere the same."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from rich.cells import cell_len, set_cell_size


def duration(seconds: float | None) -> str:
    """`42 s`, `3:07`, `2:05:09`, `44 days`; a dash for what is not known."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.0f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(value: float | None) -> str:
    """One decimal; a dash for what is not known."""
    return "-" if value is None else f"{value:.1f}"


def mean_and_std(mean: float | None, std: float | None, repeats: int) -> str:
    """`86.9 +- 0.7`; without a spread where one network cannot have one."""
    if mean is None:
        return "-"
    return f"{mean:.1f} +- {std:.1f}" if repeats > 1 and std is not None else f"{mean:.1f}"


def factor_name(factor: float | str | None) -> str:
    """An imbalance factor: `100`, or `natural`; a question mark for what is not known."""
    return f"{factor:g}" if isinstance(factor, int | float) else factor or "?"


def stage_name(name: str) -> str:
    """A stage's name as it is said."""
    return name.replace("_", " ")


def age(seconds: float) -> str:
    """How long ago something was, roughly: `now`, `42 s`, `5 min`, `3 h`, `12 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= max(2, length * (2 if unit == "days" else 1)):
            return f"{seconds / length:.0f} {unit}"
    return "now"


def size(count: int) -> str:
    """Bytes as `812 bytes`, `1.2 MB`, `3.4 GB`; powers of ten, as disks are sold and file managers count."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, {"bytes": "kB", "kB": "MB", "MB": "GB", "GB": "TB"}[unit]
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "bytes" else f"{amount:.1f} {unit}"


def shortened(text: str, width: int) -> str:
    """The text in `width` cells, with dots in its middle where it is longer: names of runs differ at their ends."""
    if cell_len(text) <= width:
        return text
    if width < 2:
        return set_cell_size(text, max(0, width))
    # Signs may take two cells each, so that a place in the text is no place on the line.
    end = next(place for place in range(len(text) + 1) if cell_len(text[place:]) <= (width - 1) // 2)
    return f"{set_cell_size(text, width - 1 - cell_len(text[end:]))}\u2026{text[end:]}"


def short_path(path: Path) -> str:
    """The path with ~ for the home folder."""
    absolute, home = path.absolute(), Path.home()
    return f"~/{absolute.relative_to(home)}" if absolute.is_relative_to(home) else str(absolute)


def roughly(seconds: float) -> str:
    """An estimate of time, no finer than it can be meant: `40 s`, `14 min`, `3.2 h`, `6 days`."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        value = seconds / size
        if value < most:
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def gibibytes(value: float) -> str:
    """A size in GiB, with as many digits as tell something."""
    if value < 0.1:
        return f"{value * 1024:.0f} MiB"
    return f"{value:.2f} GiB" if value < 1 else f"{value:.1f} GiB" if value < 100 else f"{value:,.0f} GiB"


def clean(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colors."""
    if text.isprintable():
        return text
    return "".join(" " if sign in "\t\n" else "" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
