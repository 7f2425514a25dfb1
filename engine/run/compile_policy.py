"""Whether compiling the student, or the training of networks, is worth its time.

Told from settings and shapes alone, so that a resumed run does the same. On a CPU the ConvNet's steps are in C++, built
in seconds; everything else is compiled by torch, in a minute.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import platform
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

from engine.run.device_profiles import GPU_ARITHMETIC, GPU_LAUNCHES, features
from engine.run.folder import cache_root
from engine.run.network_cost import NetworkCost
from engine.run.settings import Compile, NetworkName, RunSettings

Form = Literal["eager", "cpp", "torch"]
"""How steps are run: operation by operation, in C++ built for the machine, or compiled by torch."""


class _Eager(NamedTuple):
    """What operations of a student step, and of a gradient in training, take to be called, and how fast they are."""

    step_seconds: float
    gradient_seconds: float
    flops: float


_CPU = _Eager(7e-3, 1.5e-3, 60e9)
# As the estimates have it: guessed until a GPU is measured.
_CUDA = _Eager(_CPU.step_seconds / GPU_LAUNCHES, _CPU.gradient_seconds / GPU_LAUNCHES, _CPU.flops * GPU_ARITHMETIC)
_EAGER = {"cpu": _CPU, "cuda": _CUDA}
_STEP_PASSES, _GRADIENT_PASSES = 9, 3
_BUILD_SECONDS, _COMPILE_SECONDS = 5.0, 60.0
_EXPERTS = 8
"""Among so many experts the time of compiling is shared, whatever a run asks for: more of them keep those that are
there, so how many there are must not change what each becomes."""


def compiles_student(settings: RunSettings, cost: NetworkCost, device_kind: str) -> bool:
    """Whether matching runs compiled, where there is a compiler; `device_kind` is cpu or cuda."""
    pays = _pays(_eager_seconds(settings, cost, device_kind), settings.experts.network, device_kind)
    return settings.traits.distills and asked_or(settings.compile, pays)


def compiles_experts(settings: RunSettings, cost: NetworkCost, images: int, device_kind: str) -> bool:
    """Whether representation experts are trained by compiled steps on so many images."""
    return asked_or(settings.compile, compiling_experts_pays(settings, cost, images, device_kind))


def compiling_experts_pays(settings: RunSettings, cost: NetworkCost, images: int, device_kind: str) -> bool:
    """Whether it pays to compile their steps, whatever is asked for; the same for few experts as for many."""
    experts = settings.experts
    batch = min(images, experts.batch_size)
    steps = _EXPERTS * experts.epochs * math.ceil(images / batch)
    gradients = steps * (2 if experts.optimizer == "gsam" else 1)
    return _training_pays(experts.network, cost, batch * gradients, gradients, device_kind)


def compiles_evaluation(settings: RunSettings, arch: NetworkName, cost: NetworkCost, device_kind: str) -> bool:
    """Whether the networks of evaluations are trained by compiled steps; asked of all evaluations of a run together."""
    recipe, images = settings.evaluate, settings.ipc * cost.classes
    checks = 1 + math.ceil(settings.matching.iterations / recipe.every)
    networks = 4 * recipe.repeats + checks * recipe.check_repeats  # random, initialization, final, best; checks
    epochs = networks * recipe.epochs
    steps = epochs * math.ceil(images / recipe.batch_size)
    return asked_or(settings.compile, _training_pays(arch, cost, epochs * images, steps, device_kind))


def asked_or(asked: Compile, pays: bool) -> bool:
    """Whether to compile: as it is asked for, or where it pays."""
    return pays if asked == "auto" else asked == "always"


def in_cpp(settings: RunSettings, device: str) -> bool:
    """Whether the student's compiled steps are those in C++ on a device of that name or kind."""
    return network_in_cpp(settings.experts.network, device)


def compiled_form(network: NetworkName, device: str) -> Form:
    """The form of compiled passes through a network."""
    return "cpp" if network_in_cpp(network, device) else "torch"


def network_in_cpp(network: NetworkName, device: str) -> bool:
    """Whether compiled passes through a network are those in C++."""
    return device.startswith("cpu") and network == "convnet"


def may_compile_by_torch(settings: RunSettings, device: str) -> bool:
    """Whether it may come to compiling by torch, before the shapes are known that decide it."""
    return settings.traits.distills and settings.compile != "never" and not in_cpp(settings, device)


def _eager_seconds(settings: RunSettings, cost: NetworkCost, device_kind: str) -> float:
    matching, eager = settings.matching, _EAGER[device_kind]
    steps = matching.syn_steps + (matching.syn_steps_cls if settings.traits.decoupled else 0)
    batch = min(matching.batch_syn, settings.ipc * cost.classes)
    return matching.iterations * steps * (eager.step_seconds + _STEP_PASSES * batch * cost.flops / eager.flops)


def _training_pays(network: NetworkName, cost: NetworkCost, images: int, gradients: int, device_kind: str) -> bool:
    """`images` are those of all `gradients` together."""
    eager = _EAGER[device_kind]
    seconds = gradients * eager.gradient_seconds + _GRADIENT_PASSES * images * cost.flops / eager.flops
    return _pays(seconds, network, device_kind)


def _pays(eager_seconds: float, network: NetworkName, device_kind: str) -> bool:
    return eager_seconds > (_BUILD_SECONDS if network_in_cpp(network, device_kind) else _COMPILE_SECONDS)


# Which compilers this machine has, and what it has built in C++: told without torch, for both decide about forms.


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
