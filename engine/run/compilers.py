"""Which compilers this machine has, and what it has built in C++: told without torch, for both decide about forms."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from engine.run.folder import cache_root
from engine.run.processor import features
from engine.run.worth import Form

NATIVE_SOURCE = Path(__file__).parents[1] / "nets" / "norm_pool.cpp"
_ALWAYS = ("-std=c++17", "-O3", "-shared", "-fPIC")
# What a cache of several machines must keep apart, beside the sources and how they are built.
_MACHINE = (platform.system(), platform.machine())


def cpp_compiler() -> str | None:
    """The C++ compiler that steps are built with: CXX where it is set, else the first that is found."""
    return shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")


def has_compiler(form: Form, device_kind: str) -> bool:
    """Whether there is what this form needs on `cpu` or `cuda`; that it works, only using it tells."""
    if form == "cpp":
        return cpp_compiler() is not None or any(built_libraries())
    if form == "torch":
        return cpp_compiler() is not None if device_kind == "cpu" else importlib.util.find_spec("triton") is not None
    return True


def cpp_flags() -> dict[str, tuple[str, ...]]:
    """The flags of C++ by a name, from the fastest to what any compiler takes: Apple's has no OpenMP, for one."""
    native, openmp = "-march=native", "-fopenmp"
    flags = {"openmp": (native, openmp), "native": (native,), "plain": ()}
    if platform.machine() in ("x86_64", "AMD64"):
        # Not every compiler knows this processor's widest vectors.
        flags = {"wide": (native, "-mprefer-vector-width=512", openmp)} | flags
    return {name: (*_ALWAYS, *more) for name, more in flags.items()}


def library_path(compiler_version: str, flags: str) -> Path:
    """Where the library lies that a compiler has built with the flags of that name, for this very processor."""
    return _folder() / f"{_stem()}-{_hash(compiler_version)}-{flags}.so"


def built_libraries() -> list[Path]:
    """What any compiler has built of these sources for this processor, the fastest first."""
    return [path for flags in cpp_flags() for path in sorted(_folder().glob(f"{_stem()}-*-{flags}.so"))]


def _folder() -> Path:
    return cache_root() / "native"


def _stem() -> str:
    headers = sorted(NATIVE_SOURCE.parent.glob("*.h"))
    sources = [path.read_text() for path in (NATIVE_SOURCE, *headers)]
    return f"norm_pool-{_hash(*sources, *_MACHINE, features(), repr(cpp_flags()))}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
