"""Run folders of earlier versions, kept as they were: this version lists, shows, watches, evaluates and exports them.

A version that writes something new adds a folder of its own beside these, and changes none.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.__main__ import main as worker
from engine.run.folder import RunFolder
from engine.run.manifest import change_manifest
from engine.run.metrics import readable_metrics
from ltdd_tui.cli.results import show_run
from ltdd_tui.runs.index import examined
from ltdd_tui.runs.live import LiveRun

KEPT = sorted(path for path in (Path(__file__).parents[1] / "fixtures").iterdir() if path.is_dir())


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunFolder]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield RunFolder(shutil.copytree(request.param, tmp_path / "kept"))
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_kept_run_is_listed_shown_watched_exported_and_evaluated(
    kept: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = readable_metrics(kept)
    entry = examined(kept)
    assert (entry.damage, entry.run.state, entry.run.method) == ("", "done", before["method"])
    assert entry.run.accuracy_mean == before["final"]["accuracy_mean"] and entry.run.verdict
    live = LiveRun(kept)
    while not live.read():
        pass
    assert live.view.state.status == "done" and live.view.settings and not live.view.state.warnings[1:]
    show_run(str(kept.root), kept.root.parent)
    shown = capsys.readouterr()
    assert f"{before['final']['accuracy_mean']:.1f} ±" in shown.out and "left out" not in shown.err
    show_run(str(kept.root), kept.root.parent, as_json=True)
    assert json.loads(capsys.readouterr().out)["final"] == before["final"]

    copies = kept.root.parent / "copies"
    arguments = ["export", str(kept.root), "--device", "cpu", "--set", "best", "--images", str(copies)]
    assert worker(arguments) == 0 and len(list(copies.glob("*/*.png"))) == 10 * entry.run.ipc
    more = before["final"]["repeats"] + 1
    assert worker(["evaluate", str(kept.root), "--device", "cpu", "--arch", "convnet", "--repeats", str(more)]) == 0
    after = readable_metrics(kept)
    assert after["final"]["repeats"] == more and after["random"] == before["random"]
    assert (after["verdict"] is None) == (before["verdict"] is None)

    change_manifest(kept, schema_version=9)
    assert worker(arguments) == 2
    assert "made by a newer version (manifest.json has schema 9; this one reads up to 1)" in capsys.readouterr().err
    assert examined(kept).damage.startswith("made by a newer version")
