"""Memory of large tensors is taken from the kernel once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# 64 MiB, beyond what glibc keeps of itself; a page is counted when the kernel first hands it out.
PROGRAM = """
import resource, sys, torch
from engine.heap import keep_freed_memory
if sys.argv[1] == "kept": keep_freed_memory()
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24).sum()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back")
def test_a_large_tensor_takes_the_memory_of_the_last_one() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("kept") < 100
    # The other way round, so that this test notices when it is no longer needed.
    assert faults("as it is") > 1000
