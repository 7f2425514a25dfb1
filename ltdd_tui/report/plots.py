"""The plots of a report as SVG texts, drawn by matplotlib: small, quiet, and the same in light and dark.

Ink is written as `currentColor`, so that a plot takes the color of the text around it. Data are in the colors of
M. Okabe and K. Ito (2008), which people with any color vision can tell apart, and have a dash and marker of their own.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.run.errors import InputError
from ltdd_tui.formatting import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C6D31")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = "osD^vPX*"
MOST_SERIES = len(COLORS)
"""More lines than these cannot be told apart."""
GROUP_COLORS = {"many": COLORS[0], "medium": COLORS[2], "few": COLORS[1]}
# Stands for the ink until the SVG is written: a color that nothing else has.
SENTINEL = "#010203"
WIDTH, HEIGHT = 4.4, 2.75
MOST_NAMED = 24
"""Of more classes than these no names stand at the axis."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Series:
    """A line of a plot; `spread` is the half height of its error bars, `place` chooses its color, dash and marker."""

    name: str
    x: Sequence[float]
    y: Values
    spread: Values | None = None
    place: int = 0


@dataclass(frozen=True)
class Dot:
    """One line of a ranking: a mean with its spread, and marks to compare it with."""

    name: str
    value: float
    spread: float | None
    random: float | None = None
    published: float | None = None


