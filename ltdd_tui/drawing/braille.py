"""Dots drawn as braille characters: two columns and four rows of dots a cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ltdd_tui.decimate import Floats

BLANK = 0x2800
DOTS_ACROSS, DOTS_DOWN = 2, 4
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)


def dots_of_spans(low: Floats, high: Floats, bottom: float, top: float, rows: int) -> NDArray[np.bool_]:
    """Which of `rows` x len(low) dots lie in the spans, the first row at `top`; NaN gives none."""
    scale = (rows - 1) / (top - bottom)
    row = np.arange(rows)[:, None]
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (row >= np.round((top - high) * scale)) & (row <= np.round((top - low) * scale))
    return inside


def cells_of_dots(dots: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The code points of the cells that show `dots`, whose sides are multiples of a cell's."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // DOTS_DOWN, DOTS_DOWN, columns // DOTS_ACROSS, DOTS_ACROSS)
    codes: NDArray[np.uint32] = np.einsum("idjc,dc->ij", cells.astype(np.uint32), _BITS) + np.uint32(BLANK)
    return codes
