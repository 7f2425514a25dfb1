"""The example of the README runs, and is the README's very text."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.engine.tiny_run import finish_run, tiny_settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "train_from_distilled.py"


@pytest.mark.parametrize("labels", ["hard", "stored", "online"])
def test_the_example_trains_from_the_files_of_a_result_and_tests(
    tmp_path: Path, labels: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = {"repeats": 1, "epochs": 2, "labels": [labels]}
    settings = tiny_settings(evaluate=evaluation, hard={"epochs": 2}, online={"epochs": 2})
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(finish_run(tmp_path, settings).folder.result), labels])
    runpy.run_path(str(EXAMPLE))
    assert re.fullmatch(r"test accuracy \d+\.\d %\n", capsys.readouterr().out)


def test_the_readme_shows_that_very_file() -> None:
    readme = ROOT / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL) if readme.exists() else []
    shown = [block for block in blocks if "DistilledSet" in block]
    if not shown:
        pytest.skip("the README has no Python block with DistilledSet yet")
    assert shown == [EXAMPLE.read_text()]
