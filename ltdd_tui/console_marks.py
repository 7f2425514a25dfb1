"""Where in a run's console a worker starts: what an earlier one printed must not look like the last one's words."""

from __future__ import annotations

from collections.abc import Sequence

STARTS = "--- a worker starts ---"


def since_start(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that the latest worker printed; all of them where no start is marked."""
    starts = [place for place, line in enumerate(lines) if line == STARTS]
    return tuple(lines[starts[-1] + 1 :] if starts else lines)
