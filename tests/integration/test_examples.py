"""The example of the README runs, and is the README's very text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.tiny_run import finish_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "train_from_distilled.py"


def test_the_example_trains_from_a_distilled_file_and_tests(tmp_path: Path) -> None:
    distilled = finish_run(tmp_path).folder.distilled
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(distilled)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert re.fullmatch(r"test accuracy \d+\.\d %\n", done.stdout)


def test_the_readme_shows_that_very_file() -> None:
    readme = ROOT / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL) if readme.exists() else []
    shown = [block for block in blocks if "DistilledSet" in block]
    if not shown:
        pytest.skip("the README has no Python block with DistilledSet yet")
    assert shown == [EXAMPLE.read_text()]
