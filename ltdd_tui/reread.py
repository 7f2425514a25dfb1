"""A small file that somebody else writes, read again only when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class Reread(Generic[Content]):
    """The content that `load` makes of a file; what was read last stays when the file is gone."""

    def __init__(self, path: Path, load: Callable[[Path], Content], before: Content) -> None:
        self._path, self._load, self._content = path, load, before
        self._stamp: tuple[int, int] | None = None

    def read(self) -> Content:
        """The content now, or `before` as long as there has been no file."""
        try:
            stat = self._path.stat()
        except OSError:
            return self._content
        stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp != self._stamp:
            self._stamp, self._content = stamp, self._load(self._path)
        return self._content
