"""What a method's name means: the table of baselines and ablations, as the traits the stages ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MethodName = Literal["ltdd", "dam", "ed", "datm", "mtt", "random"]


@dataclass(frozen=True)
class Method:
    """One row of the table.

    student_loss: what the student minimizes in phase rep. decoupled: whether classifier experts are trained
    and phase cls is run (expert decoupling). matched: which weights phase rep matches. learns_labels: soft labels
    that are learnt, or class indices. distills: false where real images are only selected.
    """

    student_loss: Literal["dam", "soft", "hard"]
    decoupled: bool
    matched: Literal["backbone", "all"]
    learns_labels: bool
    distills: bool = True


METHODS: dict[MethodName, Method] = {
    "ltdd": Method("dam", decoupled=True, matched="backbone", learns_labels=True),
    "dam": Method("dam", decoupled=False, matched="all", learns_labels=True),
    "ed": Method("soft", decoupled=True, matched="backbone", learns_labels=True),
    "datm": Method("soft", decoupled=False, matched="all", learns_labels=True),
    "mtt": Method("hard", decoupled=False, matched="all", learns_labels=False),
    "random": Method("hard", decoupled=False, matched="all", learns_labels=False, distills=False),
}
