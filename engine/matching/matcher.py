"""One outer iteration: draw experts and start epochs, match in phase rep and phase cls, add the two gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.losses import StudentLoss, soft_cross_entropy
from engine.matching.backends import Forms, Kind
from engine.matching.classifier_phase import match_classifier
from engine.matching.plain import PhaseGradient, match_plainly
from engine.matching.representation_phase import match_by_sweep
from engine.matching.synthetic import StudentBatch, Synthetic, student_batches
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.errors import RunFailed
from engine.run.events import Emit, Warned
from engine.run.network_cost import SAVED_ACTIVATIONS_BYTES
from engine.run.settings import AugmentationName, MatchingSettings, Method
from engine.trajectories import Trajectory


@dataclass(frozen=True)
class IterationResult:
    """The weighted gradient of an iteration and its matching losses; `drawn` names the experts and epochs."""

    gradient: Synthetic
    loss_rep: Tensor
    loss_cls: Tensor | None
    drawn: str


@dataclass
class Matcher:
    """Everything an outer iteration needs that does not change from one to the next.

    Where a GPU's memory is too small, an iteration is tried again on half as many images at a time, which `emit` is
    told.
    """

    settings: MatchingSettings
    method: Method
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
        learns = self.method.learns_labels
        self._kind = Kind(self.network, loss, learns, self.settings, self.device, self.compiled, self.emit)
        self._at_once: int | None = None
        self._forms: Forms | None = None

    def gradient(self, synthetic: Synthetic, iteration: int, generator: torch.Generator) -> IterationResult:
        """lambda_rep * g_rep + lambda_cls * g_cls at a synthetic set; all randomness comes from `generator`."""
        before = generator.get_state()
        while True:
            try:
                with matmul_precision(self.settings.precision, self.device):
                    return self._gradient(synthetic, iteration, generator)
            except torch.OutOfMemoryError:
                if not self._halve(synthetic):
                    raise
            torch.cuda.empty_cache()
            generator.set_state(before)

    def _gradient(self, synthetic: Synthetic, iteration: int, generator: torch.Generator) -> IterationResult:
        expert = _draw(len(self.representation), generator)
        epoch = _draw_between(self.settings.min_start_epoch, self.start_epoch_bound(iteration), generator)
        rep = self._phase_rep(synthetic, expert, epoch, generator)
        drawn = f"expert {expert} from epoch {epoch}"
        if not self.method.decoupled:
            # One phase has nothing to be weighed against: lambda_rep would only shrink a baseline's steps.
            return IterationResult(rep.gradient, rep.loss, None, drawn)
        total = synthetic.map(rep.gradient, by=lambda _, g: self.settings.lambda_rep * g)
        expert = _draw(len(self.classifiers), generator)
        cls = self._phase_cls(synthetic, expert, generator)
        total = total.map(cls.gradient, by=lambda a, b: a + self.settings.lambda_cls * b)
        return IterationResult(total, rep.loss, cls.loss, f"{drawn}, classifier expert {expert}")

    def start_epoch_bound(self, iteration: int) -> int:
        """Start epochs are drawn below this; grows from sequential_from to max_start_epoch (DATM's easy to hard)."""
        first, last = self.settings.sequential_from, self.settings.max_start_epoch
        if first is None or iteration >= self.settings.sequential_until:
            return last
        return max(
            self.settings.min_start_epoch + 1, first + (last - first) * iteration // self.settings.sequential_until
        )

    def _phase_rep(self, synthetic: Synthetic, expert: int, epoch: int, generator: torch.Generator) -> PhaseGradient:
        trajectory, settings, network = self.representation[expert], self.settings, self.network
        # Drawn first: moving the weights waits for a GPU that has the phase before to end.
        batches = self._batches(settings.syn_steps, synthetic, generator)
        start = trajectory.at(epoch).to(self.device)
        target = trajectory.at(epoch + settings.expert_epochs).to(self.device)
        matched = network.backbone if self.method.matched == "backbone" else network.everything
        match = self._unrolled if settings.gradient == "unrolled" else self._match_rep
        return match(start, target, matched, synthetic, batches)

    def _unrolled(
        self, start: Tensor, target: Tensor, matched: slice, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        try:
            return match_plainly(
                start,
                target,
                moved=self.network.everything,
                matched=matched,
                loss=self._kind.step_loss(),
                synthetic=synthetic,
                batches=batches,
                hold_later_weights=False,
            )
        except torch.OutOfMemoryError:
            # It keeps every step whole, so fewer images at a time would change nothing.
            raise RunFailed(
                "the GPU's memory is too small to back-propagate through every student step",
                "matching.gradient",
                "a new run with matching.gradient=exact has the same gradient in the memory of a few steps",
            ) from None

    def _match_rep(
        self, start: Tensor, target: Tensor, matched: slice, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        forms = self._formed(synthetic)
        return match_by_sweep(
            start,
            target,
            matched=matched,
            student=forms.student,
            synthetic=synthetic,
            batches=batches,
            exact=self.settings.gradient == "exact",
            room=SAVED_ACTIVATIONS_BYTES,
            at_once=forms.steps_at_once,
        )

    def _phase_cls(self, synthetic: Synthetic, expert: int, generator: torch.Generator) -> PhaseGradient:
        batches = self._batches(self.settings.syn_steps_cls, synthetic, generator)
        backbone, heads = self.representation[expert].last[self.network.backbone], self.classifiers[expert]
        start, target = (
            torch.cat([backbone, heads.at(epoch)]).to(self.device) for epoch in (0, self.settings.expert_epochs)
        )
        return self._match_cls(start, target, synthetic, batches)

    def _match_cls(
        self, start: Tensor, target: Tensor, synthetic: Synthetic, batches: list[StudentBatch]
    ) -> PhaseGradient:
        return match_classifier(
            self.network,
            start,
            target,
            backbone=self._formed(synthetic).backbone,
            synthetic=synthetic,
            batches=batches,
            exact=self.settings.gradient != "published",
            scale=1 / self.settings.emulate_replicas,
            room=SAVED_ACTIVATIONS_BYTES,
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

    def _batch(self, synthetic: Synthetic) -> int:
        return min(self.settings.batch_syn, len(synthetic.images))

    def _formed(self, synthetic: Synthetic) -> Forms:
        batch = self._batch(synthetic)
        if self._forms is None:
            if self._at_once is None:
                self._at_once = self._kind.images_at_once(batch, self.network.activations(synthetic.images.shape[1:]))
            self._forms = self._kind.forms(batch, self._at_once)
        return self._forms

    def _halve(self, synthetic: Synthetic) -> bool:
        """Goes on with half as many images at a time, and says so; False where that is not possible."""
        now = self._at_once and min(self._at_once, self.settings.syn_steps * self._batch(synthetic))
        if not now or now == 1:
            return False
        self._at_once, self._forms = now // 2, None
        message = f"the GPU's memory is full: matching has {now // 2} images in work at a time from here on"
        self.emit(Warned(message, f"matching.images_at_once={now // 2} does so from the start"))
        return True


def _draw(count: int, generator: torch.Generator) -> int:
    return _draw_between(0, count, generator)


def _draw_between(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))


# The plain twin of an outer iteration: both phases by autograd through the student's steps, nothing saved by thought.
#
# What the field's code does, without its loops over images; every form is proved equal to it and timed against it.


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
