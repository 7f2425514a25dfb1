"""The work of a run as seconds and bytes, from operation counts and nothing else.

Work is counted in forward passes of one image: a first-order training step is three of them, a student step of phase
rep nine (three on the walk, six for the double backward of the sweep), phase cls three (features, then one backward).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.costs import NetworkCost, network_cost
from engine.run.settings import NetworkName, RunSettings

FLOAT_BYTES = 4
FORWARD, TRAINING_STEP, STUDENT_STEP, CLASSIFIER_STEP = 1.0, 3.0, 9.0, 3.0
# The graph of a gradient keeps the forward pass, the backward pass and their derivatives.
GRAPH_OF_GRADIENT = 3.0
TEST_BATCH = 500


@dataclass(frozen=True)
class Device:
    """How fast a device is on networks of this size: effective GFLOP/s, and seconds a first-order step takes at least.

    runtime_gib: what torch itself takes. holds_experts: whether the experts' snapshots lie in the same memory.
    """

    name: str
    gflops: float
    step_seconds: float
    runtime_gib: float
    holds_experts: bool


# Effective on narrow ConvNets: far below what the hardware does on large matrices.
CPU_GFLOPS_A_CORE = 30.0
CUDA_GFLOPS = 60_000.0
CUDA = Device("cuda", CUDA_GFLOPS, step_seconds=2.0e-3, runtime_gib=1.2, holds_experts=False)


def cpu(cores: int) -> Device:
    """A CPU of so many cores."""
    return Device(f"cpu with {cores} cores", cores * CPU_GFLOPS_A_CORE, 1.5e-3, runtime_gib=0.6, holds_experts=True)


@dataclass(frozen=True)
class Workload:
    """One run on one device; counts are train images of each class, images are (channels, image_size, image_size)."""

    settings: RunSettings
    device: Device
    counts: Sequence[int]
    channels: int
    image_size: int
    test_images: int

    @property
    def synthetic(self) -> int:
        """Images of the synthetic set."""
        return self.settings.ipc * len(self.counts)

    def experts_seconds(self) -> float:
        """Training and testing the representation experts."""
        experts = self.settings.experts
        if not self.settings.traits.distills:
            return 0.0
        passes = TRAINING_STEP * (2 if experts.optimizer == "gsam" else 1)
        training = experts.epochs * self._epoch(experts.network, sum(self.counts), experts.batch_size, passes)
        return experts.num_experts * (training + self._test(experts.network))

    def classifier_experts_seconds(self) -> float:
        """Training and testing the classifier experts; only features are computed, in epochs of max n_c * C draws."""
        experts, heads = self.settings.experts, self.settings.classifier_experts
        if not self.settings.traits.decoupled:
            return 0.0
        draws = max(self.counts) * len(self.counts)
        training = heads.epochs * self._epoch(experts.network, draws, heads.batch_size, FORWARD)
        return experts.num_experts * (training + self._test(experts.network))

    def matching_seconds(self) -> float:
        """All outer iterations."""
        matching, method = self.settings.matching, self.settings.traits
        if not method.distills:
            return 0.0
        network, batch = self.settings.experts.network, self._student_batch
        iteration = matching.syn_steps * self._step(network, batch, STUDENT_STEP)
        if method.decoupled:
            iteration += matching.syn_steps_cls * self._step(network, batch, CLASSIFIER_STEP)
        return matching.iterations * iteration

    def evaluation_seconds(self) -> float:
        """Checks on the way, then random, initialization, final and best, and final on the other architectures."""
        recipe = self.settings.evaluate
        first = self._evaluated(recipe.arch[0])
        others = sum(recipe.repeats * self._evaluated(arch) for arch in recipe.arch[1:])
        if not self.settings.traits.distills:
            return 2 * recipe.repeats * first + others
        return (4 * recipe.repeats + self._checks * recipe.check_repeats) * first + others

    def memory_bytes(self) -> float:
        """Peak of the device without torch itself: the images, and the largest single step of any stage."""
        images = (sum(self.counts) + self.test_images) * self._image_bytes
        snapshots = self._snapshot_bytes() if self.device.holds_experts else 0
        return images + snapshots + max(self._whitening_bytes(), self._training_bytes(), self._matching_bytes())

    def disk_bytes(self) -> float:
        """Experts in the cache, and the synthetic set as the run folder keeps it: at each check and checkpoint."""
        synthetic = self.synthetic * (self._image_bytes + len(self.counts) * FLOAT_BYTES)
        return self._snapshot_bytes() + (self._checks + 8) * synthetic

    @property
    def _checks(self) -> int:
        # The start is checked too, and the end even where it is no multiple.
        return 1 + math.ceil(self.settings.matching.iterations / self.settings.evaluate.every)

    @property
    def _image_bytes(self) -> int:
        return self.channels * self.image_size**2 * FLOAT_BYTES

    @property
    def _student_batch(self) -> float:
        # A pass over all images may end in a smaller batch: the mean over a pass.
        return self.synthetic / math.ceil(self.synthetic / self.settings.matching.batch_syn)

    def _cost(self, network: NetworkName) -> NetworkCost:
        experts = self.settings.experts
        return network_cost(
            network,
            channels=self.channels,
            classes=len(self.counts),
            image_size=self.image_size,
            width=experts.width,
            depth=experts.depth,
        )

    def _step(self, network: NetworkName, images: float, passes: float) -> float:
        work = passes * images * self._cost(network).flops / (self.device.gflops * 1e9)
        return work + self.device.step_seconds * passes / TRAINING_STEP

    def _epoch(self, network: NetworkName, images: int, batch_size: int, passes: float) -> float:
        steps = math.ceil(images / batch_size)
        return steps * self._step(network, images / steps, passes)

    def _test(self, network: NetworkName) -> float:
        return self._epoch(network, self.test_images, TEST_BATCH, FORWARD)

    def _evaluated(self, network: NetworkName) -> float:
        recipe = self.settings.evaluate
        epoch = self._epoch(network, self.synthetic, recipe.batch_size, TRAINING_STEP)
        return recipe.epochs * epoch + self._test(network)

    def _whitening_bytes(self) -> float:
        if self.settings.dataset.whitening == "none":
            return 0.0
        # In float64: the covariance, its eigenvectors and what their search needs; few images span few directions.
        pixels = self.channels * self.image_size**2
        return 4.0 * pixels * min(pixels, sum(self.counts)) * 8

    def _training_bytes(self) -> float:
        kept = self._cost(self.settings.experts.network).activations * FLOAT_BYTES
        return max(self.settings.experts.batch_size, self.settings.evaluate.batch_size) * kept

    def _matching_bytes(self) -> float:
        matching, method = self.settings.matching, self.settings.traits
        if not method.distills:
            return 0.0
        cost, batch = self._cost(self.settings.experts.network), min(self.synthetic, matching.batch_syn)
        graphs = matching.syn_steps if matching.gradient == "unrolled" else 1
        path = 2 * matching.syn_steps * sum(cost.parameters)  # weights and gradients of the walk
        features = 3 * matching.syn_steps_cls * batch * cost.features if method.decoupled else 0
        return FLOAT_BYTES * (GRAPH_OF_GRADIENT * graphs * batch * cost.activations + path + features)

    def _snapshot_bytes(self) -> float:
        """Epochs 0 to the last that is read, and the end, of every expert; of classifier experts the classifier."""
        experts, matching, method = self.settings.experts, self.settings.matching, self.settings.traits
        if not method.distills:
            return 0.0
        backbone, classifier = self._cost(experts.network).parameters
        epochs = min(experts.epochs, matching.max_start_epoch - 1 + matching.expert_epochs)
        numbers = (epochs + 2) * (backbone + classifier)
        if method.decoupled:
            numbers += (min(self.settings.classifier_experts.epochs, matching.expert_epochs) + 2) * classifier
        return experts.num_experts * numbers * FLOAT_BYTES
