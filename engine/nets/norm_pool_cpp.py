"""The C++ implementation of the four functions of norm_pool.py, for the CPU: building norm_pool.cpp and calling it.

The library is built with the machine's own C++ compiler, once for each processor, and kept in the cache with its
digest beside it. It is loaded only where its digest is right and nobody else can write it: a damaged one would end the
worker with SIGBUS or give wrong numbers, and one of another user could do anything. Every failure becomes a CannotBuild
with a hint: without the library a run is right too, only slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.nets.architectures import EPSILON
from engine.nets.norm_pool import NormPool, Saved, SavedTangent
from engine.run.compile_policy import (
    NATIVE_SOURCE,
    built_libraries,
    cpp_compiler,
    cpp_flags,
    digest_path,
    library_path,
)
from engine.run.folder import is_private, write_atomically


class CannotBuild(Exception):
    """The C++ library cannot be built or loaded here: the text says why, `hint` what mends it."""

    def __init__(self, why: str, hint: str = "install a C++ compiler, such as g++") -> None:
        super().__init__(why)
        self.hint = hint


@dataclass(frozen=True)
class BuiltLibrary:
    """The loaded library, and those of the fastest flags that the compiler did not take.

    replaced: the file in the cache that was not loaded, as it was damaged or others could write it.
    """

    library: ctypes.CDLL
    missing_flags: tuple[str, ...] = ()
    replaced: Path | None = None


def build() -> BuiltLibrary:
    """The library from the cache, else newly built, with the fastest flags that work; raises CannotBuild."""
    compiler = cpp_compiler()
    reason = CannotBuild("no C++ compiler found")
    if compiler is not None:
        try:
            return _build_with(compiler)
        except CannotBuild as error:
            reason = error
    # The compiler may have been removed since: what it built for this processor is still right.
    for path in built_libraries():
        if library := _load_if_good(path):
            return _describe(library, path)
    raise reason


class _FlagsRefused(CannotBuild):
    """The compiler, or the machine that runs its output, does not take these flags; others may work."""


def _build_with(compiler: str) -> BuiltLibrary:
    """The library built with the first set of flags that the compiler takes and whose output this machine loads."""
    version = _run([compiler, "--version"])
    reason = CannotBuild(f"{compiler} builds nothing")
    for name, flags in cpp_flags().items():
        path = library_path(version, name)
        if library := _load_if_good(path):
            return _describe(library, path)
        try:
            replaced = path if digest_path(path).exists() else None
            return _describe(_save_and_load(_compile(compiler, flags), path), path, replaced)
        except _FlagsRefused as refused:
            reason = refused
    raise reason


def _compile(compiler: str, flags: tuple[str, ...]) -> bytes:
    try:
        folder = tempfile.TemporaryDirectory(prefix="ltdd-build-")
    except OSError as error:
        raise CannotBuild(f"no temporary folder: {error.strerror}", "TMPDIR names one that can be written") from None
    with folder as name:
        library = Path(name) / "library.so"
        _run([compiler, *flags, "-o", str(library), str(NATIVE_SOURCE)])
        if not library.is_file():
            raise _FlagsRefused(f"{compiler}: it wrote no library")
        return library.read_bytes()


def _run(command: list[str]) -> str:
    """What the command prints; raises _FlagsRefused with the first line of its errors."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise _FlagsRefused(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        first_error = (done.stderr.strip() or "it failed without a word").splitlines()[0]
        raise _FlagsRefused(f"{command[0]}: {first_error}"[:200])
    return done.stdout


