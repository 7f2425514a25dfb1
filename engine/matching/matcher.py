"""One outer iteration: draw experts and start epochs, match in phase rep and phase cls, add the two gradients.

Formulas: docs/method.md, section 4. `PlainMatcher` at the end is the same by plain autograd, for tests and benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.losses import StudentLoss, soft_cross_entropy
from engine.matching.backends import Backend, BackendBuilder
from engine.matching.classifier_phase import match_classifier
from engine.matching.plain import IterationResult, PhaseGradient, match_plainly
from engine.matching.representation_phase import match_representation
from engine.matching.synthetic import StudentBatch, Synthetic, student_batches
from engine.nets.functional import FlatNetwork
from engine.run.errors import RunFailed
from engine.run.events import Emit, Warned
from engine.run.methods import MethodTraits
from engine.run.network_cost import SAVED_ACTIVATIONS_BYTES
from engine.run.settings import AugmentationName, MatchingSettings
from engine.trajectories import Trajectory


@dataclass
class Matcher:
    """Computes the gradient of an outer iteration; its fields are what stays the same from one to the next.

    If a GPU's memory is too small, the iteration is repeated with half as many images at a time, and `emit` gets a
    warning.
    """

    settings: MatchingSettings
    method: MethodTraits
    network: FlatNetwork
    representation: list[Trajectory]
    classifiers: list[Trajectory]
    loss: StudentLoss
    augmentation: tuple[AugmentationName, ...]
    device: torch.device
    compiled: bool
    emit: Emit = lambda event: None

    def __post_init__(self) -> None:
        # R data-parallel replicas move the student by the mean of R partial sums: 1/R of one device's step.
        loss = self.loss.scaled(1 / self.settings.emulate_replicas)
        form = self.method.learns_labels, self.settings, self.device, self.compiled, self.emit
        self._builder = BackendBuilder(self.network, loss, *form)
        # Both are decided with the first synthetic set: how much fits depends on the size of its images.
        self._images_at_once: int | None = None
        self._backend: Backend | None = None

    def gradient(
        self,
        synthetic: Synthetic,
        iteration: int,
        generator: torch.Generator,
        extra: Mapping[str, Tensor] | None = None,
    ) -> IterationResult:
        """lambda_rep * g_rep + lambda_cls * g_cls at a synthetic set; all randomness comes from `generator`.

        `extra`, from the iteration before, is always empty: nothing but the set is carried on.
        Raises RunFailed if the unrolled gradient does not fit in a GPU's memory, and torch.OutOfMemoryError if a
        single image at a time does not.
        """
        before = generator.get_state()
        while True:
            try:
                return self._gradient(synthetic, iteration, generator)
            except torch.OutOfMemoryError:
                if not self._halve_images_at_once(synthetic):
                    raise
            # Outside of the except block: there, the error's traceback still holds what did not fit.
            torch.cuda.empty_cache()
            # The second try draws the same experts and batches, so running out of memory changes no result.
            generator.set_state(before)

    def _gradient(self, synthetic: Synthetic, iteration: int, generator: torch.Generator) -> IterationResult:
        def draw_between(low: int, high: int) -> int:
            return int(torch.randint(low, high, (), generator=generator))

        expert = draw_between(0, len(self.representation))
        epoch = draw_between(self.settings.min_start_epoch, self._start_epoch_bound(iteration))
        rep = self._phase_rep(synthetic, expert, epoch, generator)
        drawn = f"expert {expert} from epoch {epoch}"
        if not self.method.decoupled:
            # One phase has nothing to be weighed against: lambda_rep would only shrink a baseline's steps.
            return IterationResult(rep.gradient, rep.loss, None, drawn)
        total = synthetic.map(rep.gradient, by=lambda _, g: self.settings.lambda_rep * g)
        expert = draw_between(0, len(self.classifiers))
        cls = self._phase_cls(synthetic, expert, generator)
        total = total.map(cls.gradient, by=lambda a, b: a + self.settings.lambda_cls * b)
        return IterationResult(total, rep.loss, cls.loss, f"{drawn}, classifier expert {expert}")

    def _start_epoch_bound(self, iteration: int) -> int:
        """Start epochs are drawn below this; grows from sequential_from to max_start_epoch (DATM: easy to hard)."""
        settings = self.settings
        first, last = settings.sequential_from, settings.max_start_epoch
        if first is None or iteration >= settings.sequential_until:
            return last
        return max(settings.min_start_epoch + 1, first + (last - first) * iteration // settings.sequential_until)

    def _phase_rep(self, synthetic: Synthetic, expert: int, epoch: int, generator: torch.Generator) -> PhaseGradient:
        trajectory, settings, network = self.representation[expert], self.settings, self.network
        # Batches first: copying weights to a GPU waits until it has finished the phase before.
        batches = self._batches(settings.syn_steps, synthetic, generator)
        start = trajectory.at(epoch).to(self.device)
        target = trajectory.at(epoch + settings.expert_epochs).to(self.device)
        matched = network.backbone if self.method.matched == "backbone" else network.everything
        if settings.gradient != "unrolled":
            return self._match_rep(start, target, matched, synthetic, batches)
        try:
            return self._match_rep_plainly(start, target, matched, synthetic, batches)
        except torch.OutOfMemoryError:
            # The plain form keeps every step whole, so fewer images at a time would change nothing.
            what = "the GPU's memory is too small to back-propagate through every student step"
            hint = "a new run with matching.gradient=exact has the same gradient in the memory of a few steps"
            raise RunFailed(what, "matching.gradient", hint) from None

    def _match_rep_plainly(
        self, start: Tensor, target: Tensor, matched: slice, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        return match_plainly(
            start,
            target,
            moved=self.network.everything,
            matched=matched,
            loss=self._builder.step_loss(),
            synthetic=synthetic,
            batches=batches,
            hold_later_weights=self.settings.gradient == "published",
        )

    def _match_rep(
        self, start: Tensor, target: Tensor, matched: slice, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        backend = self._backend_for(synthetic)
        return match_representation(
            start,
            target,
            matched=matched,
            student=backend.student,
            synthetic=synthetic,
            batches=batches,
            exact=self.settings.gradient == "exact",
            saved_bytes=SAVED_ACTIVATIONS_BYTES,
            steps_at_once=backend.steps_at_once,
        )

    def _phase_cls(self, synthetic: Synthetic, expert: int, generator: torch.Generator) -> PhaseGradient:
        batches = self._batches(self.settings.syn_steps_cls, synthetic, generator)
        # A classifier expert was trained on the last backbone of the representation expert of the same number.
        backbone, classifiers = self.representation[expert].last[self.network.backbone], self.classifiers[expert]
        start, target = (
            torch.cat([backbone, classifiers.at(epoch)]).to(self.device) for epoch in (0, self.settings.expert_epochs)
        )
        return self._match_cls(start, target, synthetic, batches)

    def _match_cls(
        self, start: Tensor, target: Tensor, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        return match_classifier(
            self.network,
            start,
            target,
            backbone=self._backend_for(synthetic).backbone,
            synthetic=synthetic,
            batches=batches,
            # Here the exact gradient costs nothing extra, so `unrolled`, which equals it, is not unrolled.
            exact=self.settings.gradient != "published",
            scale=1 / self.settings.emulate_replicas,
            saved_bytes=SAVED_ACTIVATIONS_BYTES,
        )

    def _batches(self, steps: int, synthetic: Synthetic, generator: torch.Generator) -> list[StudentBatch]:
        return student_batches(
            steps,
            len(synthetic.images),
            self.settings.batch_syn,
            synthetic.images.shape[-1],
            self.augmentation,
            generator,
            self.device,
        )

    def _batch_size(self, synthetic: Synthetic) -> int:
        return min(self.settings.batch_syn, len(synthetic.images))

    def _backend_for(self, synthetic: Synthetic) -> Backend:
        batch_size = self._batch_size(synthetic)
        if self._backend is None:
            if self._images_at_once is None:
                activations = self.network.activations(synthetic.images.shape[1:])
                self._images_at_once = self._builder.images_at_once(batch_size, activations)
            self._backend = self._builder.build(batch_size, self._images_at_once)
        return self._backend

    def _halve_images_at_once(self, synthetic: Synthetic) -> bool:
        """Halves the images in work at a time and emits a warning; False if there is a single one already."""
        # No more can have been in work than all steps together: a larger setting is not what did not fit.
        most = self.settings.syn_steps * self._batch_size(synthetic)
        in_work = self._images_at_once and min(self._images_at_once, most)
        if not in_work or in_work == 1:
            return False
        self._images_at_once, self._backend = in_work // 2, None
        message = f"the GPU's memory is full: matching has {in_work // 2} images in work at a time from here on"
        self.emit(Warned(message, f"matching.images_at_once={in_work // 2} does so from the start"))
        return True


# ---- The plain form of an outer iteration ----
#
# What the published code does, without its loops over images: autograd through every student step, in both phases.
# Every backend is tested to be equal to it, and benchmarked against it.


class PlainMatcher(Matcher):
    """A matcher that draws the same experts and batches, and differentiates both phases by plain autograd."""

    _match_rep = Matcher._match_rep_plainly  # the form that a run uses for gradient=unrolled only

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
