"""How the C library hands out memory for tensors on the CPU: freed memory is kept for the next tensor."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets this process keep what it frees, where the C library is glibc; elsewhere it does nothing.

    glibc gives every block of more than 32 MiB back to the kernel, and gets it anew, page after zeroed page, for the
    next tensor of that size: on wide batches a third of the time of a training step.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _MOST)
