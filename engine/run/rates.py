"""How long a step of a network takes on a device, from what it is made of.

A step costs something for each layer (launching it), for each number that passes through memory, and for each
operation. Which of the three weighs most differs by device and width: narrow networks wait for memory, tiny ones for
launches, and only wide ones for arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal[
    "train",  # one first-order step of an expert, forward and backward
    "evaluate",  # the same of a network of an evaluation
    "classifier",  # one step of a classifier expert: features without a gradient, then the classifier's own
    "test",  # a forward pass of test images
    "student",  # one student step of phase rep, on the walk and on the sweep, the published gradient
    "student_exact",  # the same, the exact gradient
    "head",  # one student step of phase cls
    "decode",  # an image file
    "covariance",  # of the train images, in float64
    "eigen",  # its eigenvectors
    "whiten",  # images by those, in float32
    "compile",  # a layer of the student
]


@dataclass(frozen=True)
class Work:
    """What a step is made of: layers, numbers that pass through memory and floating-point operations in one pass."""

    layers: float = 0.0
    values: float = 0.0
    flops: float = 0.0

    def __mul__(self, factor: float) -> Work:
        return Work(self.layers * factor, self.values * factor, self.flops * factor)

    @property
    def amounts(self) -> tuple[float, float, float]:
        """The three as a row."""
        return self.layers, self.values, self.flops


@dataclass(frozen=True)
class Rate:
    """Seconds for each layer, each number and each operation of a step."""

    layer: float = 0.0
    value: float = 0.0
    flop: float = 0.0

    def seconds(self, work: Work) -> float:
        """What a step of this work takes."""
        return self.layer * work.layers + self.value * work.values + self.flop * work.flops

    def __mul__(self, factor: float) -> Rate:
        return Rate(self.layer * factor, self.value * factor, self.flop * factor)
