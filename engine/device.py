"""The device of a run: chosen by name, and how much of its memory the worker uses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys

import torch

from engine.run.errors import InputError
from engine.run.events import DeviceReading

_GIB = 2**30


def pick_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is the first GPU where there is one. Raises InputError for one that is not."""
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "cuda":
            # A CUDA graph captures the current device's kernels, whatever device the tensors are on.
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"there is no device {name!r}: {str(error).splitlines()[0]}",
            "--device",
            "`ltdd-tui doctor` lists what is there; auto picks one",
        ) from None
    return device


def read_device(device: torch.device) -> DeviceReading:
    """The most memory that the worker has used so far, and what the device has, in GiB."""
    if device.type == "cuda":
        free_and_total = torch.cuda.mem_get_info(device)
        return DeviceReading(str(device), torch.cuda.max_memory_reserved(device) / _GIB, free_and_total[1] / _GIB)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return DeviceReading(str(device), used / _GIB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB)


# How the C library hands out memory for tensors on the CPU: freed memory is kept for the next tensor.


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
