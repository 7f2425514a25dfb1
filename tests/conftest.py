"""Skips, with the reason, what this machine cannot show; and what a test asks for whose own time counts."""

from __future__ import annotations

import gc
import getpass
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
NUMBERS = itertools.count()
MODULES_FROZEN = [0]

# Where torch keeps what it compiles by itself. A run has it in its cache, which is a new one in each test.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_{getpass.getuser()}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked cuda without an NVIDIA GPU, and those marked shared_data without the real images."""
    if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
        pytest.skip("needs the real images of ../shared/data, which is absent here")
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


def pytest_runtest_logfinish() -> None:
    """Keeps what tests have imported out of later garbage collections, which took a tenth of the suite's time."""
    if len(sys.modules) > MODULES_FROZEN[-1] + 100:
        MODULES_FROZEN.append(len(sys.modules))
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def own_evaluations(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test takes what another one, or the user's own run, has trained: it would not test the training."""
    own = tmp_path_factory.getbasetemp() / f"evaluations-{next(NUMBERS)}"
    monkeypatch.setattr("engine.run.folder.evaluations_root", lambda: own)


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """For tests that measure turns of the loop: one may begin in any turn, and takes 0.2 s for what earlier tests left.

    By its thresholds, since the app itself enables the collector after its start.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    yield
    gc.set_threshold(*thresholds)
