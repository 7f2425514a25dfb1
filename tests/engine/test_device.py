"""Memory of large tensors is taken from the kernel once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
