"""Whether this machine can compile, asked once; a run that must do without says so."""

from __future__ import annotations

import functools

from engine.context import Context
from engine.matching.student import why_not_compile
from engine.nets.native import why_not_build
from engine.run.costs import NetworkCost
from engine.run.events import Warned
from engine.run.worth import compiles_student, in_cpp


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
    settings, kind = context.settings, context.device.type
    return compiles_student(settings, cost, kind) and (builds if in_cpp(settings, kind) else compiles)(context)


def _unless(context: Context, reason: str | None, hint: str) -> bool:
    if reason:
        context.emit(Warned(f"nothing can be compiled here, the slower eager form is used: {reason}", hint))
    return reason is None
