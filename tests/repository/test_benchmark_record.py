"""A benchmark record holds medians and everything that a quoted figure needs: command, device, versions, n."""

from __future__ import annotations

import json

import torch

from benchmarks.ceilings import Ceilings
from benchmarks.record import Timing, summary, write_record

CPU = torch.device("cpu")


def test_a_record_holds_medians_and_measurement_conditions(tmp_path) -> None:
    timing = Timing([4.0, 5.0, 30.0], [1.0, 2.0, 1.5])
    share = Ceilings("float32", matmul=200.0, conv=100.0).shares(150e9, timing.fast_seconds)
    returned = write_record("toy", "python -m toy", CPU, timing, share, tmp_path, note="more")
    written = json.loads((tmp_path / "toy.json").read_text())
    assert written == returned
    assert (written["plain_seconds"], written["fast_seconds"], written["ratio"]) == (5.0, 1.5, 5 / 1.5)
    assert written["ceiling_share"] == {"matmul": 0.5, "conv": 1.0}
    assert {"name", "command", "commit", "device", "torch", "threads", "n", "note"} <= written.keys()
    assert "3.33 times faster" in summary(returned) and "50% of matmul" in summary(returned)
