"""What this machine's processor is called, told without torch: what was measured of another one is not this one's."""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Its model, such as `Intel(R) Xeon(R) Processor`, or as much as the system tells."""
    with contextlib.suppress(OSError):
        for line in _INFO.read_text().splitlines():
            key, _, model = line.partition(":")
            if key.strip() == "model name":
                return model.strip()
    return platform.processor() or platform.machine()


def processor_slug() -> str:
    """The same as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
