"""Follows events.jsonl, as `tail -F` does: a live run and an old one are read by the same code."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.run.events import Stamped, Warned, decode
from engine.run.folder import RunFolder
from engine.run.regular_files import open_regular

CHUNK_BYTES = 1 << 16
LONGEST_LINE_BYTES = 1 << 24
MOST_WARNINGS = 10
GONE = (-1, -1)
MOST_LOOKS = 3
"""A file may grow though no worker is seen, where a file system shows no locks: no look would ever be the last."""


def events_size(folder: RunFolder) -> int:
    """Bytes of a run's events, -1 where there are none.

    Who finds no worker and then reads of one that works trusts that only if the size is still the one of before the
    look: otherwise a worker has begun, or written its last word, meanwhile.
    """
    try:
        return folder.events.stat().st_size
    except OSError:
        return -1


class Feed:
    """Reads what is new in a file of events; a torn last line waits until it is whole.

    `restarts` counts how often the file was truncated or replaced and reading began anew. When it grows, start again
    from an empty state. `caught_up` is whether the last read reached the end of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarts = 0
        self.caught_up = False
        self._offset = 0
        self._file_id: tuple[int, int] | None = None
        self._torn = bytearray()
        self._is_too_long = False
        # Why the file cannot be read, as the system says it; empty where it can.
        self.unreadable = ""
        self._skipped_lines = 0

    def read_new(self, budget_seconds: float = 0.1) -> list[Stamped | Warned]:
        """The events since the last call, in file order; stops early, to be called again, when the time is spent."""
        deadline = time.monotonic() + budget_seconds
        try:
            with open_regular(self.path) as file:
                self.unreadable = ""
                items = self._notice_restart(os.fstat(file.fileno()))
                file.seek(self._offset)
                self.caught_up = False
                while not self.caught_up:
                    chunk = file.read(CHUNK_BYTES)
                    self._offset += len(chunk)
                    self.caught_up = len(chunk) < CHUNK_BYTES
                    items += self._decode_lines(chunk)
                    if time.monotonic() >= deadline:
                        break
                return items
        except FileNotFoundError:
            # A file that comes back is another file, even where it is given the same number.
            self._file_id = None if self._offset == 0 else GONE
            self.caught_up = True
            return []
        except OSError as error:
            self.caught_up = True
            told_before, self.unreadable = self.unreadable, error.strerror or str(error)
            told = self.unreadable == told_before
            return [] if told else [Warned(f"the events cannot be read: {self.unreadable}")]

    def read_all(self) -> list[Stamped | Warned]:
        """Everything up to the present end of the file, however long it takes."""
        items = self.read_new()
        while not self.caught_up:
            items += self.read_new()
        return items

    def _notice_restart(self, stat: os.stat_result) -> list[Stamped | Warned]:
        """Begins anew where the file is another one, or shorter than what was read of it."""
        identity = (stat.st_dev, stat.st_ino)
        known, self._file_id = self._file_id, identity
        if known is None or (known == identity and stat.st_size >= self._offset):
            return []
        self._offset, self._torn, self._is_too_long = 0, bytearray(), False
        self.restarts += 1
        return [Warned("the events were cut short or replaced; they are read again from their beginning")]

    def _decode_lines(self, chunk: bytes) -> list[Stamped | Warned]:
        """The events of the lines that are whole by now; the rest waits for the next chunk."""
        if self._is_too_long:
            _, line_end, chunk = chunk.partition(b"\n")
            if not line_end:
                return []
            self._is_too_long = False
        whole, line_end, rest = chunk.rpartition(b"\n")
        if not line_end:
            self._torn += rest
            if len(self._torn) <= LONGEST_LINE_BYTES:
                return []
            # No line of ours is that long: what is no event is skipped, neither kept in memory nor looked into.
            self._torn, self._is_too_long = bytearray(), True
            return list(self._told([Warned(f"a line of more than {LONGEST_LINE_BYTES:,} bytes is no event")]))
        text = (self._torn + whole).decode("utf-8", errors="replace")
        self._torn = bytearray(rest)
        return list(self._told(decode(line) for line in text.split("\n") if line.strip()))

    def _told(self, items: Iterable[Stamped | Warned]) -> Iterator[Stamped | Warned]:
        """The items, with only the first warnings of lines that are no events: a foreign file holds nothing else."""
        for item in items:
            if isinstance(item, Warned):
                self._skipped_lines += 1
                if self._skipped_lines > MOST_WARNINGS:
                    continue
                if self._skipped_lines == MOST_WARNINGS:
                    item = Warned(f"{item.message}; more such lines are skipped and not told", item.hint)
            yield item
