"""Which real images stand for a class: the start of distillation, and the random baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.data.dataset import LongTailedData


def pick_real_images(data: LongTailedData, ipc: int, draw: torch.Generator, allowed: Tensor | None = None) -> Tensor:
    """Indices (C * IPC,) of real images in class order, without repeats while a class has images left.

    Only images marked in `allowed` (N,) are taken, in classes that have any; a class with fewer than IPC starts over.
    """
    picked = []
    for c in range(data.num_classes):
        members = torch.nonzero(data.train_labels == c).flatten().cpu()
        if allowed is not None and allowed[members].any():
            members = members[allowed[members]]
        order = members[torch.randperm(len(members), generator=draw)]
        picked.append(order.repeat(-(-ipc // len(order)))[:ipc])
    return torch.cat(picked).to(data.train_labels.device)
