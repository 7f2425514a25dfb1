"""The teacher stage: the run's classifier experts, or networks that are trained to be debiased."""

from __future__ import annotations

import torch

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.functional import FlatNetwork
from engine.teachers import Teacher
from engine.trajectories import Trajectory


def train_teacher(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    classifiers: list[Trajectory],
    last_weights: list[torch.Tensor],
) -> Teacher:
    """The teacher of `settings.teacher`, trained once and cached."""
    return Teacher(network, last_weights, [expert.per_class for expert in classifiers])
