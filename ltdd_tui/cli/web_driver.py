"""The driver of an app in a browser: it sends whole packets, whichever thread sends them.

Textual 8.2.8 writes what is on the screen from one thread and a download from another, with one `os.write` each. The
system splits large ones, so that a screenshot now and then came in between and the page broke ("More data expected").
Without this module `test_packets_of_two_threads_arrive_whole` fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

from textual.drivers.web_driver import WebDriver


def whole_writes(fileno: int) -> Callable[[bytes], int]:
    """A function that writes all of its bytes to a file before another thread's are written."""
    lock = Lock()

    def write(data: bytes) -> int:
        rest = memoryview(data)
        with lock:
            while rest:
                rest = rest[os.write(fileno, rest) :]
        return len(data)

    return write


class WholePacketDriver(WebDriver):
    """Textual's own, whose writes are one after the other."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._write = partial(whole_writes(self.fileno))
