"""A program in a pseudo terminal of 120x40 that is read as fast as it writes, and answers what xterm answers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS, ROWS = 120, 40
CONTROLS = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_\]].*?(?:\x1b\\|\x07)|[@-Z\\-_])", re.DOTALL)
ANSWERS = {b"\x1b[c": b"\x1b[?62;22c", b"\x1b[16t": b"\x1b[6;20;10t", b"\x1b[?2026$p": b"\x1b[?2026;2$y"}
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class PtyProgram:
    """`command` in the pseudo terminal; `written` is all that it has written, without control sequences."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._side, far_side = pty.openpty()
        fcntl.ioctl(far_side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 10 * COLUMNS, 20 * ROWS))
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=far_side,
            stdout=far_side,
            stderr=far_side,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | environment,
            start_new_session=True,
        )
        os.close(far_side)
        self.written = b""
        self.bytes = 0
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(self._side, 1 << 16):
                for question, answer in ANSWERS.items():
                    if question in chunk:
                        os.write(self._side, answer)
                with self._news:
                    self.bytes += len(chunk)
                    self.written = (self.written + CONTROLS.sub(b"", chunk))[-200_000:]
                    self._news.notify_all()

    def seconds_until(self, text: str, patience: float = 60) -> float:
        """Seconds from the program's start until it has written `text`."""
        self._wait(lambda: text.encode() in self.written, patience, text)
        return time.monotonic() - self.began

    def _wait(self, condition: Callable[[], bool], patience: float, what: str) -> None:
        with self._news:
            if not self._news.wait_for(condition, patience):
                tail = self.written[-3000:].decode(errors="replace")
                raise SystemExit(f"error: {what!r} was not shown within {patience:.0f} s; at last it wrote:\n{tail}")

    def cpu_seconds(self) -> float:
        """What it has used so far, in all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def memory_mb(self) -> float:
        """What it holds in memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def press(self, keys: bytes) -> None:
        """Sends what a terminal sends for these keys."""
        os.write(self._side, keys)

    def quit(self, keys: bytes = b"\x11") -> None:
        """Presses ctrl+q and waits for the end."""
        self.press(keys)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("error: the app did not end on ctrl+q") from None
        finally:
            os.close(self._side)
