"""Which compilers this machine has, told without torch: what decides in which form its steps are run."""

from __future__ import annotations

import importlib.util
import os
import shutil

from engine.run.worth import Form


def cpp_compiler() -> str | None:
    """The C++ compiler that steps are built with: CXX where it is set, else the first that is found."""
    return shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")


def has_compiler(form: Form, device_kind: str) -> bool:
    """Whether there is what this form needs on `cpu` or `cuda`; that it works, only using it tells."""
    if form == "eager":
        return True
    return cpp_compiler() is not None if device_kind == "cpu" else importlib.util.find_spec("triton") is not None
