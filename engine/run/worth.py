"""Whether compiling the student, or the training of networks, is worth its time.

Told from settings and shapes alone, so that a resumed run does the same. On a CPU the ConvNet's steps are in C++, built
in seconds; everything else is compiled by torch, in a minute.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from engine.run.costs import NetworkCost
from engine.run.devices import GPU_ARITHMETIC, GPU_LAUNCHES
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
    matching = settings.matching
    pays = _pays(_eager_seconds(settings, cost, device_kind), settings.experts.network, device_kind)
    return settings.traits.distills and asked_or(matching.compile, pays)


def compiles_experts(settings: RunSettings, cost: NetworkCost, images: int, device_kind: str) -> bool:
    """Whether representation experts are trained by compiled steps on so many images."""
    return asked_or(settings.experts.compile, compiling_experts_pays(settings, cost, images, device_kind))


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
    return asked_or(recipe.compile, _training_pays(arch, cost, epochs * images, steps, device_kind))


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
    return settings.traits.distills and settings.matching.compile != "never" and not in_cpp(settings, device)


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
