"""The functions of norm_pool.cpp, called on tensors."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.nets.architectures import EPSILON
from engine.nets.norm_pool import Leaned, NormPool, Passed
from engine.run.compile_policy import NATIVE_SOURCE, built_libraries, cpp_compiler, cpp_flags, library_path
from engine.run.folder import write_atomically

# norm_pool.cpp built with the machine's own C++ compiler, once for each processor, and kept in the cache.
#
# Whatever goes wrong says so with what mends it: a run without the library is right, but slower.


_NO_COMPILER = "install a C++ compiler, such as g++"


class CannotBuild(Exception):
    """The native form cannot be had here: the text says why, `hint` what mends it."""

    def __init__(self, why: str, hint: str = _NO_COMPILER) -> None:
        super().__init__(why)
        self.hint = hint


@dataclass(frozen=True)
class Built:
    """The library, and which of the flags that make it fast it had to be built without."""

    library: ctypes.CDLL
    without: tuple[str, ...] = ()


def build() -> Built:
    """The library from the cache, or built; raises CannotBuild."""
    compiler = cpp_compiler()
    reason = CannotBuild("no C++ compiler found")
    if compiler is not None:
        try:
            return _built_by(compiler)
        except CannotBuild as why:
            reason = why
    for path in built_libraries():
        if library := _opened(path):
            return _as_built(library, path)
    raise reason


class _Refused(CannotBuild):
    """These flags lead to nothing; others may."""


def _built_by(compiler: str) -> Built:
    """With the first flags that the compiler takes and that the machine then runs."""
    version = _said_by([compiler, "--version"])
    said = CannotBuild(f"{compiler} builds nothing")
    for name, flags in cpp_flags().items():
        path = library_path(version, name)
        if library := _opened(path):
            return _as_built(library, path)
        try:
            _keep(_compiled(compiler, flags), path)
            return _as_built(_open(path), path)
        except _Refused as refused:
            said = refused
    raise said


def _compiled(compiler: str, flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ltdd-build-") as folder:
        library = Path(folder) / "library.so"
        _said_by([compiler, *flags, "-o", str(library), str(NATIVE_SOURCE)])
        return library.read_bytes()


def _said_by(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise _Refused(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or "it failed without a word").splitlines()[0]
        raise _Refused(f"{command[0]}: {said}"[:200])
    return done.stdout


def _keep(library: bytes, path: Path) -> None:
    """Two workers may build at once: each sees a whole file or none, also after a loss of power."""
    try:
        write_atomically(path, library)
    except OSError as error:
        hint = "make that folder writable, or set LTDD_CACHE to one that is"
        raise CannotBuild(f"{path.parent} cannot be written: {error.strerror}", hint) from None


def _opened(path: Path) -> ctypes.CDLL | None:
    """The library where there is a good one; a damaged one is removed, so that it is built again."""
    if not path.exists():
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        if not _runs_nothing(path.parent):
            with contextlib.suppress(OSError):
                path.unlink()
        return None


def _open(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        if _runs_nothing(path.parent):
            hint = "set LTDD_CACHE to a folder on another file system"
            raise CannotBuild(f"{path.parent} is mounted noexec: nothing there can be run", hint) from None
        raise _Refused(str(error)[:200]) from None


def _runs_nothing(folder: Path) -> bool:
    noexec = getattr(os, "ST_NOEXEC", None)  # Linux tells
    return noexec is not None and bool(os.statvfs(folder).f_flag & noexec)


def _as_built(library: ctypes.CDLL, path: Path) -> Built:
    fastest, *_ = flags = cpp_flags()
    used = flags[path.stem.rpartition("-")[2]]
    return Built(library, tuple(flag for flag in flags[fastest] if flag not in used))


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
