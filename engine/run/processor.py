"""What this machine's processor is called, told without torch: what was measured of another one is not this one's."""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Its model, such as `Intel(R) Xeon(R) Processor`, or as much as the system tells."""
    model = _line("model name").partition(":")[2].strip()
    return model or platform.processor() or platform.machine()


def features() -> str:
    """What it can do beyond the rest of its kind, as the system words it; its name where that is all there is."""
    return _line("flags", "features") if _INFO.exists() else platform.processor()


def _line(*keys: str) -> str:
    """The first line that begins with one of these; nothing where there is none."""
    with contextlib.suppress(OSError):
        lines = _INFO.read_text().splitlines()
        return next((line for line in lines if line.lower().startswith(keys)), "")
    return ""


def processor_slug() -> str:
    """The same as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
