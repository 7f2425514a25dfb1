"""The plain twin of an outer iteration: both phases by autograd through the student's steps, nothing saved by thought.

What the field's code does, without its loops over images; every form is proved equal to it and timed against it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.losses import soft_cross_entropy
from engine.matching.batches import StudentBatch, Synthetic
from engine.matching.iteration import Matcher
from engine.matching.phase import PhaseGradient
from engine.matching.plain import match_plainly


class PlainMatcher(Matcher):
    """A matcher that draws the same experts and batches, and differentiates twice in both phases."""

    def _match_rep(
        self, start: Tensor, target: Tensor, matched: slice, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        return match_plainly(
            start,
            target,
            moved=self.network.everything,
            matched=matched,
            loss=self._kind.step_loss(),
            synthetic=synthetic,
            batches=batches,
            hold_later_weights=self.settings.gradient == "published",
        )

    def _match_cls(
        self, start: Tensor, target: Tensor, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        def loss(theta: Tensor, images: Tensor, label_logits: Tensor) -> Tensor:
            cross_entropy = soft_cross_entropy(self.network(theta, images), label_logits.softmax(dim=1))
            return cross_entropy / self.settings.emulate_replicas

        classifier = self.network.classifier
        return match_plainly(
            start,
            torch.cat([start[self.network.backbone], target[classifier]]),
            moved=classifier,
            matched=classifier,
            loss=loss,
            synthetic=synthetic,
            batches=batches,
            hold_later_weights=self.settings.gradient == "published",
        )
