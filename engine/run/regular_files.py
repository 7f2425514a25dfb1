"""Names and files that others made: how names are sorted, and how only regular files are opened.

What lies in the place of a file may be a FIFO, which waits for ever, or a device, which never ends.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def natural_order(name: str) -> str:
    """A sort key that puts 2.png before 10.png, and both before a.png; of 02.png and 2.png the first comes first.

    It is one string, in which each number begins with \\x01 and with how many digits it has; names do not hold that
    character. Tuples and lists would be work for the garbage collector, and the screen stands still while it goes over
    those of a class of very many files.
    """

    def marked(number: re.Match[str]) -> str:
        digits = str(int(number[0]))
        return f"\x01{chr(len(digits))}{digits}"

    return re.sub(r"\d+", marked, name) + f"\0{name}"


def open_regular(path: Path | str) -> BufferedReader:
    """A file, opened to be read in bytes; raises OSError, and never waits, for a FIFO, a socket or a device.

    Opening a FIFO as others do waits for somebody who writes into it, and a device may never end.
    """
    return open(path, "rb", opener=opened_if_regular)


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """The content of a file; raises OSError for what is no regular file, and for more than `limit` bytes."""
    with open_regular(path) as file:
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EOVERFLOW, f"it has more than {limit:,} bytes", str(path))
    return content


def opened_if_regular(path: str, flags: int) -> int:
    """The `opener` of `open` for such files."""
    # O_NONBLOCK lets a FIFO be opened without a writer; for regular files it has no effect.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    mode = os.fstat(descriptor).st_mode
    # Python itself refuses a folder.
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no file", str(path))
    return descriptor
