"""How the C library hands out memory for tensors on the CPU: freed memory is kept for the next tensor."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# Of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_MOST = 2**31 - 1
# Room to spare, since what is small and stays is put into what was large and freed, which then is a little too small.
_SPARE_BYTES = 64 * 2**20


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
        mallopt(_TOP_PAD, _SPARE_BYTES)
