"""norm_pool.cpp built with the machine's own C++ compiler, once for each processor, and kept in the cache.

Whatever goes wrong says so with what mends it: a run without the library is right, but slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engine.run.compilers import NATIVE_SOURCE, built_libraries, cpp_compiler, cpp_flags, library_path
from engine.run.folder import write_atomically

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
