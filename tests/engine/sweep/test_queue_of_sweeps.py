"""A sweep in the queue begins once the runs before it are over, says behind which it waits, and can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.errors import StopSignals
from engine.run.folder import RunFolder, write_atomically
from engine.sweep import supervisor
from engine.sweep.cells import SweepFolder


@pytest.mark.parametrize("stopped", [False, True])
def test_it_waits_for_the_run_before_it_or_a_stop_request(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = SweepFolder(tmp_path / "sweep"), RunFolder(tmp_path / "one")
    write_atomically(folder.file, "")
    other.root.mkdir()
    lock, waited = other.held(), list[tuple[str, ...]]()

    def sleep(seconds: float) -> None:
        waited.append(folder.queued_behind())
        if stopped:
            folder.stop_request.touch()
        else:
            lock.__exit__(None, None, None)

    monkeypatch.setattr(supervisor.time, "sleep", sleep)
    lock.__enter__()
    with RunFolder(folder.root).held():
        assert supervisor._wait_in_queue(folder, [other], StopSignals()) is not stopped
        assert waited == [("one",)] and folder.queued_behind() == (), "no longer, once it begins or ends"
    if stopped:
        lock.__exit__(None, None, None)
