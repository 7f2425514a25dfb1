"""Which parts of a run are compiled: where it is asked for or pays (engine/run/compile_policy.py), and works here.

Whether the machine can compile is tried once a run. Where it cannot, the run goes on in the eager form with a warning.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path

import torch

from engine.context import Context
from engine.manifest import note
from engine.nets.norm_pool_cpp import built_once, why_not_build
from engine.run import compile_policy
from engine.run.events import Warned
from engine.run.fields import LabelRegime, NetworkName
from engine.run.folder import cache_root, is_private
from engine.run.manifest import read_manifest
from engine.run.network_cost import NetworkCost


def why_not_compile(device: torch.device) -> str | None:
    """Why torch.compile does not work on this machine, by compiling one line; None where it works."""
    _keep_kernels_private()
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in many ways, and each means the same here
        return str(error).strip().splitlines()[0][:200]
    return None


def _keep_kernels_private() -> None:
    """Has torch keep what it compiles in our cache, in a folder that this user alone can write.

    By default that is below /tmp, under a name that any user can take first, and torch loads code from there unchecked.
    Where TORCHINDUCTOR_CACHE_DIR names a folder, it is left so.
    """
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        return
    kernels = cache_root() / "torch"
    with contextlib.suppress(OSError):
        kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (kernels.is_dir() and is_private(kernels)):
        kernels = Path(tempfile.mkdtemp(prefix="ltdd-torch-"))
        atexit.register(shutil.rmtree, kernels, ignore_errors=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernels)


@functools.cache
def compiles(context: Context) -> bool:
    """Whether torch.compile works on the run's device; warns, once a run, where it does not."""
    hint = "install a C++ compiler and Python's headers (CPU) or Triton (GPU)"
    return _warn_unless_none(context, why_not_compile(context.device), hint)


@functools.cache
def builds(context: Context) -> bool:
    """Whether the C++ library can be built; warns, once a run, where it cannot, or was built without fast flags."""
    if reason := why_not_build():
        return _warn_unless_none(context, str(reason), reason.hint)
    built = built_once()
    if built.replaced:
        what = f"{built.replaced} was damaged, or others could write it: it is built again, and was not loaded"
        context.emit(Warned(what, "where it comes again, check the disk, and who can write that folder"))
    if without := " ".join(built.missing_flags):
        message = f"the steps in C++ are built without {without}, which this compiler does not take: they are slower"
        context.emit(Warned(message, "install g++ with OpenMP, or set CXX to a compiler that takes it"))
    return True


def student_is_compiled(context: Context, cost: NetworkCost) -> bool:
    """Whether the student's steps run compiled: they should, and a compiler works here."""
    settings = context.settings
    wanted = compile_policy.should_compile_student(settings, cost, context.device.type)
    return _step_backend(context, "student", settings.experts.network, wanted) != "eager"


def experts_backend(context: Context, cost: NetworkCost, images: int) -> compile_policy.StepBackend:
    """How the steps of representation experts run on so many images: eager, cpp or torch."""
    settings = context.settings
    wanted = compile_policy.should_compile_experts(settings, cost, images, context.device.type)
    return _step_backend(context, "experts", settings.experts.network, wanted)


def teacher_backend(context: Context, part: str, network: NetworkName, pays: bool) -> compile_policy.StepBackend:
    """How the steps of networks that are trained by the teacher's recipe run: eager, cpp or torch."""
    return _step_backend(context, part, network, compile_policy.compile_or_not(context.settings.compile, pays))


def evaluation_is_compiled(context: Context, arch: NetworkName, cost: NetworkCost, regime: LabelRegime) -> bool:
    """Whether the networks of evaluations are trained by compiled steps: they should, and a compiler works here."""
    wanted = compile_policy.should_compile_evaluation(context.settings, arch, cost, context.device.type, regime)
    part = f"evaluation of {arch}" + ("" if regime == "stored" else f", {regime} labels")
    return _step_backend(context, part, arch, wanted) != "eager"


@functools.cache
def _step_backend(context: Context, part: str, network: NetworkName, wanted: bool) -> compile_policy.StepBackend:
    """What runs the steps of a part of the run; it is written into manifest.json as its form."""
    backend = compile_policy.compiled_backend(network, context.device.type)
    works = wanted and (builds(context) if backend == "cpp" else compiles(context))
    used = backend if works else "eager"
    # The manifest tells what ran each part of the run: another backend gives other bytes.
    note(context.folder, forms=read_manifest(context.folder).forms | {part: used})
    return used


def _warn_unless_none(context: Context, reason: str | None, hint: str) -> bool:
    if reason:
        context.emit(Warned(f"nothing can be compiled here, the slower eager form is used: {reason}", hint))
    return reason is None


def forget_tried_compilers() -> None:
    """Lets the next run of this process try and tell anew what works here, as in a process of its own."""
    for cached in (compiles, builds, _step_backend):
        cached.cache_clear()
