"""Whether compiling the student is worth its time: told from settings and shapes, so that a resumed run does the same.

On a CPU the ConvNet's steps are in C++, built in seconds; everything else is compiled by torch, in a minute.
"""

from __future__ import annotations

from engine.run.costs import NetworkCost
from engine.run.settings import RunSettings

_STEP_SECONDS, _FLOPS = 7e-3, 60e9
"""Of an eager student step on a CPU: what its operations take to be called, and how fast they are."""
_PASSES = 9
_BUILD_SECONDS, _COMPILE_SECONDS = 5.0, 60.0


def compiles_student(settings: RunSettings, cost: NetworkCost, device_kind: str) -> bool:
    """Whether matching runs compiled, where there is a compiler; `device_kind` is cpu or cuda."""
    matching = settings.matching
    if not settings.traits.distills or matching.compile == "never":
        return False
    return matching.compile == "always" or _eager_seconds(settings, cost) > (
        _BUILD_SECONDS if in_cpp(settings, device_kind) else _COMPILE_SECONDS
    )


def in_cpp(settings: RunSettings, device: str) -> bool:
    """Whether compiled steps are those in C++ on a device of that name or kind."""
    return device.startswith("cpu") and settings.experts.network == "convnet"


def may_compile_by_torch(settings: RunSettings, device: str) -> bool:
    """Whether it may come to compiling by torch, before the shapes are known that decide it."""
    return settings.traits.distills and settings.matching.compile != "never" and not in_cpp(settings, device)


def _eager_seconds(settings: RunSettings, cost: NetworkCost) -> float:
    matching = settings.matching
    steps = matching.syn_steps + (matching.syn_steps_cls if settings.traits.decoupled else 0)
    batch = min(matching.batch_syn, settings.ipc * cost.classes)
    return matching.iterations * steps * (_STEP_SECONDS + _PASSES * batch * cost.flops / _FLOPS)
