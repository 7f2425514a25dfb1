"""The same image file at several places of a data set: in train and test, under two labels, or twice in a list."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from engine.run.errors import FILES_SHOWN, listed

HINT_REPEATED = "an image that is trained on and tested makes the accuracy too high: keep each image once"


def repeated_files(train: Sequence[tuple[Path, int]], test: Sequence[tuple[Path, int]]) -> str:
    """What to say of files, each with its label, that stand at several places; empty where there are none.

    Links and hard links count as the file they lead to. Files that cannot be read are left to those who open them.
    """
    places = defaultdict[tuple[int, int], list[tuple[Path, int, str]]](list)
    for split, files in (("train", train), ("test", test)):
        for file, label in files:
            with contextlib.suppress(OSError):
                # The number of the file, as resolving each path takes ten times as long.
                status = os.stat(file)
                places[status.st_dev, status.st_ino].append((file, label, split))
    kinds = dict[str, list[str]]()
    for own in (own for own in places.values() if len(own) > 1):
        files, labels, splits = zip(*own, strict=True)
        told = ["in train and test"] if len(set(splits)) > 1 else []
        told += ["under two or more labels"] if len(set(labels)) > 1 else []
        for kind in told or ["twice or more under one label"]:
            kinds.setdefault(kind, []).append(" = ".join(dict.fromkeys(map(str, (files[0], files[-1])))))
    parts = [f"{len(own):,} {kind} ({listed(own, FILES_SHOWN)})" for kind, own in kinds.items()]
    return f"image files used more than once: {'; '.join(parts)}" if parts else ""
