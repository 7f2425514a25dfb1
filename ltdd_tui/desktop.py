"""Shows a folder in the desktop's file manager, where there is a desktop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def file_manager() -> str | None:
    """The program that opens a folder here; None over ssh and on machines without a desktop."""
    if "SSH_CONNECTION" in os.environ:
        return None
    if sys.platform == "darwin":
        return shutil.which("open")
    if "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ:
        return shutil.which("xdg-open")
    return None


def open_folder(path: Path) -> bool:
    """Opens the folder; returns whether there is anything that could."""
    program = file_manager()
    if program is None:
        return False
    nowhere = subprocess.DEVNULL
    subprocess.Popen([program, str(path)], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return True
