"""What this machine can do at best, in GFLOP/s: python -m benchmarks.ceilings [--device cuda]

Measured, not looked up: one large matrix product, and the ConvNet's own middle convolution in whichever memory format
is faster. A benchmark divides its useful operations by its seconds and by these.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

from engine.nets.functional import matmul_precision
from engine.run.settings import Precision

_ROUNDS, _ROUND_SECONDS = 5, 0.2


@dataclass(frozen=True)
class Ceilings:
    """GFLOP/s of a matrix product and of a 3x3 convolution of 128 channels, a multiplication and an addition apart."""

    precision: Precision
    matmul: float
    conv: float

    def shares(self, operations: float, seconds: float) -> dict[str, float]:
        """`operations` in `seconds` as a share of each ceiling."""
        reached = operations / seconds / 1e9
        return {"matmul": round(reached / self.matmul, 3), "conv": round(reached / self.conv, 3)}


def measure(precision: Precision, device: torch.device) -> Ceilings:
    """The machine's ceilings in a precision, in a few seconds; uses as many threads as torch does."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with matmul_precision(precision, device):
        return Ceilings(precision, _matmul(dtype, device), _convolution(dtype, device))


def _matmul(dtype: torch.dtype, device: torch.device) -> float:
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return _fastest(lambda: a @ b, 2 * side**3, device)


def _convolution(dtype: torch.dtype, device: torch.device) -> float:
    batch, width, side = (2000 if device.type == "cuda" else 100), 128, 16
    operations = 2 * 9 * width * width * side * side * batch
    figures = []
    for layout in (torch.contiguous_format, torch.channels_last):
        images = torch.randn(batch, width, side, side, device=device, dtype=dtype).contiguous(memory_format=layout)
        weight = torch.randn(width, width, 3, 3, device=device, dtype=dtype).contiguous(memory_format=layout)
        figures.append(_fastest(lambda x=images, w=weight: F.conv2d(x, w, padding=1), operations, device))
    return max(figures)


def _fastest(work: Callable[[], object], operations: float, device: torch.device) -> float:
    """GFLOP/s of the fastest of a few rounds, each long enough for the clock."""
    with torch.no_grad():
        _seconds(work, 1, device)  # the first call also builds what later ones reuse
        calls = max(1, int(_ROUND_SECONDS / _seconds(work, 1, device)))
        seconds = min(_seconds(work, calls, device) for _ in range(_ROUNDS))
    return calls * operations / seconds / 1e9


def _seconds(work: Callable[[], object], calls: int, device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    for _ in range(calls):
        work()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Returns when the device has done all work that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Prints the ceilings of the precisions that the device has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    precisions: list[Precision] = ["float32", "tf32", "bf16"] if device.type == "cuda" else ["float32", "bf16"]
    for precision in precisions:
        print(asdict(measure(precision, device)))


if __name__ == "__main__":
    main()
