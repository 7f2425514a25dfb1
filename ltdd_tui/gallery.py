"""Which synthetic images are looked at: pure, so that keys only ask for the next place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from engine.run.events import Preview

Shows = Literal["class", "all", "one"]


@dataclass(frozen=True)
class Place:
    """One image of one class at one iteration, alone, among its class or among all; no iteration: the newest."""

    shows: Shows = "class"
    row: int = 0
    image: int = 0
    iteration: int | None = None

    def next_mode(self) -> Place:
        """One class, all classes, one image, and around."""
        modes = get_args(Shows)
        return replace(self, shows=modes[(modes.index(self.shows) + 1) % len(modes)])

    def moved(self, rows: int, images: int, within: Preview) -> Place:
        """`rows` classes and `images` images on; it goes around at the ends."""
        return replace(self, row=(self.row + rows) % within.rows, image=(self.image + images) % within.columns)

    def within(self, preview: Preview) -> Place:
        """The nearest place that there is."""
        return replace(self, row=min(self.row, preview.rows - 1), image=min(self.image, preview.columns - 1))

    def at(self, saved: Sequence[int]) -> int | None:
        """The saved iteration that is shown: the newest, or the last one not after the wanted."""
        if self.iteration is None:
            return saved[-1] if saved else None
        return next((at for at in reversed(saved) if at <= self.iteration), saved[0] if saved else None)

    def stepped(self, steps: int, saved: Sequence[int]) -> Place:
        """As many saved iterations later; at the newest it follows the run again."""
        at = self.at(saved)
        if at is None:
            return self
        wanted = max(saved.index(at) + steps, 0)
        return replace(self, iteration=saved[wanted] if wanted < len(saved) - 1 else None)


def usable(previews: Mapping[int, Preview]) -> list[int]:
    """The iterations whose previews can be looked at; a foreign file may say anything."""
    return sorted(at for at, preview in previews.items() if isinstance(at, int) and _is_sound(preview))


def _is_sound(preview: Preview) -> bool:
    sizes = (preview.rows, preview.columns, preview.image_size)
    return all(isinstance(size, int) and size > 0 for size in sizes) and all(
        isinstance(path, str) for path in (preview.path, preview.labels)
    )