def check_installed() -> None:
    """Raises InputError, with the command that installs it, where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "matplotlib, which draws its plots, is not installed", "report", 'pip install "ltdd-tui[report]"'
        ) from None


def lines_plot(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    levels: Sequence[tuple[str, float]] = (),
    log_x: bool = False,
    marked: bool = True,
) -> str:
    """Lines with error bars; `levels` are horizontal references. `marked`: a marker at each point."""
    with _Plot() as plot:
        axes = plot.axes
        for one in series:
            place = one.place % MOST_SERIES
            style: dict[str, Any] = {"color": COLORS[place], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.4}
            marker: dict[str, Any] = {"marker": MARKERS[place], "markersize": 4} if marked else {}
            y = [math.nan if value is None else value for value in one.y]
            spread = None if one.spread is None else [value or 0.0 for value in one.spread]
            # Beside one another, or their error bars would lie in one line.
            x = [at * 1.025 ** (place - (len(series) - 1) / 2) for at in one.x] if log_x else one.x
            axes.errorbar(x, y, yerr=spread, capsize=2, label=shortened(one.name, 40), **style, **marker)
        for name, level in levels:
            axes.axhline(level, color=SENTINEL, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6)
            axes.annotate(
                name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8, alpha=0.75
            )
        if log_x:
            axes.set_xscale("log")
            axes.margins(x=0.08)
            ticks = sorted({at for one in series for at in one.x})
            axes.set_xticks(ticks, [f"{at:g}" for at in ticks])
            axes.minorticks_off()
        else:
            # Iterations and classes have no halves.
            axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(series) > 1:
            plot.legend()
        return plot.svg()


def dots_plot(dots: Sequence[Dot], x_label: str) -> str:
    """A line for each: its mean and interval, random images as a hollow dot, a published figure as a diamond."""
    with _Plot(height=0.6 + 0.24 * len(dots)) as plot:
        axes, places = plot.axes, range(len(dots))
        axes.errorbar(
            [dot.value for dot in dots],
            places,
            xerr=[dot.spread or 0.0 for dot in dots],
            fmt="o",
            color=COLORS[0],
            markersize=4.5,
            capsize=2,
            linewidth=1.2,
            label="final",
        )
        for name, marker, color in (("random", "o", SENTINEL), ("published", "D", COLORS[1])):
            known = [(value, place) for place, dot in enumerate(dots) if (value := getattr(dot, name)) is not None]
            if known:
                x, y = zip(*known, strict=True)
                face: dict[str, Any] = {"markerfacecolor": "none"} if name == "random" else {}
                axes.plot(x, y, marker, color=color, markersize=4.5, markeredgewidth=1, label=name, **face)
        axes.set_yticks(places, [shortened(dot.name, 34) for dot in dots])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlabel(x_label)
        plot.legend()
        return plot.svg()


def bars_plot(
    names: Sequence[str],
    groups: Sequence[str],
    values: Values,
    marks: Sequence[tuple[str, Values]],
    top: float,
    y_label: str,
) -> str:
    """A bar for each class from head to tail in the color of its group, and other figures of the class as ticks."""
    with _Plot() as plot:
        axes, places = plot.axes, range(len(names))
        for group, color in GROUP_COLORS.items():
            own = [place for place in places if groups[place] == group]
            if own:
                axes.bar(own, [values[place] or 0.0 for place in own], 0.8, color=color, alpha=0.85, label=group)
        ungrouped = [place for place in places if groups[place] not in GROUP_COLORS]
        if ungrouped:
            axes.bar(ungrouped, [values[place] or 0.0 for place in ungrouped], 0.8, color=COLORS[0], alpha=0.85)
        for (name, figures), dash in zip(marks, ("-", (0, (1.5, 1))), strict=False):
            known = [(place, value) for place, value in enumerate(figures) if value is not None]
            if known:
                at = [place for place, _ in known]
                left, right = [place - 0.4 for place in at], [place + 0.4 for place in at]
                axes.hlines(
                    [value for _, value in known],
                    left,
                    right,
                    colors=SENTINEL,
                    linestyles=dash,
                    linewidth=1.3,
                    label=name,
                )
        # A little more, so that a tick at the top is whole.
        axes.set_ylim(0, 1.03 * top)
        _name_classes(axes, names)
        axes.set_ylabel(y_label)
        plot.legend(columns=5)
        return plot.svg()


def matrix_plot(names: Sequence[str], percents: Sequence[Sequence[float]]) -> str:
    """Percent of each true class (row) that is taken for each class (column)."""
    with _Plot(height=3.6) as plot:
        axes = plot.axes
        # A network that is right about few images has a matrix to be seen all the same.
        highest = max((value for row in percents for value in row), default=0.0) or 100.0
        image = axes.imshow(percents, cmap="cividis", vmin=0, vmax=highest, interpolation="nearest", aspect="auto")
        axes.grid(visible=False)
        if len(names) <= 12:
            for row, values in enumerate(percents):
                for column, value in enumerate(values):
                    if value >= 0.5:
                        ink = "#000000" if value > highest / 2 else "#ffffff"
                        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
        _name_classes(axes, names)
        if len(names) <= MOST_NAMED:
            axes.set_yticks(range(len(names)), [shortened(name, 14) for name in names])
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class, head to tail")
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
        bar.outline.set_visible(False)
        bar.set_label("% of the true class")
        return plot.svg()


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    if len(names) <= MOST_NAMED:
        tall = max(map(len, names), default=0) > 2
        angle: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if tall else {}
        axes.set_xticks(range(len(names)), [shortened(name, 14) for name in names], **angle)
    else:
        axes.set_xlabel(f"{len(names)} classes, head to tail")


class _Plot:
    """One figure in the style of the report, which is closed at the end."""

    def __init__(self, height: float = HEIGHT) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._style = rc_context(STYLE)
        self._style.__enter__()
        # Not pyplot: it keeps every figure, and chooses a window system.
        figure = Figure(figsize=(WIDTH, height))
        self.axes: Axes = figure.subplots()
        self.axes.set_axisbelow(True)
        self._figure = figure

    def __enter__(self) -> _Plot:
        return self

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)

    def legend(self, columns: int = 2) -> None:
        """Below the axes, where it hides nothing."""
        if self.axes.get_legend_handles_labels()[0]:
            self._figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8, columnspacing=1.2)

    def svg(self) -> str:
        """The figure as an SVG element that fills the width it is given."""
        file = io.StringIO()
        self._figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = file.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        # Names of groups, which nothing refers to and which other plots on the page have as well.
        text = re.sub(r'<g id="[\w.-]+">', "<g>", text)
        text = re.sub(r'(<svg [^>]*?) width="[^"]+pt"', r"\1", text, count=1)
        text = re.sub(r'(<svg [^>]*?) height="[^"]+pt"', r"\1", text, count=1)
        return text.replace(SENTINEL, "currentColor").strip()


STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    # A name may hold a dollar sign.
    "text.parse_math": False,
    "svg.hashsalt": "ltdd-tui",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.labelcolor": SENTINEL,
    "axes.edgecolor": SENTINEL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": SENTINEL,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "text.color": SENTINEL,
    "xtick.color": SENTINEL,
    "ytick.color": SENTINEL,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.constrained_layout.use": True,
    "lines.markeredgewidth": 0.8,
}
