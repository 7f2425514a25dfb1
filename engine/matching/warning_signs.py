"""Signs, while matching goes on, that it goes wrong: each is told once, with its figures, and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from engine.data.dataset import LongTailedData
from engine.matching.synthetic import Synthetic
from engine.run.errors import listed
from engine.run.events import Emit, Event, MatchingStep, Warned
from engine.run.settings import RunSettings
from engine.trajectories import Trajectory

# Borders and what they are of are ours.
LOSS_NEAR_ONE, FIRST_SHARE = 0.95, 0.3
LABELS_LEFT, SATURATED = 0.3, 0.25
HALF_LEVEL = 0.5 / 255
"""Pixels that are out of range by less are real ones after rounding."""


class WarningSigns:
    """Watches one distillation: `emit` takes its events, `look` its sets; `start` is what they are compared with."""

    def __init__(self, settings: RunSettings, data: LongTailedData, start: Synthetic, emit: Emit) -> None:
        self._settings, self._data, self._emit = settings, data, emit
        self._losses: list[float] = []
        self._told: set[str] = set()
        self._start_left, self._start_saturated = self._left(start), self._saturated(start)

    def emit(self, event: Event) -> None:
        """Passes an event on; after the first share of the iterations, warns of losses that stay near 1."""
        self._emit(event)
        if not isinstance(event, MatchingStep) or not self._settings.traits.matches_trajectories:
            return
        first = math.ceil(FIRST_SHARE * self._settings.matching.iterations)
        if event.iteration <= first and event.loss_rep is not None:
            self._losses.append(event.loss_rep)
        if event.iteration == first and self._losses:
            mean = sum(self._losses) / len(self._losses)
            if mean > LOSS_NEAR_ONE:
                what = f"the loss of phase rep stays near 1: {mean:.2f} on average over the first {first} iterations"
                hint = "students hardly come closer to the experts: try another matching.beta, a lower"
                self._tell("loss", what, f"{hint} matching.image_lr, or experts of more epochs")

    def look(self, synthetic: Synthetic, iteration: int) -> None:
        """Warns of labels that have left their class, and of pixels out of range."""
        left = self._left(synthetic)
        bad = [
            f"{name} ({share:.0%})"
            for name, share, before in zip(self._data.class_names, left, self._start_left, strict=True)
            if share > max(LABELS_LEFT, before)
        ]
        if bad and iteration > 0 and self._settings.traits.learns_labels:
            before = sum(self._start_left) / len(left)
            what = f"iteration {iteration}: labels have left their class: images whose largest label is another's,"
            what += f" {listed(bad)}; of all images {sum(left) / len(left):.0%}, at the start {before:.0%}"
            self._tell("labels", what, "a lower matching.label_lr keeps labels nearer to what they were")
        saturated = self._saturated(synthetic)
        if saturated > SATURATED and iteration > 0:
            what = f"iteration {iteration}: {saturated:.0%} of the pixels lie outside of 0 to 1, at the start"
            hint = "no picture can show these, though networks see them: a lower matching.image_lr keeps them in"
            self._tell("pixels", f"{what} {self._start_saturated:.0%}", hint)

    def _tell(self, sign: str, what: str, hint: str) -> None:
        if sign not in self._told:
            self._told.add(sign)
            self._emit(Warned(what, hint))

    def _left(self, synthetic: Synthetic) -> list[float]:
        """For each class, the share of its images whose largest label is another class's."""
        classes = self._data.num_classes
        of_class = synthetic.label_logits.argmax(dim=1).view(classes, -1)
        own = torch.arange(classes, device=of_class.device)[:, None]
        shares: list[float] = (of_class != own).double().mean(dim=1).tolist()
        return shares

    def _saturated(self, synthetic: Synthetic) -> float:
        pixels = self._data.whitening.to_pixels(synthetic.images)
        return float(((pixels < -HALF_LEVEL) | (pixels > 1 + HALF_LEVEL)).double().mean())


def warn_of_weak_experts(experts: Sequence[Trajectory], random_mean: float, emit: Emit) -> None:
    """Warns where the mean expert is worse on the test images than networks that saw a few random images.

    A warning, and no choice: it is of the test images, as the figures of both in every report are.
    """
    means = [float(expert.per_class.nanmean()) for expert in experts]
    if means and (mean := sum(means) / len(means)) < random_mean:
        what = f"the experts are below random images: {mean:.1f} % on average, random images have {random_mean:.1f} %"
        emit(Warned(what, "they have not converged, and matching follows them: raise experts.epochs"))
