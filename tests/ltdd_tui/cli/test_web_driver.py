"""What an app in a browser sends arrives in whole packets."""

from __future__ import annotations

import os
from threading import Thread

from ltdd_tui.cli.web_driver import whole_writes


def test_packets_of_two_threads_arrive_whole() -> None:
    reading, writing = os.pipe()
    write = whole_writes(writing)
    packets = [letter * 200_000 for letter in (b"a", b"b")]
    threads = [Thread(target=lambda packet=packet: [write(packet) for _ in range(20)]) for packet in packets]
    for thread in threads:
        thread.start()
    with os.fdopen(reading, "rb") as file:
        received = [file.read(200_000) for _ in range(40)]
    for thread in threads:
        thread.join()
    os.close(writing)
    assert sorted(received) == sorted(20 * packets)
