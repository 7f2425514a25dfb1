"""The device of a run: chosen by name, how much of it the worker uses, and memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import time

import torch

from engine.run.errors import InputError
from engine.run.events import DeviceReading, Emit, Event, RunFinished, StageDone
from engine.run.network_cost import GIB


def pick_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is the first GPU, of which each rank of a gang takes another, else the CPU.

    Raises InputError for an unusable device.
    """
    if name == "auto":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
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


def peak_memory_gib(device: torch.device) -> float:
    """The most memory that this process has used so far on the device, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / GIB
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def total_memory_gib(device: torch.device) -> float:
    """The memory of the device, in GiB."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] / GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


READING_SECONDS = 5.0


class DeviceMeter:
    """Reads every few seconds how much of the machine this process uses, whatever the stage is.

    Not in a thread of its own: calls to CUDA from a second thread would break the capture of a CUDA graph.
    """

    def __init__(self, device: torch.device, emit: Emit) -> None:
        self._device, self._emit = device, emit
        self._read_at, self._cpu_seconds = time.monotonic(), time.process_time()
        self._has_read = False

    def emit(self, event: Event) -> None:
        """Emits an event, and after it a reading where the last one is some seconds old or a stage has ended."""
        self._emit(event)
        is_due = not self._has_read or time.monotonic() - self._read_at >= READING_SECONDS
        # What says that a run is over stays its last event.
        if isinstance(event, StageDone) or (is_due and not isinstance(event, RunFinished)):
            self._emit(self.read())

    def read(self) -> DeviceReading:
        """What is in use now; the CPU since the last reading."""
        now, cpu_seconds = time.monotonic(), time.process_time()
        passed, worked = now - self._read_at, cpu_seconds - self._cpu_seconds
        self._read_at, self._cpu_seconds, self._has_read = now, cpu_seconds, True
        gpu_percent = gpu_memory = None
        if self._device.type == "cuda":
            free_bytes, total_bytes = torch.cuda.mem_get_info(self._device)
            gpu_percent, gpu_memory = _gpu_percent(self._device), (total_bytes - free_bytes) / GIB
        cpu_percent = 100.0 * worked / passed if passed > 0 else None
        return DeviceReading(
            str(self._device),
            peak_memory_gib(self._device),
            total_memory_gib(self._device),
            cpu_percent,
            _resident_gib(),
            total_memory_gib(torch.device("cpu")),
            gpu_percent,
            gpu_memory,
        )


def _gpu_percent(device: torch.device) -> float | None:
    """The share of the last second or less in which the GPU worked, None where the driver does not tell."""
    try:
        return float(torch.cuda.utilization(device))
    except Exception:  # by the driver's own library, which raises errors of its own, as on a part of a GPU (MIG)
        return None


def _resident_gib() -> float | None:
    """The memory that this process holds now, None where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / GIB
    except OSError:
        return None


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
