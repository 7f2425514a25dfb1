"""The functions of norm_pool.cpp, called on tensors."""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from engine.nets.building import Built, CannotBuild, build
from engine.nets.convnet import EPSILON
from engine.nets.norm_pool import Leaned, NormPool, Passed

_WORTH_THREADS = 2**16
_SUFFIX = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


def native() -> NormPool:
    """The four functions in C++, for tensors on the CPU; raises CannotBuild."""
    library = _built().library
    return NormPool(
        functools.partial(_forward, library),
        functools.partial(_reverse, library),
        functools.partial(_tangent, library),
        functools.partial(_tangent_reverse, library),
    )


def why_not_build() -> CannotBuild | None:
    """What keeps the C++ form from being had here; None where it is there."""
    try:
        _built()
    except CannotBuild as error:
        return error
    return None


def built_without() -> tuple[str, ...]:
    """The flags that would make it faster, and that it had to be built without; raises CannotBuild."""
    return _built().without


@functools.cache
def _built() -> Built:
    return build()


def _forward(library: ctypes.CDLL, z: Tensor, scale: Tensor, shift: Tensor) -> tuple[Passed, Tensor]:
    b, h, w, c = z.shape
    mean, rate = scale.new_empty(b, c), scale.new_empty(b, c)
    on, mass = scale.new_empty(b, h // 2, w // 2, c), scale.new_empty(b, h // 2, w // 2, c)
    pooled = z.new_empty(on.shape)
    _call(library, "forward", z, scale, shift, mean, rate, on, mass, pooled)
    return Passed(z, mean, rate, on, mass), pooled


def _reverse(
    library: ctypes.CDLL, passed: Passed, scale: Tensor, shift: Tensor, in_pooled: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    in_z, in_scale, in_shift = (torch.empty_like(tensor) for tensor in (passed.z, passed.mean, passed.mean))
    _call(library, "reverse", *passed, scale, shift, in_pooled, in_z, in_scale, in_shift)
    # Summed here, image by image in their order: the same bytes whatever the threads.
    return in_z, in_scale.sum(0), in_shift.sum(0)


def _tangent(
    library: ctypes.CDLL, passed: Passed, scale: Tensor, shift: Tensor, d_scale: Tensor, d_shift: Tensor, d_z: Tensor
) -> tuple[Leaned, Tensor]:
    d_mean, lean, d_mass = (torch.empty_like(tensor) for tensor in (passed.mean, passed.mean, passed.mass))
    d_pooled = d_z.new_empty(d_mass.shape)
    _call(library, "tangent", *passed, scale, shift, d_scale, d_shift, d_z, d_mean, lean, d_mass, d_pooled)
    return Leaned(d_z, d_mean, lean, d_mass), d_pooled


def _tangent_reverse(
    library: ctypes.CDLL,
    passed: Passed,
    leaned: Leaned,
    scale: Tensor,
    shift: Tensor,
    d_scale: Tensor,
    in_pooled: Tensor,
    d_in_pooled: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = (*passed, scale, shift, d_scale, *leaned, in_pooled, d_in_pooled)
    in_z, d_in_z = torch.empty_like(passed.z), torch.empty_like(passed.z)
    d_in_scale, d_in_shift = torch.empty_like(passed.mean), torch.empty_like(passed.mean)
    _call(library, "tangent_reverse", *given, in_z, d_in_z, d_in_scale, d_in_shift)
    return in_z, d_in_z, d_in_scale.sum(0), d_in_shift.sum(0)


def _call(library: ctypes.CDLL, name: str, z: Tensor, *others: Tensor) -> None:
    """Calls the function of that name in the type of z (B, H, H, C); its tensors must lie in memory as they read."""
    tensors = (z, *others)
    assert z.device.type == "cpu" and all([tensor.is_contiguous() for tensor in tensors])
    # Little work is done before a second thread has woken up; images are apart, so the bytes are the same.
    threads = torch.get_num_threads() if z.numel() > _WORTH_THREADS else 1
    shape = (ctypes.c_int64 * 4)(z.shape[0], z.shape[1], z.shape[3], threads)
    places = (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
    getattr(library, f"{name}_{_SUFFIX[z.dtype]}")(shape, ctypes.c_double(EPSILON), places)
