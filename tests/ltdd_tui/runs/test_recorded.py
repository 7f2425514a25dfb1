"""The recorded runs that the screens' tests show are what they say, so that those tests mean something."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.run.presets import load_preset
from ltdd_tui.runs.index import overview
from ltdd_tui.runs.live import replayed
from tests.ltdd_tui.recorded import let_go, record

EXPECTED = {"empty": "waiting", "experts": "running", "running": "running"}


@pytest.mark.parametrize("status", ["empty", "experts", "running", "stopped", "failed", "crashed", "done"])
def test_recorded_run_replays_to_its_status(status: str, tmp_path: Path) -> None:
    folder = record(tmp_path / "demo", status, iterations=40)
    try:
        state = replayed(folder)
        assert state.status == EXPECTED.get(status, status) == overview(folder).state
        assert load_preset(str(folder.config)).matching.iterations == 40
        assert not [warning for warning in state.warnings if "skipped" in warning.message]
        for preview in state.previews.values():
            size = Image.open(folder.root / preview.path).size
            assert size == (preview.columns * preview.image_size, preview.rows * preview.image_size)
    finally:
        let_go(folder)
