"""Whether torch.compile works on this machine, asked once; a run that must do without says so."""

from __future__ import annotations

import functools

from engine.context import Context
from engine.matching.student import why_not_compile
from engine.run.events import Warned


@functools.cache
def compiles(context: Context) -> bool:
    """Whether graphs can be compiled on the run's device; warns, once a run, where they cannot."""
    reason = why_not_compile(context.device)
    if reason:
        context.emit(
            Warned(
                f"nothing can be compiled here, the slower eager form is used: {reason}",
                "install a C++ compiler and Python's headers (CPU) or Triton (GPU)",
            )
        )
    return reason is None
