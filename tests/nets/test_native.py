"""The C++ form of a block: the same numbers as the formulas, built once, and a reason where it cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from engine.nets.native import native, why_not_build
from engine.nets.norm_pool import written

ASK = "from engine.nets.native import why_not_build; print(why_not_build())"


def _differences(dtype: torch.dtype, side: int, channels: int) -> list[float]:
    """The largest difference of each of the functions' outputs, relative to the largest entry."""
    draw = torch.Generator().manual_seed(0)
    sums = torch.float64 if dtype == torch.float64 else torch.float32

    def random(*shape: int, like: torch.dtype = sums) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).to(like)

    z, d_z = (random(3, side, side, channels, like=dtype) for _ in range(2))
    g, d_g = (random(3, side // 2, side // 2, channels, like=dtype) for _ in range(2))
    scale, shift, d_scale, d_shift = (random(channels) for _ in range(4))
    outputs = []
    for form in (written(), native()):
        passed, pooled = form.forward(z, scale, shift)
        leaned, d_pooled = form.tangent(passed, scale, shift, d_scale, d_shift, d_z)
        back = form.reverse(passed, scale, shift, g)
        moved = form.tangent_reverse(passed, leaned, scale, shift, d_scale, g, d_g)
        outputs.append([*passed[1:], pooled, *leaned[1:], d_pooled, *back, *moved])
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(*outputs, strict=True)]


@pytest.mark.skipif(why_not_build() is not None, reason=f"nothing can be built here: {why_not_build()}")
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 2e-5), (torch.bfloat16, 1e-2)], ids=str
)
@pytest.mark.parametrize(("side", "channels"), [(8, 32), (7, 5), (2, 1), (32, 19)])
def test_cpp_has_the_numbers_of_the_formulas(dtype: torch.dtype, bound: float, side: int, channels: int) -> None:
    assert max(_differences(dtype, side, channels)) < bound


def test_without_a_compiler_there_is_a_reason(tmp_path) -> None:
    environment = {"PATH": "/nowhere", "LTDD_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "no C++ compiler found", done.stderr[-2000:]


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'c++: fatal error: no stdlib' >&2\nexit 1\n")
    compiler.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LTDD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, timeout=60)
    assert "no stdlib" in done.stdout, done.stderr[-2000:]
    assert list((tmp_path / "cache" / "native").iterdir()) == []
