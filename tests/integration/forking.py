"""One process that has loaded torch, of which the workers of these tests are forks."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from benchmarks.robustness.processes import Forks

PLACE = tempfile.TemporaryDirectory()


@functools.cache
def forks() -> Forks:
    return Forks(Path(PLACE.name))
