"""Confusion panel: which classes are taken for which, as a shaded matrix from head to tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.color import Color
from textual.content import Content

from ltdd_tui.formatting import clean
from ltdd_tui.runs.confusion import Confusion
from ltdd_tui.runs.figures import head_to_tail
from ltdd_tui.runs.state import RunView
from ltdd_tui.screens.panel import LinesPanel
from ltdd_tui.widgets.lines import ACCENT, EMPTY, MUTED, LazyLines, Lines, fit, wrapped

NAME_CELLS, SHORTEST_NAME = 12, 6
WITH_FIGURES = (5, 4, 3)
"""Cells of a figure, widest first; where not even the last fits, a class is a column of shades."""
STRONGEST = 0.75
PAIRS_SHOWN = 4
WAITING = "known once the final set is evaluated; a run of an older version, or of more than 200 classes, has none"


@dataclass(frozen=True)
class Shades:
    """The colors of the matrix: the ground, what is right (the diagonal) and what is wrong.

    `largest_error`, in percent, has the full strength of the color of errors, or those of many classes were all faint.
    """

    ground: Color
    right: Color
    wrong: Color
    largest_error: float = 100.0

    def of(self, percent: float, is_right: bool) -> str:
        """The color of a cell; small shares are seen too, so the strength grows with the square root."""
        strength = STRONGEST * min(1.0, percent / (100 if is_right else self.largest_error)) ** 0.5
        return self.ground.blend(self.right if is_right else self.wrong, strength).hex


def matrix_lines(confusion: Confusion, shades: Shades, width: int) -> Lines:
    """A line a class with its percents where they fit, else a line for two classes, whose halves are their shades."""
    count = len(confusion.names)
    longest = max(cell_len(clean(name)) for name in confusion.names)
    name = min(longest, NAME_CELLS)
    room = (width - SHORTEST_NAME - 1) // count
    foot = [EMPTY, *_pairs(confusion, width)]
    if cell := next((cells for cells in WITH_FIGURES if cells <= room), 0):
        name = max(SHORTEST_NAME, min(name, width - 1 - cell * count))
        heads = "".join(fit(clean(other)[: cell - 1], cell, right=True) for other in confusion.names)
        head = Content.styled(" " * (name + 1) + heads, MUTED)
        rows = enumerate(confusion.percents())
        return [head, *(_figures(confusion.names[true], row, true, name, cell, shades) for true, row in rows), *foot]
    shown = confusion.pooled(max(1, width - name - 1))
    percents = shown.percents()
    head = Content.styled(fit("", name + 1) + fit("head, predicted class, tail", len(percents)), MUTED)
    pairs = [(upper, min(upper + 1, len(percents) - 1)) for upper in range(0, len(percents), 2)]
    entries: list[Content | tuple[int, int]] = [head, *pairs, *foot]
    return LazyLines(entries, lambda pair: _halves(pair, shown.names, percents, name, shades))


def _figures(name: str, row: Sequence[float], true: int, name_cells: int, cell: int, shades: Shades) -> Content:
    parts = [
        # An error that rounds to 0 is none worth a figure.
        (fit(f"{percent:.0f}" if percent >= 0.5 else "", cell, right=True), f"on {shades.of(percent, place == true)}")
        for place, percent in enumerate(row)
    ]
    return Content.assemble(fit(name, name_cells) + " ", *parts)


def _halves(
    pair: tuple[int, int], names: Sequence[str], percents: Sequence[Sequence[float]], name_cells: int, shades: Shades
) -> Content:
    upper, lower = pair
    cells = []
    for place in range(len(percents)):
        above = shades.of(percents[upper][place], place == upper)
        below = shades.of(percents[lower][place], place == lower) if lower != upper else shades.ground.hex
        cells.append(("▀", f"{above} on {below}"))
    return Content.assemble((fit(names[upper], name_cells) + " ", MUTED), *cells)


def _pairs(confusion: Confusion, width: int) -> list[Content]:
    worst = confusion.most_confused(PAIRS_SHOWN)
    told = ", ".join(f"{true} taken for {predicted} ({percent:.0f} %)" for true, predicted, percent in worst)
    return wrapped(told or "no error", width, first=Content.styled("most: ", ACCENT))


class ConfusionPanel(LinesPanel):
    """Which classes the networks trained on the final set take for which."""

    NAME = "confusion"
    NUMBER = "9"
    TITLE = "Confusion matrix"
    HELP = """\
Rows are the true classes of the test images, columns the classes they were taken for, both from **head** to **tail**;
figures are percent of the true class, over all networks that were trained on the final set. The diagonal is what is
right. Errors on the left of it go to classes with more images: that is what a long tail does to a classifier.

Where figures do not fit, each cell is one shade, and a line holds two classes; very many classes are added up.
"""

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw_anew())

    def on_unmount(self) -> None:
        self.app.theme_changed_signal.unsubscribe(self)

    def show(self, view: RunView) -> None:
        self._view = view
        if self.changed(view.confusion, view.state.data, view.state.first_regime_told):
            self._draw_anew()

    def _draw_anew(self) -> None:
        view = self._view
        confusion = view.confusion if view else None
        if view is None or confusion is None:
            self.lines.draw(lambda width: wrapped(WAITING, width, MUTED))
            return
        data = view.state.data
        if data and tuple(data.class_names) == confusion.names and len(data.class_counts) == len(confusion.names):
            confusion = confusion.ordered(head_to_tail(data.class_counts))
        colors = self.app.theme_variables
        ground = self.background_colors[1]
        worst = max((percent for _, _, percent in confusion.most_confused(1)), default=100.0)
        shades = Shades(ground, Color.parse(colors["primary"]), Color.parse(colors["accent"]), worst)
        self.border_title = f"{self.NUMBER} {self.TITLE}{view.state.first_regime_told}"
        self.border_subtitle = "rows true, columns predicted, % of the true class"
        self.lines.draw(lambda width: matrix_lines(confusion, shades, width))
