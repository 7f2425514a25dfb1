"""Whether this machine can compile, asked once; a run that must do without says so."""

from __future__ import annotations

import functools

from engine.context import Context
from engine.matching.student import why_not_compile
from engine.nets.native import why_not_build
from engine.run.costs import NetworkCost
from engine.run.events import Warned
from engine.run.settings import NetworkName
from engine.run.worth import compiles_evaluation, compiles_experts, compiles_student, network_in_cpp


@functools.cache
def compiles(context: Context) -> bool:
    """Whether torch can compile graphs for the run's device; warns, once a run, where it cannot."""
    return _unless(
        context,
        why_not_compile(context.device),
        "install a C++ compiler and Python's headers (CPU) or Triton (GPU)",
    )


@functools.cache
def builds(context: Context) -> bool:
    """Whether the student's steps in C++ can be built; warns, once a run, where they cannot."""
    return _unless(context, why_not_build(), "install a C++ compiler, such as g++")


def student_compiles(context: Context, cost: NetworkCost) -> bool:
    """Whether matching runs compiled: where it is asked for, or pays, and can be done."""
    settings = context.settings
    pays = compiles_student(settings, cost, context.device.type)
    return pays and _can(context, settings.experts.network)


def experts_compile(context: Context, cost: NetworkCost, images: int) -> bool:
    """The same of the training of experts on so many images."""
    settings = context.settings
    pays = compiles_experts(settings, cost, images, context.device.type)
    return pays and _can(context, settings.experts.network)


def evaluation_compiles(context: Context, arch: NetworkName, cost: NetworkCost) -> bool:
    """The same of the networks of evaluations."""
    return compiles_evaluation(context.settings, arch, cost, context.device.type) and _can(context, arch)


def _can(context: Context, network: NetworkName) -> bool:
    return builds(context) if network_in_cpp(network, context.device.type) else compiles(context)


def _unless(context: Context, reason: str | None, hint: str) -> bool:
    if reason:
        context.emit(Warned(f"nothing can be compiled here, the slower eager form is used: {reason}", hint))
    return reason is None
