"""Where in a run's console a worker starts: what another one printed must not look like the last one's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.run.folder import HELD

STARTS = "--- a worker starts ---"


def since_start(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines of the latest worker that had the run; all of them where no start is marked.

    One that was refused, since another had the run, says nothing of how the run went: it is left out.
    """
    return last_said(_without_refused(lines))


def last_said(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines since the last start, be it of one that was refused."""
    starts = [place for place, line in enumerate(lines) if line == STARTS]
    return tuple(lines[starts[-1] + 1 :] if starts else lines)


def _without_refused(lines: Iterable[str]) -> list[str]:
    """The lines without refusals, their hints and the starts of those who were refused; others may print between."""
    kept: list[str] = []
    refused = False
    for line in lines:
        if line.startswith("error: ") and line.endswith(HELD):
            refused = True
            if STARTS in kept:
                del kept[len(kept) - 1 - kept[::-1].index(STARTS)]
        elif refused and line.startswith("hint: "):
            refused = False
        else:
            refused = False
            kept.append(line)
    return kept
