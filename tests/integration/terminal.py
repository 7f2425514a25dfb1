"""A real terminal for tests to type into and read: a tmux server of its own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
PATIENCE_SECONDS = 60.0


class Terminal:
    """`command` in a terminal of `columns` x `rows`; its last output stays readable after it exits."""

    def __init__(self, command: list[str], columns: int, rows: int, environment: Mapping[str, str], cwd: Path) -> None:
        self._server = f"ltdd-{uuid.uuid4().hex[:8]}"
        settings = [f"-e{name}={value}" for name, value in environment.items()]
        size = ["-x", str(columns), "-y", str(rows)]
        # Prints the exit code, then keeps the pane open.
        script = f"{shlex.join(command)}; echo exit code $?; exec sleep 600"
        self._tmux("new-session", "-d", *size, "-c", str(cwd), *settings, "sh", "-c", script)
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def press(self, *keys: str) -> None:
        """Presses keys by tmux's names: a, Enter, F2, C-q, Escape."""
        for key in keys:
            self._tmux("send-keys", key)
            # Terminals read Escape followed at once by another key as Alt and that key.
            time.sleep(0.25 if key == "Escape" else 0.03)

    def write(self, text: str) -> None:
        """Types text literally."""
        self._tmux("send-keys", "-l", text)

    def text(self) -> str:
        """The text on the screen."""
        return self._tmux("capture-pane", "-p")

    def colored(self) -> str:
        """The text on the screen with its ANSI codes."""
        return self._tmux("capture-pane", "-p", "-e", "-N")

    def resize(self, columns: int, rows: int) -> None:
        """Resizes the terminal."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, *wanted: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Waits until the screen shows all of `wanted` and returns its text; fails with the text shown instead."""
        return self.wait_until(lambda text: all(part in text for part in wanted), f"{wanted}", seconds)

    def wait_until(self, condition: Callable[[str], bool], what: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Waits until the text on the screen meets `condition` and returns it; fails with the text shown instead."""
        give_up = time.monotonic() + seconds
        while not condition(text := self.text()):
            assert time.monotonic() < give_up, (
                f"{what} did not appear within {seconds:.0f} s; the screen shows:\n{text}"
            )
            time.sleep(0.1)
        return text

    def hang_up(self) -> None:
        """Closes the terminal, which hangs up the program in it."""
        subprocess.run(["tmux", "-L", self._server, "kill-server"], capture_output=True, check=False)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._server, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
