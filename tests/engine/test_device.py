"""What is read of a device and when; and memory of large tensors is taken from the kernel once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from engine.device import READING_SECONDS, DeviceMeter
from engine.run.events import MatchingStep, RunFinished, StageDone
from engine.run.network_cost import GIB

# 48 MiB, beyond what glibc keeps of itself; a page is counted when the kernel first hands it out. It takes some rounds
# until whatever is small and stays has found its place.
PROGRAM = """
import resource, sys, torch
from engine.device import keep_freed_memory
if sys.argv[1] == "kept": keep_freed_memory()
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12 * 2**20).sum()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[-4:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back")
def test_a_large_tensor_takes_the_memory_of_an_earlier_one() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("kept") < 400
    # The other way round, so that this test notices when it is no longer needed.
    assert faults("as it is") > 4000


class TestMeter:
    def test_a_reading_follows_the_first_event_the_end_of_a_stage_and_then_every_few_seconds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, emitted = [100.0], []
        monkeypatch.setattr("engine.device.time.monotonic", lambda: now[0])
        meter = DeviceMeter(torch.device("cpu"), emitted.append)
        step = MatchingStep(1, 0.5, None, 0.01, 0.04)
        for seconds, event, expected in [
            (0.1, step, 1),
            (1.0, step, 0),
            (READING_SECONDS, step, 1),
            (0.1, StageDone("distill", 1.0), 1),
            (0.1, step, 0),
            (READING_SECONDS, RunFinished(90.0, 0.5), 0),
        ]:
            now[0] += seconds
            emitted.clear()
            meter.emit(event)
            assert emitted[0] is event and len(emitted) == 1 + expected

    def test_a_busy_process_is_told_apart_from_an_idle_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now, worked = [100.0], [7.0]
        monkeypatch.setattr("engine.device.time.monotonic", lambda: now[0])
        monkeypatch.setattr("engine.device.time.process_time", lambda: worked[0])
        meter = DeviceMeter(torch.device("cpu"), lambda event: None)
        for seconds_worked, percent in ((0.0, 0.0), (5.0, 50.0), (40.0, 400.0)):
            now[0] += 10
            worked[0] += seconds_worked
            reading = meter.read()
            assert reading.cpu_percent == pytest.approx(percent)
        assert reading.ram_gib and reading.ram_total_gib and 0.05 < reading.ram_gib < reading.ram_total_gib
        assert reading.gpu_percent is None and reading.gpu_memory_gib is None

    def test_a_gpu_that_does_not_say_how_busy_it_is_ends_no_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(device: torch.device) -> int:
            raise OSError("Not Supported")

        monkeypatch.setattr("torch.cuda.utilization", refuse)
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (30 * GIB, 40 * GIB))
        monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda device: 2 * GIB)
        reading = DeviceMeter(torch.device("cuda:0"), lambda event: None).read()
        assert (reading.memory_gib, reading.memory_total_gib) == (2, 40)
        assert (reading.gpu_percent, reading.gpu_memory_gib) == (None, 10)
        monkeypatch.setattr("torch.cuda.utilization", lambda device: 93)
        assert DeviceMeter(torch.device("cuda:0"), lambda event: None).read().gpu_percent == 93
