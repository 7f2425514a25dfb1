"""Tapes of student steps, kept for as long as there is room: what pass 2 finds there, it need not compute again."""

from __future__ import annotations

from torch import Tensor

from engine.matching.student import Tape


class Tapes:
    """The tapes of the latest steps, in `room` bytes at most; how many fit follows from their sizes alone."""

    def __init__(self, room: float) -> None:
        self._room, self._used = room, 0
        self._kept: dict[int, tuple[tuple[Tensor, Tape], int]] = {}

    def put(self, step: int, images: Tensor, tape: Tape | None) -> None:
        """Keeps a step's augmented images with its tape, in the place of the earliest ones; without one, neither."""
        size = tape_bytes((images, tape))
        if tape is None or size > self._room:
            return
        self._kept[step] = (images, tape), size
        self._used += size
        while self._used > self._room:
            self.take(next(iter(self._kept)))

    def take(self, step: int) -> tuple[Tensor, Tape] | None:
        """Gives a step's images and tape away, None where they are not kept."""
        kept, size = self._kept.pop(step, (None, 0))
        self._used -= size
        return kept


def tape_bytes(tape: Tape | None) -> int:
    """The memory of a tape: of all tensors in its tuples and lists."""
    if isinstance(tape, Tensor):
        return tape.numel() * tape.element_size()
    return sum(map(tape_bytes, tape)) if isinstance(tape, tuple | list) else 0
