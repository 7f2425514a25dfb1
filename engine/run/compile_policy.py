"""When the steps of matching and training are compiled, and which compilers this machine has.

The decision depends on settings and shapes alone, never on a measurement: a resumed run has to decide the same, because
compiled steps give other bytes. On a CPU the ConvNet's steps are C++, built in seconds; everything else is compiled by
torch, in about a minute.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import platform
import shutil
from pathlib import Path
from typing import Literal

from engine.run.device_profiles import GPU_ARITHMETIC, GPU_LAUNCHES, features
from engine.run.folder import cache_root
from engine.run.network_cost import NetworkCost
from engine.run.settings import Compile, LabelRegime, NetworkName, RunSettings

StepBackend = Literal["eager", "cpp", "torch"]
"""How steps are run: operation by operation, in C++ built for the machine, or compiled by torch."""


# Eager speed of each kind of device: seconds of calling the operations of a student step and of a gradient, and
# operations per second. The GPU's are guessed, with the same factors as the estimates, until one is measured.
_STEP_SECONDS = {"cpu": 7e-3, "cuda": 7e-3 / GPU_LAUNCHES}
_GRADIENT_SECONDS = {"cpu": 1.5e-3, "cuda": 1.5e-3 / GPU_LAUNCHES}
_FLOPS = {"cpu": 60e9, "cuda": 60e9 * GPU_ARITHMETIC}
# Work of a student step and of a gradient, in forward passes; what building C++ and compiling by torch take.
_STEP_PASSES, _GRADIENT_PASSES = 9, 3
BUILD_SECONDS, _COMPILE_SECONDS = 5.0, 60.0
# Compiling is shared among so many experts, whatever number a run asks for: cached experts are reused when more are
# asked for, so the number must not change the bytes of any.
_EXPERTS = 8


def should_compile_student(settings: RunSettings, cost: NetworkCost, device_kind: str) -> bool:
    """Whether matching is to be compiled if a compiler works; `device_kind` is cpu or cuda."""
    matching, network = settings.matching, settings.experts.network
    if settings.traits.matches_distributions:
        # As if all images went forward and back: of real ones only a third of that is done.
        images = (settings.images_per_class + settings.distribution.real_batch / 3) * cost.classes
        pays = _training_pays(network, cost, matching.iterations * images, matching.iterations, device_kind)
        return compile_or_not(settings.compile, pays)
    steps = matching.syn_steps + (matching.syn_steps_cls if settings.traits.decoupled else 0)
    batch = min(matching.batch_syn, settings.images_per_class * cost.classes)
    step_seconds = _STEP_SECONDS[device_kind] + _STEP_PASSES * batch * cost.flops / _FLOPS[device_kind]
    pays = _pays(matching.iterations * steps * step_seconds, network, device_kind)
    return settings.traits.matches_trajectories and compile_or_not(settings.compile, pays)


def should_compile_experts(settings: RunSettings, cost: NetworkCost, images: int, device_kind: str) -> bool:
    """Whether representation experts are to be trained by compiled steps, on `images` train images."""
    return compile_or_not(settings.compile, compiling_experts_pays(settings, cost, images, device_kind))


def compiling_experts_pays(settings: RunSettings, cost: NetworkCost, images: int, device_kind: str) -> bool:
    """Whether compiling saves time in training them, whatever the setting says; independent of their number."""
    experts = settings.experts
    batch = min(images, experts.batch_size)
    steps = _EXPERTS * experts.epochs * math.ceil(images / batch)
    gradients = steps * (2 if experts.optimizer == "gsam" else 1)
    return _training_pays(experts.network, cost, batch * gradients, gradients, device_kind)


def compiling_teacher_pays(
    settings: RunSettings, network: NetworkName, cost: NetworkCost, epochs: int, images: int, device_kind: str
) -> bool:
    """Whether compiling saves time in training one network by the teacher's recipe, whatever the setting says."""
    batch = min(images, settings.teacher.batch_size)
    steps = epochs * math.ceil(images / batch)
    return _training_pays(network, cost, batch * steps, steps, device_kind)


