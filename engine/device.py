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
from engine.run.network_cost import GIB


def pick_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is the first GPU, else the CPU. Raises InputError for an unusable device."""
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)  # fails here rather than in the middle of the first stage
        if device.type == "cuda":
            # A CUDA graph captures the current device's kernels, whatever device the tensors are on.
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        hint = "`ltdd-tui doctor` lists what is there; auto picks one"
        raise InputError(f"there is no device {name!r}: {str(error).splitlines()[0]}", "--device", hint) from None
    return device


def read_device(device: torch.device) -> DeviceReading:
    """The most memory that this process has used so far and the memory that the device has, in GiB."""
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return DeviceReading(str(device), torch.cuda.max_memory_reserved(device) / GIB, total / GIB)
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return DeviceReading(str(device), used / GIB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB)


# --- Memory of CPU tensors --------------------------------------------------------------------------------------------

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next tensor; with another C library it does nothing.

    By default glibc returns every freed block of more than 32 MiB to the kernel and asks for it again, page after
    zeroed page, for the next tensor of that size: on wide batches a third of the time of a training step.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        # Spare room: small objects that stay take a bit of a freed block, which is then just too small for its tensor.
        mallopt(_M_TOP_PAD, 64 * 2**20)
