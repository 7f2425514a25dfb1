from __future__ import annotations

from pathlib import Path

import pytest

from tests.ltdd_tui.report.sweep_on_disk import write_sweep


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of twelve cells, of which one failed and one has not begun; not to be written to."""
    root = tmp_path_factory.mktemp("sweep")
    write_sweep(root)
    return root / "mini"
