"""A training step as one CUDA graph: replayed with one launch instead of some hundred."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.training.step import Step, StepFunction

_Shapes = tuple[torch.Size, torch.Size]
_WARM_UPS = 3


def replayed(step: Step) -> StepFunction:
    """The step as it is fastest on its device: on a GPU replayed, elsewhere as it is."""
    return ReplayedStep(step) if step.trainees.theta.is_cuda else step


class ReplayedStep:
    """The same as `step`, which is captured once for each shape of a batch; its trainees must be on a CUDA device."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._replays: dict[_Shapes, StepFunction] = {}

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        shapes = (images.shape, targets.shape)
        if shapes not in self._replays:
            self._replays[shapes] = self._captured(images, targets)
        return self._replays[shapes](images, targets)

    def _captured(self, images: Tensor, targets: Tensor) -> StepFunction:
        held_images, held_targets = images.clone(), targets.clone()
        self._warm_up(held_images, held_targets)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = self._step(held_images, held_targets)

        def replay(images: Tensor, targets: Tensor) -> Tensor:
            held_images.copy_(images)
            held_targets.copy_(targets)
            graph.replay()
            return losses.clone()

        return replay

    def _warm_up(self, images: Tensor, targets: Tensor) -> None:
        """Lets libraries and compilers set themselves up, which a capture forbids, and takes the steps back."""
        trainees = self._step.trainees
        before = trainees.theta.clone(), trainees.velocity.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._step(images, targets)
        torch.cuda.current_stream().wait_stream(aside)
        trainees.theta.copy_(before[0])
        trainees.velocity.copy_(before[1])
