"""How times, sizes, accuracies and names are written: the same on the command line and on the screen."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.cells import cell_len, set_cell_size

from engine.run.errors import escaped

MINUTE, HOUR, DAY = 60, 3600, 86400


def _sign(sign: str, otherwise: str) -> str:
    """The sign where the output can hold it, such as not in an ASCII locale."""
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return otherwise
    return sign


PLUS_MINUS = _sign("±", "+-")


def duration(seconds: float | None, style: Literal["measured", "estimate", "age"] = "measured") -> str:
    """A time as text, `-` where it is None; a negative one, from clocks that differ, counts as none.

    measured  to the second             1.3 s   42 s   3:07     2:05:09   44 days
    estimate  two digits, one unit      40 s    85 s   14 min   3.2 h     6 days
    age       how long ago, one unit    now     42 s   5 min    3 h       12 days
    """
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    if style == "measured":
        if seconds < MINUTE:
            return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    if style == "age" and seconds < 2:
        return "now"
    # An estimate stays in the smaller unit up to 90 of it: "75 s" says more than "1 min".
    per_unit = 90 if style == "estimate" else 60
    if seconds < per_unit:
        return f"{seconds:.0f} s"
    if seconds < per_unit * MINUTE:
        return f"{seconds / MINUTE:.0f} min"
    hours_digits = 1 if style == "estimate" and seconds < 10 * HOUR else 0
    return f"{seconds / HOUR:.{hours_digits}f} h"


def ago(seconds: float) -> str:
    """How long ago something was: `now`, or `5 min ago`."""
    age = duration(seconds, "age")
    return age if age == "now" else f"{age} ago"


def percent(value: float | None) -> str:
    """An accuracy or share in percent with one decimal; `-` where it is None."""
    return "-" if value is None else f"{value:.1f}"


def percent_done(share: float) -> str:
    """How far something is, from 0 to 1, as `43 %`; never 100 %, which only what is finished has."""
    return f"{min(99, int(100 * share))} %"


def units(count: float) -> str:
    """`6,420`, or `2.5` where a unit is long."""
    return f"{count:,.0f}" if count == int(count) else f"{count:,.1f}"


def mean_and_std(mean: float | None, std: float | None, repeats: int) -> str:
    """`86.9 ± 0.7` in percent; without the standard deviation for a single network, `-` without a mean."""
    if mean is None:
        return "-"
    return f"{mean:.1f} {PLUS_MINUS} {std:.1f}" if repeats > 1 and std is not None else f"{mean:.1f}"


def factor_name(factor: float | str | None) -> str:
    """An imbalance factor: `100`, `natural`, or `?` where it is None."""
    return f"{factor:g}" if isinstance(factor, int | float) else factor or "?"


def stage_name(name: str) -> str:
    """A stage's name in running text, without underscores."""
    return name.replace("_", " ")


SHORT_VERDICTS = {
    "distilled": "use the set",
    "start": "start as good",
    "selection": "selection as good",
    "random": "random as good",
    "everything": "train on all",
    "undecided": "too few tests",
    "diverged": "networks diverged",
}


def short_verdict(use: str | None) -> str:
    """`use the set`, `train on all`: for a list; empty where a run has no verdict, or one of another program."""
    return SHORT_VERDICTS.get(use or "", "")


def size(count: int) -> str:
    """Bytes as `812 bytes`, `1.2 MB`, `3.4 GB`; powers of ten, as disks are sold and file managers count."""
    amount, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    unit = units[0]
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "bytes" else f"{amount:.1f} {unit}"


def shortened(text: str, width: int) -> str:
    """As `clean`, in at most `width` cells: a longer text loses its middle, since run names differ at the end."""
    text = clean(text)
    if cell_len(text) <= width:
        return text
    if width < 2:
        return set_cell_size(text, max(0, width))
    # A character may take two cells, so the end is cut off by cells, not by index.
    start = next(index for index in range(len(text) + 1) if cell_len(text[index:]) <= (width - 1) // 2)
    return f"{set_cell_size(text, width - 1 - cell_len(text[start:]))}\u2026{text[start:]}"


def first_few(texts: Sequence[str], most: int, of_the_others: str = "") -> list[str]:
    """The first texts, at most so many, then how many others there are, as `and 4 more`, with words about them."""
    others = len(texts) - most
    return [*texts[:most], f"and {others:,} more{of_the_others}"] if others > 0 else list(texts)


def short_path(path: Path) -> str:
    """The path with ~ for the home folder."""
    absolute, home = path.absolute(), Path(os.path.expanduser("~"))
    return f"~/{absolute.relative_to(home)}" if absolute.is_relative_to(home) else str(absolute)


def gibibytes(value: float) -> str:
    """A size given in GiB with two or three digits: `812 KiB`, `51 MiB`, `0.42 GiB`, `3.1 GiB`, `120 GiB`."""
    if value < 1 / 1024:
        return f"{value * 1024**2:.0f} KiB"
    if value < 0.1:
        return f"{value * 1024:.0f} MiB"
    return f"{value:.2f} GiB" if value < 1 else f"{value:.1f} GiB" if value < 100 else f"{value:,.0f} GiB"


def clean(text: str) -> str:
    """The text in one line for the screen: control characters are escaped, line ends and tabs are spaces.

    Other signs that no font shows, such as joiners, are left out: terminals differ in how wide they are.
    """
    if text.isprintable():
        return text
    one_line = escaped(text.replace("\n", " ").replace("\t", " "))
    return "".join(char for char in one_line if unicodedata.category(char)[0] != "C")