def _save_and_load(library: bytes, path: Path) -> ctypes.CDLL:
    """Keeps the library for later workers and loads it; for this one alone where the cache is another user's."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid != os.geteuid():
            with tempfile.TemporaryDirectory(prefix="ltdd-build-") as own:
                alone = Path(own) / path.name
                alone.write_bytes(library)
                return _load(alone)
        path.parent.chmod(0o700)
        # Atomically: two workers may build at once, and each must see a whole file or none, also after a loss of power.
        write_atomically(path, library)
        path.chmod(0o700)
        write_atomically(digest_path(path), hashlib.sha256(library).hexdigest())
        digest_path(path).chmod(0o600)
    except OSError as error:
        hint = "make that folder writable, or set LTDD_CACHE to one that is"
        raise CannotBuild(f"{path.parent} cannot be written: {error.strerror}", hint) from None
    return _load(path)


def _load_if_good(path: Path) -> ctypes.CDLL | None:
    """The library, or None where there is none, it is damaged, or others can write it: then it is built again."""
    try:
        if not all(is_private(own) for own in (path.parent, path, digest_path(path))):
            return None
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest_path(path).read_text():
            return None
        return _open(path)
    except (OSError, ValueError):
        return None


def _open(path: Path) -> ctypes.CDLL:
    """The library; raises OSError where it cannot be loaded or is another one."""
    library = ctypes.CDLL(str(path))
    if missing := [name for name in _FUNCTIONS if not hasattr(library, name)]:
        raise OSError(f"{path}: it has no function {missing[0]}")
    return library


def _load(path: Path) -> ctypes.CDLL:
    try:
        return _open(path)
    except OSError as error:
        if _is_noexec(path.parent):
            hint = "set LTDD_CACHE to a folder on another file system"
            raise CannotBuild(f"{path.parent} is mounted noexec: nothing there can be run", hint) from None
        raise _FlagsRefused(str(error)[:200]) from None


def _is_noexec(folder: Path) -> bool:
    noexec = getattr(os, "ST_NOEXEC", None)  # known on Linux alone
    return noexec is not None and bool(os.statvfs(folder).f_flag & noexec)


def _describe(library: ctypes.CDLL, path: Path, replaced: Path | None = None) -> BuiltLibrary:
    # The file's name ends with the name of the flags that it was built with.
    fastest, *_ = flags = cpp_flags()
    used = flags[path.stem.rpartition("-")[2]]
    return BuiltLibrary(library, tuple(flag for flag in flags[fastest] if flag not in used), replaced)


# ---- Calling the library ----

# Below so many numbers the work is done before a second thread has woken up.
_NUMBERS_WORTH_THREADS = 2**16
_SUFFIX = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
_NAMES = ("forward", "backward", "forward_jvp", "backward_jvp")
_FUNCTIONS = [f"{name}_{suffix}" for name in _NAMES for suffix in _SUFFIX.values()]


def cpp_norm_pool() -> NormPool:
    """The four functions in C++, for contiguous tensors on the CPU; raises CannotBuild."""
    library = built_once().library
    return NormPool(
        functools.partial(_forward, library),
        functools.partial(_backward, library),
        functools.partial(_forward_jvp, library),
        functools.partial(_backward_jvp, library),
    )


def why_not_build() -> CannotBuild | None:
    """Why the C++ library cannot be had here; None where it can."""
    try:
        built_once()
    except CannotBuild as error:
        return error
    return None


@functools.cache
def built_once() -> BuiltLibrary:
    """As `build`, once a process."""
    return build()


def _forward(library: ctypes.CDLL, z: Tensor, scale: Tensor, shift: Tensor) -> tuple[Saved, Tensor]:
    b, h, w, c = z.shape
    mean, rstd = scale.new_empty(b, c), scale.new_empty(b, c)
    open_count, open_sum = scale.new_empty(b, h // 2, w // 2, c), scale.new_empty(b, h // 2, w // 2, c)
    pooled = z.new_empty(open_count.shape)
    _call(library, "forward", z, scale, shift, mean, rstd, open_count, open_sum, pooled)
    return Saved(z, mean, rstd, open_count, open_sum), pooled


def _backward(
    library: ctypes.CDLL, saved: Saved, scale: Tensor, shift: Tensor, grad_pooled: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_z, grad_scale, grad_shift = (torch.empty_like(tensor) for tensor in (saved.z, saved.mean, saved.mean))
    _call(library, "backward", *saved, scale, shift, grad_pooled, grad_z, grad_scale, grad_shift)
    # Summed over the batch here, in one order: the same bytes for any number of threads.
    return grad_z, grad_scale.sum(0), grad_shift.sum(0)


def _forward_jvp(
    library: ctypes.CDLL, saved: Saved, scale: Tensor, shift: Tensor, d_scale: Tensor, d_shift: Tensor, d_z: Tensor
) -> tuple[SavedTangent, Tensor]:
    d_mean, shrink, d_open_sum = (torch.empty_like(tensor) for tensor in (saved.mean, saved.mean, saved.open_sum))
    d_pooled = d_z.new_empty(d_open_sum.shape)
    _call(library, "forward_jvp", *saved, scale, shift, d_scale, d_shift, d_z, d_mean, shrink, d_open_sum, d_pooled)
    return SavedTangent(d_z, d_mean, shrink, d_open_sum), d_pooled


def _backward_jvp(
    library: ctypes.CDLL,
    saved: Saved,
    saved_tangent: SavedTangent,
    scale: Tensor,
    shift: Tensor,
    d_scale: Tensor,
    grad_pooled: Tensor,
    d_grad_pooled: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs = (*saved, scale, shift, d_scale, *saved_tangent, grad_pooled, d_grad_pooled)
    grad_z, d_grad_z = torch.empty_like(saved.z), torch.empty_like(saved.z)
    d_grad_scale, d_grad_shift = torch.empty_like(saved.mean), torch.empty_like(saved.mean)
    _call(library, "backward_jvp", *inputs, grad_z, d_grad_z, d_grad_scale, d_grad_shift)
    return grad_z, d_grad_z, d_grad_scale.sum(0), d_grad_shift.sum(0)


def _call(library: ctypes.CDLL, name: str, z: Tensor, *others: Tensor) -> None:
    """Calls the function of that name for the type of z (B, H, H, C) with the addresses of all tensors.

    C++ gets no strides: every tensor must be contiguous on the CPU.
    """
    tensors = (z, *others)
    assert z.device.type == "cpu" and all([tensor.is_contiguous() for tensor in tensors])
    threads = torch.get_num_threads() if z.numel() > _NUMBERS_WORTH_THREADS else 1
    shape = (ctypes.c_int64 * 4)(z.shape[0], z.shape[1], z.shape[3], threads)
    addresses = (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
    getattr(library, f"{name}_{_SUFFIX[z.dtype]}")(shape, ctypes.c_double(EPSILON), addresses)