def should_compile_evaluation(
    settings: RunSettings, arch: NetworkName, cost: NetworkCost, device_kind: str, regime: LabelRegime = "stored"
) -> bool:
    """Whether networks of evaluations are to be trained by compiled steps; decided for all of a run in a label regime.

    The regimes that the run itself is evaluated in have no part in it: others may be asked for later.
    """
    counts, recipe, images = settings.evaluate, settings.recipe(regime), settings.images_per_class * cost.classes
    # random, initialization, final, best; checks
    networks = 4 * counts.repeats + settings.checks * counts.check_repeats
    epochs = networks * recipe.epochs
    steps = epochs * math.ceil(images / recipe.batch_size)
    return compile_or_not(settings.compile, _training_pays(arch, cost, epochs * images, steps, device_kind))


def compile_or_not(setting: Compile, pays: bool) -> bool:
    """The setting `compile`, in which auto means: where it pays."""
    return pays if setting == "auto" else setting == "always"


def compiled_backend(network: NetworkName, device: str) -> StepBackend:
    """What compiles the passes through a network, on a device of that name or kind."""
    return "cpp" if device.startswith("cpu") and network == "convnet" else "torch"


def may_compile_by_torch(settings: RunSettings, device: str) -> bool:
    """Whether matching may be compiled by torch, as far as that is known without the images' shape."""
    by_torch = compiled_backend(settings.experts.network, device) == "torch"
    return settings.traits.matches_trajectories and settings.compile != "never" and by_torch


def _training_pays(network: NetworkName, cost: NetworkCost, images: float, gradients: int, device_kind: str) -> bool:
    """Whether compiling saves time in training; `images` are those of all `gradients` together."""
    calls = gradients * _GRADIENT_SECONDS[device_kind]
    return _pays(calls + _GRADIENT_PASSES * images * cost.flops / _FLOPS[device_kind], network, device_kind)


def _pays(eager_seconds: float, network: NetworkName, device_kind: str) -> bool:
    return eager_seconds > (BUILD_SECONDS if compiled_backend(network, device_kind) == "cpp" else _COMPILE_SECONDS)


# Which compilers this machine has, and what it has built in C++. Without torch: the app (ltdd_tui) asks, too.

NATIVE_SOURCE = Path(__file__).parents[1] / "nets" / "norm_pool.cpp"
_ALWAYS = ("-std=c++17", "-O3", "-shared", "-fPIC")
# Machines that share a cache folder need libraries of their own.
_MACHINE = (platform.system(), platform.machine())


def cpp_compiler() -> str | None:
    """The C++ compiler that steps are built with: CXX where it is set, else the first that is found."""
    return shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")


def has_compiler(backend: StepBackend, device_kind: str) -> bool:
    """Whether this backend's compiler is installed for `cpu` or `cuda`; whether it works shows only in use."""
    if backend == "cpp":
        return cpp_compiler() is not None or any(built_libraries())
    if backend == "torch":
        return cpp_compiler() is not None if device_kind == "cpu" else importlib.util.find_spec("triton") is not None
    return True


def cpp_flags() -> dict[str, tuple[str, ...]]:
    """Sets of C++ flags by name, from the fastest to one that every compiler takes: Apple's has no OpenMP."""
    native, openmp = "-march=native", "-fopenmp"
    flags = {"openmp": (native, openmp), "native": (native,), "plain": ()}
    if platform.machine() in ("x86_64", "AMD64"):
        # Not every compiler knows this processor's widest vectors.
        flags = {"wide": (native, "-mprefer-vector-width=512", openmp)} | flags
    return {name: (*_ALWAYS, *more) for name, more in flags.items()}


def library_path(compiler_version: str, flags: str) -> Path:
    """Where the library built by this compiler with the flags of that name is kept, for this processor."""
    return cache_root() / "native" / f"{_stem()}-{_hash(compiler_version)}-{flags}.so"


def digest_path(library: Path) -> Path:
    """Where the SHA-256 of a library is kept, without which it is not loaded."""
    return library.with_name(f"{library.name}.sha256")


def built_libraries() -> list[Path]:
    """The libraries built from these sources for this processor by any compiler, the fastest first."""
    folder = cache_root() / "native"
    return [path for flags in cpp_flags() for path in sorted(folder.glob(f"{_stem()}-*-{flags}.so"))]


def _stem() -> str:
    headers = sorted(NATIVE_SOURCE.parent.glob("*.h"))
    sources = [path.read_text() for path in (NATIVE_SOURCE, *headers)]
    return f"norm_pool-{_hash(*sources, *_MACHINE, features(), repr(cpp_flags()))}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
